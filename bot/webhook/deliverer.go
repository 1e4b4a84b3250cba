package webhook

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"frontdesk/store"
)

// Bounds and rhythms of a deliverer.
const (
	mostUnderWay = 32
	mostFailing  = 16 // of these, to subscriptions at which nothing arrives
	mostEach     = 4  // to one subscription; where nothing arrives it is 1
	mostEvents   = 500
	usualTry     = 15 * time.Second
	leaseTime    = 15 * time.Second // of a try after its time: to write down what came of it
	lookEvery    = time.Second
	tidyEvery    = time.Minute
	mostDropped  = 1000
	writeTime    = 14 * time.Second // within the lease
)

// deliveries is what the deliverer reads and writes. *store.Store is the real one.
type deliveries interface {
	OpenDeliveries(ctx context.Context) error
	DispatchDeliveries(ctx context.Context, limit int) (store.Dispatch, error)
	ClaimDeliveries(ctx context.Context, c store.DeliveryClaim) ([]store.ClaimedDelivery, error)
	DeliverySecrets(c store.ClaimedDelivery) ([]string, error)
	DeliveryArrived(ctx context.Context, c store.ClaimedDelivery, status int) error
	DeliveryFailed(ctx context.Context, c store.ClaimedDelivery, f store.DeliveryFailure) (store.DeliveryFate, error)
	ReleaseDeliveries(ctx context.Context, process string, ids []int64) error
	AdvanceDeliveries(ctx context.Context) error
	DropDeliveries(ctx context.Context, limit int) (int, error)
}

// DelivererOptions are what a deliverer needs to know. Log may be nil.
type DelivererOptions struct {
	Store     deliveries
	HTTP      *http.Client // reaches only what people may name; its redirects are refused here
	Process   string
	PublicURL string // of this installation, without a slash at its end
	Log       *slog.Logger

	Try time.Duration // how long a receiver may take; 0: 15 s
}

// Deliverer tells subscriptions what happened: each event at least once, with the same
// webhook-id at every try, in order per conversation while the receiver is well.
// Several processes may have one.
type Deliverer struct {
	store     deliveries
	http      *http.Client
	process   string
	publicURL string
	log       *slog.Logger
	tryTime   time.Duration

	woken chan struct{} // something happened
	freed chan struct{} // a place is free, or the next of a conversation may go
	away  bool          // the last look failed; used by run only

	mu      sync.Mutex
	busy    map[int64]int // deliveries under way by subscription; guarded by mu
	failing int           // of these, where nothing arrives; guarded by mu
	stats   DelivererStats

	stop    context.CancelFunc
	running sync.WaitGroup
}

// DelivererStats are a deliverer's numbers since its start.
type DelivererStats struct {
	UnderWay   int
	Failing    int // of these, to subscriptions at which nothing arrives
	Limit      int // of UnderWay
	Dispatched int64
	Arrived    int64
	Failed     int64 // tries
	Dead       int64
	Overflowed int64
}

// NewDeliverer returns a deliverer that delivers once it is started.
func NewDeliverer(o DelivererOptions) *Deliverer {
	d := &Deliverer{
		store: o.Store, process: o.Process, publicURL: o.PublicURL, log: o.Log, tryTime: cmp.Or(o.Try, usualTry),
		woken: make(chan struct{}, 1), freed: make(chan struct{}, 1), busy: map[int64]int{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	client := *o.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	d.http = &client
	return d
}

// Start delivers what happens from now on, and what waits from before, until Close. It
// fails when the database cannot be read.
func (d *Deliverer) Start(ctx context.Context) error {
	if err := d.store.OpenDeliveries(ctx); err != nil {
		return fmt.Errorf("open the deliveries: %w", err)
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.Wake()
	d.running.Go(func() { d.run(working) })
	d.running.Go(func() { d.tidy(working) })
	return nil
}

// Close takes nothing more and cuts off what is under way, which is tried again at the
// next start or by another process. A second call does nothing.
func (d *Deliverer) Close(ctx context.Context) error {
	if d.stop == nil {
		return nil
	}
	d.stop()
	done := make(chan struct{})
	go func() {
		d.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for deliveries under way: %w", ctx.Err())
	}
}

// Wake has new events looked for at once instead of within a second. It never blocks
// and may be called from any goroutine.
func (d *Deliverer) Wake() { poke(d.woken) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody has done that already
	}
}

// Stats are the deliverer's numbers now.
func (d *Deliverer) Stats() DelivererStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.UnderWay, s.Failing, s.Limit = d.underWay(), d.failing, mostUnderWay
	return s
}

// underWay needs d.mu.
func (d *Deliverer) underWay() (n int) {
	for _, each := range d.busy {
		n += each
	}
	return n
}

// count changes the numbers.
func (d *Deliverer) count(change func(*DelivererStats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.stats)
}

func (d *Deliverer) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.woken:
			d.dispatch(ctx)
		case <-tick.C:
			d.dispatch(ctx)
		case <-d.freed:
		}
		d.take(ctx)
	}
}

// dispatch makes deliveries of what happened. A full round is not the last.
func (d *Deliverer) dispatch(ctx context.Context) {
	round, err := d.store.DispatchDeliveries(ctx, mostEvents)
	if d.noteTrouble(ctx, err) {
		return
	}
	if round.Events == mostEvents {
		d.Wake()
	}
	d.count(func(s *DelivererStats) { s.Dispatched += int64(round.Deliveries) })
	for subscription, n := range round.Overflowed {
		d.count(func(s *DelivererStats) { s.Overflowed += int64(n) })
		d.log.WarnContext(ctx, "Too many deliveries wait, the oldest became dead letters",
			slog.Int64("subscription", subscription), slog.Int("deliveries", n), slog.Int("limit", store.MostDeliveriesWaiting))
	}
}

// take begins as many due deliveries as there is room for.
func (d *Deliverer) take(ctx context.Context) {
	claim := d.room()
	if claim.Free <= 0 {
		return
	}
	claimed, err := d.store.ClaimDeliveries(ctx, claim)
	if d.noteTrouble(ctx, err) {
		return
	}
	for _, c := range claimed {
		d.enter(c)
		d.running.Go(func() { d.deliver(ctx, c) })
	}
}

func (d *Deliverer) room() store.DeliveryClaim {
	d.mu.Lock()
	defer d.mu.Unlock()
	busy := make(map[int64]int, len(d.busy))
	maps.Copy(busy, d.busy)
	return store.DeliveryClaim{
		Process: d.process, Lease: d.tryTime + leaseTime, Free: mostUnderWay - d.underWay(), Failing: mostFailing - d.failing, Each: mostEach, Busy: busy,
	}
}

func (d *Deliverer) enter(c store.ClaimedDelivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy[c.SubscriptionID]++
	if c.Failing {
		d.failing++
	}
}

func (d *Deliverer) leave(c store.ClaimedDelivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[c.SubscriptionID]--; d.busy[c.SubscriptionID] == 0 {
		delete(d.busy, c.SubscriptionID)
	}
	if c.Failing {
		d.failing--
	}
	poke(d.freed)
}

// noteTrouble says once that the database cannot be read, and once that it can again.
func (d *Deliverer) noteTrouble(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil:
		return err != nil
	case err != nil && !d.away:
		d.log.WarnContext(ctx, "Deliveries cannot be read, trying again every second", slog.Any("error", err))
	case err == nil && d.away:
		d.log.InfoContext(ctx, "Deliveries can be read again")
	}
	d.away = err != nil
	return d.away
}

// deliver makes one try and writes down what came of it. Where that cannot be written
// the delivery is tried again after its lease.
func (d *Deliverer) deliver(ctx context.Context, c store.ClaimedDelivery) {
	defer d.leave(c)
	o := d.try(ctx, c)
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	var err error
	switch {
	case o.arrived:
		d.count(func(s *DelivererStats) { s.Arrived++ })
		err = d.store.DeliveryArrived(writing, c, o.status)
	case ctx.Err() != nil && o.status == 0: // cut off by Close
		err = d.store.ReleaseDeliveries(writing, d.process, []int64{c.ID})
	default:
		err = d.fail(writing, c, o)
	}
	if err != nil {
		d.log.WarnContext(ctx, "Delivery cannot be marked, it will come again", about(c), slog.Any("error", err))
	}
}

// try is post, whatever happens in it.
func (d *Deliverer) try(ctx context.Context, c store.ClaimedDelivery) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			d.log.ErrorContext(ctx, "Delivery broke", about(c), slog.Any("error", r), slog.String("stack", string(debug.Stack())))
			o = outcome{says: "it could not be made ready; the log has more"}
		}
	}()
	return d.post(ctx, c)
}

// fail writes down a failed try, and says aloud what somebody should know.
func (d *Deliverer) fail(ctx context.Context, c store.ClaimedDelivery, o outcome) error {
	wait, more := waitAfter(c.Tries+1, o.rest)
	fate, err := d.store.DeliveryFailed(ctx, c, store.DeliveryFailure{
		Status: o.status, Says: o.says, Wait: wait, Last: !more, Rest: o.rest, Gone: o.status == http.StatusGone,
	})
	if err != nil {
		return err
	}
	d.count(func(s *DelivererStats) { s.Failed++ })
	if fate.Dead {
		d.count(func(s *DelivererStats) { s.Dead++ })
		d.log.WarnContext(ctx, "Delivery became a dead letter", about(c), slog.Int("attempt", c.Tries+1), slog.String("failure", o.says))
	} else {
		d.log.DebugContext(ctx, "Delivery failed, it will be tried again", about(c), slog.Int("attempt", c.Tries+1), slog.String("failure", o.says))
	}
	if fate.Disabled != "" {
		d.log.ErrorContext(ctx, "Outgoing webhook was switched off", slog.Int64("subscription", c.SubscriptionID), slog.String("reason", fate.Disabled))
	}
	return nil
}

func about(c store.ClaimedDelivery) slog.Attr {
	return slog.Group("", slog.Int64("subscription", c.SubscriptionID), slog.Int64("delivery", c.ID), slog.String("type", c.Type))
}

// tidy drops old deliveries, and has a look at what erasures left behind.
func (d *Deliverer) tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.tidyOnce(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "Deliveries not tidied, trying again in a minute", slog.Any("error", err))
		}
	}
}

func (d *Deliverer) tidyOnce(ctx context.Context) error {
	if err := d.store.AdvanceDeliveries(ctx); err != nil {
		return err
	}
	for {
		n, err := d.store.DropDeliveries(ctx, mostDropped)
		if err != nil || n < mostDropped {
			return err
		}
	}
}

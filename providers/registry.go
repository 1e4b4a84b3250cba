package providers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"
)

// Rhythms of the registry.
const (
	usualLimit     = 50        // L13
	usualUsageTick = time.Hour // L14
	reloadAfter    = 200 * time.Millisecond
	pollEvery      = time.Minute
	bookEvery      = time.Second
	sweepOlderThan = 150 * time.Second
	mostChores     = 64
	choreWithin    = 10 * time.Second
)

// records is what the registry reads and writes. *store.Store is the real one.
type records interface {
	ActiveProviders(ctx context.Context, limit int) ([]store.Provider, int, error)
	Provider(ctx context.Context, id int64) (store.Provider, error)
	ProviderKey(p store.Provider) (string, error)
	DisableProvider(ctx context.Context, id int64, first, longest time.Duration, reason string) error
	EnableProvider(ctx context.Context, id int64) error
	ReserveQuota(ctx context.Context, provider, tokens, cost int64) (store.Reservation, error)
	SettleQuota(ctx context.Context, reservation string, u store.Usage) error
	BookUsage(ctx context.Context, calls []store.Usage) error
	SweepReservations(ctx context.Context, age time.Duration) (int, error)
	UsageToday(ctx context.Context) ([]store.DayUsage, error)
	NoteAttempts(ctx context.Context, attempts []store.ProviderAttempt) error
	ForgetAttempts(ctx context.Context) error
}

// Options are what a registry needs to know. Only Store is required.
type Options struct {
	Store     records
	Log       *slog.Logger
	Allow     []netip.Prefix // private networks that addresses may lead to (FRONTDESK_ALLOW_PRIVATE)
	Limit     int            // providers loaded (L13)
	UsageTick time.Duration  // between two looks at the day (L14)
	Processes func() int     // live processes that share limits per minute and at once; nil: this one alone
}

// Registry asks providers. Its methods may be called from any goroutine.
type Registry struct {
	store     records
	log       *slog.Logger
	limit     int
	usageTick time.Duration
	processes func() int
	patience  patience
	clients   *clients
	ledger    ledger
	journal   journal

	snapshot atomic.Pointer[snapshot] // nil before Start and after Close
	kick     chan struct{}            // a reload is asked for
	chores   chan chore               // writes that no customer waits for
	loading  sync.Mutex               // one load at a time, or what was learnt gets lost
	warned   int                      // active providers at the last load; used by load only
	days     map[int64]store.DayUsage // last look at the day; used by watch only

	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	closed  error
}

// chore is a write that no customer waits for.
type chore func(ctx context.Context) error

// New returns a registry that knows no provider yet; see Start.
func New(o Options) *Registry {
	r := &Registry{
		store: o.Store, log: o.Log, limit: o.Limit, usageTick: o.UsageTick, processes: o.Processes,
		patience: usualPatience, clients: newClients(o.Allow),
		kick: make(chan struct{}, 1), chores: make(chan chore, mostChores),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.limit <= 0 {
		r.limit = usualLimit
	}
	if r.usageTick <= 0 {
		r.usageTick = usualUsageTick
	}
	if r.processes == nil {
		r.processes = func() int { return 1 }
	}
	return r
}

// Start loads the providers and keeps them fresh until Close; the end of ctx
// alone does not stop it, so that turns under way can be answered. It fails
// when the providers cannot be read.
func (r *Registry) Start(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.lookAtDay(working)
	r.running.Go(func() { r.watch(working) })
	r.running.Go(func() { r.write(working) })
	return nil
}

// Reload reads the providers again, within a second. Turns under way keep what
// they have.
func (r *Registry) Reload() {
	select {
	case r.kick <- struct{}{}:
	default: // one is due already
	}
}

// Chat asks the providers in their order until one answers. The error is an
// *Error.
func (r *Registry) Chat(ctx context.Context, q Request) (Answer, error) {
	work, err := newChat(q)
	if err != nil {
		return Answer{}, &Error{cause: err}
	}
	if q.Provider != 0 {
		return r.ask(ctx, work, q.Conversation, alone(r.snapshot.Load().inPool(q.Pool), q.Provider))
	}
	return r.run(ctx, work, q.Conversation, q.Pool)
}

// Transcribe asks the providers that understand speech for the words of a recording.
// The error is an *Error.
func (r *Registry) Transcribe(ctx context.Context, q Speech) (Answer, error) {
	return r.run(ctx, &speech{q}, q.Conversation, q.Pool)
}

// Embed asks the providers that can for the vectors of texts. The error is an
// *Error.
func (r *Registry) Embed(ctx context.Context, q Passages) (Answer, error) {
	return r.run(ctx, &passages{q}, 0, q.Pool)
}

func (r *Registry) run(ctx context.Context, work task, conversation int64, pool string) (Answer, error) {
	rows := r.snapshot.Load().inPool(pool)
	if len(rows) == 0 && pool != "" {
		return Answer{}, &Error{cause: fmt.Errorf("%w of the pool %q", ErrNone, pool)}
	}
	return r.ask(ctx, work, conversation, rows)
}

func (r *Registry) ask(ctx context.Context, work task, conversation int64, rows []*candidate) (Answer, error) {
	t := r.newTurn(ctx, work, conversation, rows)
	if len(t.order) == 0 {
		return Answer{}, &Error{cause: none(work, rows)}
	}
	return t.run(ctx)
}

// none says why nobody can be asked.
func none(work task, rows []*candidate) error {
	if len(rows) == 0 {
		return ErrNone
	}
	return fmt.Errorf("%w that is able to do this: %s", ErrNone, work.kind())
}

// Test asks one provider, switched on or not, for a word. The error is an
// *Error whose sentence says what is wrong and what to do.
func (r *Registry) Test(ctx context.Context, id int64) (Answer, error) {
	p, err := r.store.Provider(ctx, id)
	if err != nil {
		return Answer{}, fmt.Errorf("test provider %d: %w", id, err)
	}
	if p.Active { // so that the call counts among its figures
		if err := r.load(ctx); err != nil {
			return Answer{}, fmt.Errorf("test provider %d: %w", id, err)
		}
	}
	only := r.newRow(ctx, p, r.snapshot.Load())
	if only.flaw != "" {
		return Answer{}, &Error{Skipped: []string{only.flaw}}
	}
	return r.newTurn(ctx, trial(p), 0, []*candidate{only}).test(ctx, only)
}

// trial is the smallest task that shows whether a provider works.
func trial(p store.Provider) task {
	switch {
	case p.Chats():
		return &chat{q: Request{Messages: []Message{{Role: RoleUser, Text: "This is a test of the connection. Answer with the word: ready"}}}}
	case p.Can(store.CanEmbed):
		return &passages{Passages{Texts: []string{"ready"}}}
	}
	return &speech{Speech{Audio: silence(), Name: "silence.wav"}}
}

// watch reloads when asked or every minute, sweeps, and looks at the day (L14).
func (r *Registry) watch(ctx context.Context) {
	poll, tick := time.NewTicker(pollEvery), time.NewTicker(r.usageTick)
	defer poll.Stop()
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
			sleep(ctx, reloadAfter) // more rings may follow
			err = r.load(ctx)
		case <-poll.C:
			err = errors.Join(r.load(ctx), r.sweep(ctx))
		case <-tick.C:
			r.lookAtDay(ctx)
			err = errors.Join(r.load(ctx), r.sweep(ctx), r.store.ForgetAttempts(ctx))
		}
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "AI providers not refreshed, the last ones stay", slog.Any("error", err))
		}
	}
}

func (r *Registry) sweep(ctx context.Context) error {
	swept, err := r.store.SweepReservations(ctx, sweepOlderThan)
	if err != nil {
		return fmt.Errorf("sweep reservations: %w", err)
	}
	if swept > 0 {
		r.log.WarnContext(ctx, "AI calls never settled, booked as estimated", slog.Int("calls", swept))
	}
	return nil
}

// lookAtDay says which providers began a new local day since the last look, and
// what the old one took. Nothing is reset: a new day has books of its own.
func (r *Registry) lookAtDay(ctx context.Context) {
	today, err := r.store.UsageToday(ctx)
	if err != nil {
		r.log.WarnContext(ctx, "AI usage of today unknown", slog.Any("error", err))
		return
	}
	days := make(map[int64]store.DayUsage, len(today))
	for _, u := range today {
		days[u.ProviderID] = u
		if was, ok := r.days[u.ProviderID]; ok && !was.Day.Equal(u.Day) {
			r.log.InfoContext(ctx, "Daily usage reset", slog.String("provider", u.Name),
				slog.String("day", u.Day.Format(time.DateOnly)), slog.Int64("requests", u.Requests), slog.Int64("tokens", u.Tokens))
		}
	}
	r.days = days
}

// write does chores and books usage, off everybody's path.
func (r *Registry) write(ctx context.Context) {
	tick := time.NewTicker(bookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-r.chores:
			r.do(ctx, c)
		case <-tick.C:
			r.do(ctx, r.book)
			r.do(ctx, r.writeJournal)
		}
	}
}

func (r *Registry) do(ctx context.Context, c chore) {
	ctx, cancel := context.WithTimeout(ctx, choreWithin)
	defer cancel()
	if err := c(ctx); err != nil && !errors.Is(err, context.Canceled) {
		r.log.WarnContext(ctx, "AI provider record not written", slog.Any("error", err))
	}
}

// later has c done soon. What finds no room is dropped: it repeats itself.
func (r *Registry) later(c chore) {
	select {
	case r.chores <- c:
	default:
		r.log.Warn("AI provider record not written, too many wait")
	}
}

// Close stops the ticker and the reloads, writes what is still to be booked and
// forgets the providers. A second call does nothing.
func (r *Registry) Close(ctx context.Context) error {
	r.closing.Do(func() { r.closed = r.close(ctx) })
	return r.closed
}

func (r *Registry) close(ctx context.Context) error {
	r.log.InfoContext(ctx, "Shutting down AI service")
	if r.stop != nil {
		r.stop()
		r.running.Wait()
	}
	r.snapshot.Store(nil)
	r.finishChores(ctx)
	err := errors.Join(r.book(ctx), r.writeJournal(ctx))
	r.clients.close()
	r.log.InfoContext(ctx, "AI service shutdown complete")
	r.log.InfoContext(ctx, "AI service stopped")
	return err
}

func (r *Registry) finishChores(ctx context.Context) {
	for {
		select {
		case c := <-r.chores:
			r.do(ctx, c)
		default:
			return
		}
	}
}

package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"
)

// Rhythms of the engine.
const (
	usualLimit   = 50              // L16
	usualTests   = 10              // L24
	usualWaiting = 100             // L24
	usualLinger  = 5 * time.Second // L17
	usualLease   = 12 * time.Second
	longestSleep = time.Second     // between two looks at what is due
	sweepEvery   = 5 * time.Second // for what others left
	cleanEvery   = time.Minute
	cleanLimit   = 5000
	soon         = 2 * time.Second   // after storage failed
	longestStay  = 100 * time.Second // then others get the place
	longestRun   = 15 * time.Minute  // without waits
)

// Causes for which an execution stops here.
var (
	errStopped   = errors.New("this process stops")
	errCancelled = errors.New("somebody cancelled it")
	errPanic     = errors.New("a step panicked")
)

// queue is where executions wait and are written down. *store.Store is the real one,
// here and below.
type queue interface {
	AddExecution(ctx context.Context, n store.NewExecution) (x store.Execution, replayed bool, err error)
	Execution(ctx context.Context, id int64) (store.Execution, error)
	PositionOf(ctx context.Context, x store.Execution) (int, error)
	ExecutionSteps(ctx context.Context, id int64) ([]store.ExecutionStep, error)
	ClaimExecutions(ctx context.Context, p store.Process, free store.Places) ([]store.Execution, error)
	NextExecution(ctx context.Context, limit time.Duration) (time.Duration, error)
	RequeueExecutions(ctx context.Context, p store.Process, atWork []store.Work, ttl time.Duration) (int, error)
	WakeExecutions(ctx context.Context, conversations, outbounds []int64) (int, error)
	TryStep(ctx context.Context, x *store.Execution, events ...store.StepEvent) error
	SettleStep(ctx context.Context, x *store.Execution, o store.ExecutionStep, ran time.Duration, events ...store.StepEvent) error
	WaitExecution(ctx context.Context, x *store.Execution, a store.Await, ran time.Duration, events ...store.StepEvent) error
	ReleaseExecution(ctx context.Context, x *store.Execution, wait, ran time.Duration) error
	EndExecution(ctx context.Context, x *store.Execution, status, failure string, ran time.Duration, events ...store.StepEvent) error
	UnwantedExecutions(ctx context.Context, owner string) ([]int64, error)
	CountExecutions(ctx context.Context) (queued, waiting int, err error)
	DropExecutions(ctx context.Context, limit int) (int, error)
	DropEvents(ctx context.Context, limit int) (int, error)
	DropFiles(ctx context.Context, files store.Files, limit int) (int, error)
}

type records interface {
	queue
	library
	triggers
	people
}

// Options are what an engine needs to know. Store, Process and AI are required; a limit
// that is left out has its usual value.
type Options struct {
	Store    records
	Process  store.Process // whose heartbeat says that this engine lives
	AI       brain
	HTTP     *http.Client                      // the guarded way to other services
	Files    store.Files                       // nil: there is no place for files
	Queued   func(account, conversation int64) // hears of every message that was queued
	Accepted func(execution int64)             // hears of every execution that was accepted, which others may run
	Happened func()                            // hears that events were added, and must not take long
	Progress func(Progress)                    // hears of steps under way, and must return at once; nil: nobody does
	Plain    func(markdown string) string      // what a model wrote, as WhatsApp shows it; nil: as it is
	Log      *slog.Logger

	Limit        int           // executions at once (L16)
	Tests        int           // of them tests (L24)
	TestsWaiting int           // for a place, of each webhook (L24)
	Linger       time.Duration // of one that ended, in the registry (L17)
	Lease        time.Duration // after which a silent process is dead
}

// Engine runs executions. Its methods may be called from any goroutine.
type Engine struct {
	o        Options
	store    records
	log      *slog.Logger
	registry registry
	shelf    shelf

	wake    chan struct{} // something may be due
	look    chan struct{} // something may be left behind or unwanted
	news    news          // that nobody has looked at yet
	claims  sync.Mutex    // between the claim of executions and their place in the registry
	crowd   crowd
	backlog atomic.Int64 // executions that wait for a place, about
	waiting atomic.Int64 // executions that wait for something else, about
	answers time.Time    // the database has, since then; used by sweep only
	jumped  time.Time    // when nobody asked for events, the last time that was written down; used by follow only
	endings endings
	loops   sync.WaitGroup
	runs    sync.WaitGroup
	stop    context.CancelFunc      // ends the taking of executions
	halt    context.CancelCauseFunc // ends those under way
	working context.Context         //nolint:containedctx // the life of every execution here; Close ends it
	closing sync.Once
	closed  error
}

// New returns an engine that does nothing yet; see Start.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Queued == nil {
		o.Queued = func(int64, int64) {}
	}
	if o.Happened == nil {
		o.Happened = func() {}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Accepted == nil {
		o.Accepted = func(int64) {}
	}
	if o.Plain == nil {
		o.Plain = func(text string) string { return text }
	}
	o.Limit, o.Tests, o.TestsWaiting = or(o.Limit, usualLimit), or(o.Tests, usualTests), or(o.TestsWaiting, usualWaiting)
	o.Linger, o.Lease = or(o.Linger, usualLinger), or(o.Lease, usualLease)
	e := &Engine{
		o: o, store: o.Store, log: o.Log, wake: make(chan struct{}, 1), look: make(chan struct{}, 1), news: news{wake: make(chan struct{}, 1)},
		registry: registry{limit: o.Limit, tests: o.Tests, linger: o.Linger, entries: map[int64]*entry{}},
	}
	e.working, e.halt = context.WithCancelCause(context.Background())
	return e
}

func or[T int | time.Duration](value, usual T) T {
	if value <= 0 {
		return usual
	}
	return value
}

// Start takes executions until Close. The end of ctx alone stops nothing.
func (e *Engine) Start(ctx context.Context) error {
	taking, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.loops.Go(func() { e.take(taking) })
	e.loops.Go(func() { e.sweep(taking) })
	e.loops.Go(func() { e.follow(taking) })
	return nil
}

// Close takes nothing more and has what runs stop where it is: it is written down and
// goes on after the next start, or in another process. A second call does nothing.
func (e *Engine) Close(ctx context.Context) error {
	e.closing.Do(func() {
		if e.stop != nil {
			e.closed = e.close(ctx)
		}
	})
	return e.closed
}

func (e *Engine) close(ctx context.Context) error {
	e.stop()
	e.loops.Wait()
	e.halt(errStopped)
	done := make(chan struct{})
	go func() {
		e.runs.Wait()
		close(done)
	}()
	select {
	case <-done:
		e.log.InfoContext(ctx, "Execution engine stopped")
		return nil
	case <-ctx.Done():
		running, _ := e.registry.count()
		return fmt.Errorf("%d executions did not stop; others will go on with them", running)
	}
}

// Wake has the engine look for due executions now. It returns at once.
func (e *Engine) Wake() { poke(e.wake) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats are the gauges of this process's executions.
type Stats struct {
	Running    int
	Registered int // Running, and those that ended a moment ago
}

// Stats are the numbers of this moment.
func (e *Engine) Stats() Stats {
	running, registered := e.registry.count()
	return Stats{running, registered}
}

// take claims executions as they become due and places are free.
func (e *Engine) take(ctx context.Context) {
	for ctx.Err() == nil {
		sleep := e.claim(ctx)
		if next := e.registry.expire(time.Now()); !next.IsZero() {
			sleep = min(sleep, max(0, time.Until(next)))
		}
		timer := time.NewTimer(sleep)
		select {
		case <-ctx.Done():
		case <-e.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// claim starts what is due and says how long nothing more is.
func (e *Engine) claim(ctx context.Context) time.Duration {
	all, tests := e.registry.room()
	if all <= 0 {
		return longestSleep // the end of one wakes us
	}
	n, err := e.claimSome(ctx, store.Places{All: all, Tests: tests})
	if n > 0 {
		return 0
	}
	sleep, slept := longestSleep, err
	if err == nil {
		sleep, slept = e.store.NextExecution(ctx, longestSleep)
	}
	if slept != nil && ctx.Err() == nil {
		e.log.WarnContext(ctx, "Executions not claimed, trying again", slog.Any("error", slept))
		return longestSleep
	}
	return sleep
}

func (e *Engine) claimSome(ctx context.Context, free store.Places) (int, error) {
	e.claims.Lock()
	defer e.claims.Unlock()
	claimed, err := e.store.ClaimExecutions(ctx, e.o.Process, free)
	for _, x := range claimed {
		e.begin(x) //nolint:contextcheck // an execution outlives the taking of executions
	}
	if len(claimed) > 0 {
		e.o.Happened()
	}
	return len(claimed), err
}

// begin runs an execution on a goroutine of its own.
func (e *Engine) begin(x store.Execution) {
	ctx, cancel := context.WithCancelCause(e.working)
	entry, active := e.registry.begin(x, cancel)
	e.log.InfoContext(ctx, fmt.Sprintf("[RealtimeExecution] Starting execution %d", x.ID), slog.Int("active_executions", active), //nolint:sloglint // L16
		slog.Int64("execution", x.ID), slog.String("flow", x.Flow))
	e.runs.Go(func() {
		defer cancel(nil)
		ended := e.run(ctx, x)
		e.registry.end(entry, ended, time.Now())
		e.o.Happened()
		e.endings.tell(x.ID)
		e.Wake()
	})
}

// run goes through an execution's steps and says whether it has ended for good.
func (e *Engine) run(ctx context.Context, x store.Execution) (ended bool) {
	r := &run{e: e, x: x, began: time.Now()}
	err := r.safely(ctx)
	if err == nil {
		return r.ended
	}
	return r.conclude(ctx, err)
}

// safely turns a panic into an error.
func (r *run) safely(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.e.log.ErrorContext(ctx, "Step panicked", slog.Int64("execution", r.x.ID), slog.Any("error", v), slog.String("stack", string(debug.Stack())))
			err = &stepError{cause: errPanic}
		}
	}()
	return r.steps(ctx)
}

// sweep goes on with what dead processes held, wakes what waited for something that
// nobody told us of, ends what nobody wants, and forgets what is old.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	cleaned := time.Time{}
	for {
		e.sweepOnce(ctx)
		if time.Since(cleaned) >= cleanEvery {
			cleaned = time.Now()
			e.clean(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-e.look:
		case <-tick.C:
		}
	}
}

func (e *Engine) sweepOnce(ctx context.Context) {
	left, err := e.requeue(ctx)
	woken := 0
	if err == nil {
		woken, err = e.store.WakeExecutions(ctx, nil, nil)
	}
	if err == nil {
		err = e.endUnwanted(ctx)
	}
	if err == nil {
		err = e.measure(ctx)
	}
	if err != nil && ctx.Err() == nil {
		e.log.WarnContext(ctx, "Executions not looked after, trying again", slog.Any("error", err))
	}
	if left+woken > 0 {
		e.Wake()
	}
}

// requeue has others go on with what dead processes held. After the database was away,
// all are silent: each gets the time of a lease to be heard of again.
func (e *Engine) requeue(ctx context.Context) (int, error) {
	e.claims.Lock()
	defer e.claims.Unlock()
	ttl := e.o.Lease
	if time.Since(e.answers) < e.o.Lease {
		ttl = 0
	}
	left, err := e.store.RequeueExecutions(ctx, e.o.Process, e.registry.running(), ttl)
	if err != nil {
		e.answers = time.Now()
	}
	return left, err
}

// measure counts what waits for a place, so that not every new execution need be counted
// for.
func (e *Engine) measure(ctx context.Context) error {
	queued, waiting, err := e.store.CountExecutions(ctx)
	if err == nil {
		e.backlog.Store(int64(queued))
		e.waiting.Store(int64(waiting))
	}
	return err
}

// endUnwanted stops what runs here and somebody has cancelled.
func (e *Engine) endUnwanted(ctx context.Context) error {
	unwanted, err := e.store.UnwantedExecutions(ctx, e.o.Process.ID)
	for _, id := range unwanted {
		e.registry.stop(id, errCancelled)
	}
	return err
}

// Changed hears that somebody else changed an execution, such as by cancelling it.
func (e *Engine) Changed() { poke(e.look) }

// clean forgets what is old, at whatever rate it came.
func (e *Engine) clean(ctx context.Context) {
	if _, err := e.store.DropFiles(ctx, e.o.Files, cleanLimit); err != nil && ctx.Err() == nil {
		e.log.WarnContext(ctx, "Files that nothing names not removed yet", slog.Any("error", err))
	}
	for _, drop := range []func(context.Context, int) (int, error){e.store.DropExecutions, e.store.DropEvents} {
		for n := cleanLimit; n >= cleanLimit && ctx.Err() == nil; {
			var err error
			if n, err = drop(ctx, cleanLimit); err != nil && ctx.Err() == nil {
				e.log.WarnContext(ctx, "Old executions not forgotten yet", slog.Any("error", err))
			}
		}
	}
}

package conversation

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// Rhythms of the processor.
const (
	usualTurns      = 1000             // L8
	usualTimeout    = 2 * time.Minute  // L10
	usualQueueWatch = 5 * time.Minute  // L11
	usualDrain      = 5 * time.Second  // L12
	usualSweep      = 5 * time.Second  // for what nobody woke
	lookEvery       = time.Second      // at which accounts this process holds
	sweepLimit      = 5000             // conversations one sweep looks at
	mostAbandoned   = 50               // hung turns before nothing new is claimed (L10)
	writeTime       = 10 * time.Second // longest time for one statement after a turn's end
)

// records is what turns read and write. *store.Store is the real one.
type records interface {
	DueConversations(ctx context.Context, accounts []int64, limit int) ([]store.Due, error)
	Turn(ctx context.Context, conversation int64) (store.Turn, error)
	Answer(ctx context.Context, r store.Reply) (bool, error)
	Skip(ctx context.Context, conversation, lo, hi int64, reason string) (bool, error)
	RetryLater(ctx context.Context, conversation, lo int64, wait time.Duration, reason string) (bool, error)
	Defer(ctx context.Context, conversation, lo int64, wait time.Duration, reason string) (bool, error)
	HandOff(ctx context.Context, h store.Handoff) (bool, error)
	PauseBot(ctx context.Context, conversation, lo int64, reason string) (bool, error)
	ReturnConversations(ctx context.Context, accounts []int64) error
	RaiseAlert(ctx context.Context, account int64, kind, says string) error
	WatchDrafts(ctx context.Context, accounts []int64) error
	Attachments(ctx context.Context, conversation, after, hi int64) ([]store.Attachment, error)
	SetTranscript(ctx context.Context, message int64, words, by string) error
	Tools(ctx context.Context, account int64) ([]store.Tool, error)
	OpenSecret(t store.Tool) (string, error)
	Remember(ctx context.Context, account, contact int64, fact string) error
	KeepPrompt(ctx context.Context, p store.Prompt) error
	Summarize(ctx context.Context, conversation, seq int64, words string) error
	AddNote(ctx context.Context, conversation int64, body, by string) (store.Note, error)
}

// accounts speak to customers. *bot.Manager is the real one.
type accounts interface {
	// Held are the accounts this process may speak for now.
	Held() []int64
	// Context ends when this process may no longer speak for the account.
	Context(account int64) (context.Context, bool)
	Typing(ctx context.Context, account int64, chat string, on bool)
	// Read marks messages as read. It takes a second at most, as Typing does.
	Read(ctx context.Context, account int64, chat string, ids []string)
	// Send sends what is queued in a conversation, soon.
	Send(account, conversation int64)
}

// brain thinks of the next line. *providers.Registry is the real one.
type brain interface {
	Chat(ctx context.Context, q providers.Request) (providers.Answer, error)
	Transcribe(ctx context.Context, q providers.Speech) (providers.Answer, error)
}

// Options are what a processor needs to know. Store, Accounts and AI are
// required; a limit that is left out has its usual value.
type Options struct {
	Store    records
	Accounts accounts
	AI       brain
	Files    files        // of customers; nil: models hear and see none
	Library  library      // documents of the business; nil: there are none
	HTTP     *http.Client // the guarded way to services of the house; nil: none can be called
	Flows    flows        // that models may start; nil: there are none
	Log      *slog.Logger

	// Typing hears that "typing…" is shown for an answer, again every ten seconds, or no
	// longer. It must return at once; nil: nobody hears it.
	Typing func(account, conversation int64, on bool)

	Turns       int           // at once (L8)
	TurnTimeout time.Duration // of one turn (L10)
	QueueWatch  time.Duration // between two looks at the queue (L11)
	Drain       time.Duration // longest wait for turns at the stop (L12)
	Sweep       time.Duration // between two searches for turns that nobody woke
}

// Processor runs the turns of the accounts that this process holds. Its methods
// may be called from any goroutine.
type Processor struct {
	store    records
	accounts accounts
	ai       brain
	files    files
	library  library
	http     *http.Client
	flows    flows
	typing   func(account, conversation int64, on bool)
	log      *slog.Logger
	timeout  time.Duration
	watching time.Duration
	drain    time.Duration
	sweeping time.Duration

	lanes   lanes
	working context.Context //nolint:containedctx // the life of every turn; Close ends it
	stop    context.CancelFunc
	cancel  context.CancelFunc // ends working
	running sync.WaitGroup     // scheduler, sweep and watch
	reading sync.WaitGroup     // what no answer waits for: read receipts, prompts to keep, summaries
	folding chan struct{}      // places for summaries
	closing sync.Once
	closed  error
}

// New returns a processor that does nothing yet; see Start.
func New(o Options) *Processor {
	p := &Processor{
		store: o.Store, accounts: o.Accounts, ai: o.AI, files: o.Files, library: o.Library, http: o.HTTP, flows: o.Flows, typing: o.Typing, log: o.Log,
		timeout: usual(o.TurnTimeout, usualTimeout), watching: usual(o.QueueWatch, usualQueueWatch),
		drain: usual(o.Drain, usualDrain), sweeping: usual(o.Sweep, usualSweep),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.typing == nil {
		p.typing = func(int64, int64, bool) {}
	}
	if o.Turns <= 0 {
		o.Turns = usualTurns
	}
	p.lanes.init(o.Turns)
	p.folding = make(chan struct{}, mostFolding)
	p.working, p.cancel = context.WithCancel(context.Background())
	return p
}

func usual(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Start runs turns until Close. The end of ctx alone stops nothing: turns under
// way are answered.
func (p *Processor) Start(ctx context.Context) error {
	claiming, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.running.Go(func() { p.schedule(claiming) })
	p.running.Go(func() { p.sweep(claiming) })
	p.running.Go(func() { p.watch(claiming) })
	return nil
}

// Wake has the conversation take its turn after wait. It returns at once and may
// be called for every message: a turn that waits waits on, one that runs is
// followed by another.
func (p *Processor) Wake(account, conversation int64, wait time.Duration) {
	p.lanes.wake(account, conversation, time.Now().Add(wait))
}

// Close claims nothing more, waits for turns under way as long as L12 allows and
// then cancels them; those are taken up after the next start. A second call does
// nothing.
func (p *Processor) Close(ctx context.Context) error {
	p.closing.Do(func() { p.closed = p.close(ctx) })
	return p.closed
}

func (p *Processor) close(ctx context.Context) error {
	if p.stop == nil {
		return nil // never started
	}
	p.stop()
	p.running.Wait()
	p.log.InfoContext(ctx, "Waiting for pending message processing", slog.Int("pending", p.lanes.stats().Active))
	idle := p.lanes.idle()
	select {
	case <-idle:
	case <-time.After(p.drain):
	case <-ctx.Done():
	}
	p.cancel()
	select {
	case <-idle:
	case <-time.After(lastGrace): // what ignores its end is left behind
	}
	p.reading.Wait()
	p.log.InfoContext(ctx, "Conversation service stopped")
	return nil
}

// Ready says why this process should get no more work, or nil.
func (p *Processor) Ready() error {
	if p.lanes.stats().Abandoned >= mostAbandoned {
		return errors.New("Too many turns hang; restart this process") //nolint:staticcheck // a sentence for people
	}
	return nil
}

// Stats are the gauges and counters of the turns of this process.
type Stats struct {
	Active    int           // turns under way
	Deferred  int           // due, but without a place (L8)
	Abandoned int           // did not end when they were cancelled (L10)
	Waiting   int           // conversations that wait for their time
	Finished  int64         // turns that ended, since the start
	Took      time.Duration // all of them together
	Overhead  time.Duration // the same without the providers' time
}

// Stats are the numbers of this moment.
func (p *Processor) Stats() Stats { return p.lanes.stats() }

// schedule starts turns as their time comes and a place is free.
func (p *Processor) schedule(ctx context.Context) {
	for {
		for _, l := range p.lanes.take(time.Now(), p.deferred) {
			go p.run(l) //nolint:contextcheck // a turn outlives the taking of turns
		}
		timer := time.NewTimer(p.lanes.next(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.lanes.changed:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// deferred says that a turn waits for a place (L8).
func (p *Processor) deferred(l *lane, s Stats, limit int) {
	p.log.Warn("Conversation processing limit reached, message deferred", slog.Int("active", s.Active), slog.Int("limit", limit),
		slog.Int("deferred", s.Deferred), slog.Int64("conversation", l.conversation))
}

// sweep finds turns that nobody woke: left by a crash, taken over with an
// account, or put off by another process.
func (p *Processor) sweep(ctx context.Context) {
	tick := time.NewTicker(min(lookEvery, p.sweeping))
	defer tick.Stop()
	held, swept := "", time.Time{}
	for {
		if now := key(p.accounts.Held()); now != held || time.Since(swept) >= p.sweeping {
			held, swept = now, time.Now()
			p.sweepOnce(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Processor) sweepOnce(ctx context.Context) {
	if err := p.store.ReturnConversations(ctx, p.accounts.Held()); err != nil && ctx.Err() == nil {
		p.log.WarnContext(ctx, "Conversations not given back to the bot yet", slog.Any("error", err))
	}
	if err := p.store.WatchDrafts(ctx, p.accounts.Held()); err != nil && ctx.Err() == nil {
		p.log.WarnContext(ctx, "Drafts that wait for long not looked for", slog.Any("error", err))
	}
	due, err := p.store.DueConversations(ctx, p.accounts.Held(), sweepLimit)
	if err != nil && ctx.Err() == nil {
		p.log.WarnContext(ctx, "Waiting conversations not looked for", slog.Any("error", err))
	}
	now := time.Now()
	for _, d := range due {
		p.lanes.find(d.AccountID, d.ID, now.Add(d.DueIn))
	}
}

// watch warns while the turns under way come near their limit (L11).
func (p *Processor) watch(ctx context.Context) {
	tick := time.NewTicker(p.watching)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s := p.lanes.stats(); s.Active*10 >= p.lanes.limit*9 {
			p.log.WarnContext(ctx, "Conversation queue near capacity", slog.Int("active", s.Active), slog.Int("limit", p.lanes.limit),
				slog.Int("deferred", s.Deferred), slog.Any("oldest", p.lanes.oldest(3, time.Now())))
		}
	}
}

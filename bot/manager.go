package bot

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"

	waLog "go.mau.fi/whatsmeow/util/log"
	"golang.org/x/sync/semaphore"
)

// Rhythms of the manager.
const (
	usualLease = 12 * time.Second // how long a lease lasts; renewed four times in that time
	sweepEvery = 5 * time.Second
	sweepLimit = 1000
	startEvery = 12 * time.Millisecond // accounts are connected one after another
	noteEvery  = 30 * time.Second      // signs of life are written down

	topicSends  = "send"   // an account's queue
	topicLeases = "lease"  // somebody gave accounts back
	topicStatus = "status" // what an account's owner says of it
)

// records is what the manager reads and writes. *store.Store is the real one.
type records interface {
	RenewLeases(ctx context.Context, p store.Process, ttl time.Duration) (store.Holding, error)
	ReleaseLease(ctx context.Context, p store.Process, accounts []int64) error
	LeaveProcess(ctx context.Context, p store.Process) error
	Listen(ctx context.Context, heard func(store.Bell))
	Ping(ctx context.Context) error
	Setting(ctx context.Context, name string) (string, error)
	SetSetting(ctx context.Context, name, value string) error

	Account(ctx context.Context, id int64) (store.Account, error)
	SetStatus(ctx context.Context, id int64, owner string, status store.Status, cause string) error
	Restrict(ctx context.Context, id int64, r store.Restriction, until time.Time) error
	NoteProgress(ctx context.Context, seen map[int64]time.Time) error
	RaiseAlert(ctx context.Context, account int64, kind, says string) error
	ResolveAlert(ctx context.Context, account int64, kind string) error
	SetIdentity(ctx context.Context, id int64, jid, phone, lid string) error
	ClearIdentity(ctx context.Context, id int64) error
	DeleteAccount(ctx context.Context, id int64) error

	OpenProxy(a store.Account) (string, error)
	PairingNow(ctx context.Context, account int64) (store.Pairing, error)
	OfferPairing(ctx context.Context, account int64, code string, d time.Duration) error
	OfferTypedCode(ctx context.Context, account int64, code string, d time.Duration) error
	PairingProblem(ctx context.Context, account int64, problem string) error
	AskPasskey(ctx context.Context, account int64, request []byte) error
	ShowPasskeyCode(ctx context.Context, account int64, code string) error
	EndPairing(ctx context.Context, account int64) error

	ResolveContact(ctx context.Context, phone, lid, name string) (int64, error)
	Receive(ctx context.Context, in store.Inbound) (store.Received, error)
	ReceiveOwn(ctx context.Context, in store.Inbound) error
	Extend(ctx context.Context, account int64, chat string) (id int64, wait time.Duration, err error)
	ConversationAt(ctx context.Context, account int64, chat string) (int64, error)

	PendingSends(ctx context.Context, accounts []int64, limit int) ([]store.Pending, error)
	Claim(ctx context.Context, conversation int64, p store.Process) (store.Claimed, error)
	StoreEarlier(ctx context.Context, e store.Earlier) (int, error)
	Queue(ctx context.Context, p store.Parcel) (o store.Outbound, replayed bool, err error)
	NoteCall(ctx context.Context, account, contact int64, rejected bool) error
	React(ctx context.Context, c store.Change, sign string, at time.Time) error
	Edit(ctx context.Context, c store.Change, body string) error
	Delete(ctx context.Context, c store.Change) error
	WantedMedia(ctx context.Context, account int64, limit int) ([]store.MediaJob, error)
	MediaOf(ctx context.Context, account int64, waID string) (store.MediaJob, error)
	KeepMedia(ctx context.Context, message int64, f store.File) error
	PutOffMedia(ctx context.Context, message int64, wait time.Duration, why string) error
	AwaitPhone(ctx context.Context, message int64, wait time.Duration, why string) error
	NotAsked(ctx context.Context, message int64, why string) error
	GiveUpMedia(ctx context.Context, message int64, state, why string) error
	RenewMedia(ctx context.Context, j store.MediaJob, reference []byte) error
	File(ctx context.Context, id int64) (store.File, error)
	KeepReference(ctx context.Context, account, id int64, waID string, reference []byte) error

	MarkUncertain(ctx context.Context, id int64) error
	MarkUnsent(ctx context.Context, id int64, why string) error
	MarkFailed(ctx context.Context, id int64, failure string) error
	Hold(ctx context.Context, conversation, seq int64) error
	Tries(ctx context.Context, account, conversation int64, window time.Duration) ([]store.Tried, error)
	MarkReceipts(ctx context.Context, marks []store.Mark) error
	OutboundContent(ctx context.Context, account int64, waID string) (store.Claimed, error)
	Quoted(ctx context.Context, conversation int64, waID string) (store.Quote, error)
}

// Options are what a manager needs to know. What stands after Process may be left
// out.
type Options struct {
	Store   records
	DB      *sql.DB // for whatsmeow's own tables
	Process store.Process
	Log     *slog.Logger
	HTTP    *http.Client // the way to WhatsApp; nil: its own servers

	// Received hears of every stored message: its conversation wants a turn after
	// wait. It must return at once.
	Received func(account, conversation int64, wait time.Duration)
	// Typing hears that a customer types, or has stopped. It must return at once; nil:
	// nobody hears it.
	Typing func(account, conversation int64, on bool)
	// Watched says whether anybody would learn of it: otherwise the conversation is not
	// looked up. nil: that is not known.
	Watched func() bool
	// Debounce is how long a message waits for a next one, given the account's
	// usual time and its text.
	Debounce func(usual time.Duration, text string) time.Duration
	// Consent is what a customer's text says of automated messages; nil: nothing.
	Consent func(text string) store.Consent
	// Bell hears of every change that is not the manager's own business. The process
	// listens once, for all of its parts.
	Bell  func(store.Bell)
	Lease time.Duration // how long this process may be silent before others take its accounts
	// Note has other processes hear of a change. It must return at once.
	Note        func(topic string, id int64)
	Subscribers int // that may follow one topic (L6)

	Files store.Files // where files of messages are kept; nil: they are not fetched
	Spool string      // folder of files under way; "": the system's

	MediaBytes int64 // of all files under way at once (L29)

	LedgerRecipients int           // remembered by the send ledger (L2)
	LedgerEntries    int           // of each (L3)
	LedgerCleanup    time.Duration // between two cleanups (L4)
	RateWindow       time.Duration // that the accounts' paces count in
}

// Manager holds the accounts whose lease this process has: one Instance each.
// Its methods may be called from any goroutine.
type Manager struct {
	store     records
	process   store.Process
	log       *slog.Logger
	waLog     waLog.Logger
	http      *http.Client
	received  func(account, conversation int64, wait time.Duration)
	debounce  func(usual time.Duration, text string) time.Duration
	consent   func(text string) store.Consent
	bell      func(store.Bell)
	files     store.Files
	spool     string
	mediaRoom *semaphore.Weighted // bytes of files under way
	mediaMost int64               // of them
	lease     time.Duration
	devices   *devices
	version   *version
	counts    counts
	receipts  chan receipt // to be written
	typers    chan typer   // whose answers wait a little longer
	typing    func(account, conversation int64, on bool)
	watched   func() bool // whether anybody hears of typing
	topics    topics
	ledger    *ledger
	note      func(topic string, id int64)
	paused    atomic.Bool

	kick        chan struct{} // look at the leases now
	stop        context.CancelFunc
	lasting     context.Context //nolint:containedctx // what is written last; nothing ends it
	working     context.Context //nolint:containedctx // the life of every instance; Close ends it
	running     sync.WaitGroup
	writing     sync.WaitGroup // keepReceipts, until stopWriting
	stopWriting context.CancelFunc
	closing     sync.Once

	mu        sync.Mutex
	instances map[int64]*Instance // by account; guarded by mu
	starts    time.Time           // when the next account may connect; guarded by mu

	renewed atomic.Pointer[time.Time] // when the leases were last asked for with success
	next    time.Duration             // until another process's lease may expire; used by keepLeases only
}

// New returns a manager that holds nothing yet; see Start.
func New(o Options) *Manager {
	m := &Manager{
		store: o.Store, process: o.Process, log: o.Log, http: o.HTTP, received: o.Received, debounce: o.Debounce, consent: o.Consent,
		receipts: make(chan receipt, mostReceipts), typers: make(chan typer, mostTyping), typing: o.Typing, watched: o.Watched,
		bell: o.Bell, note: o.Note, lease: o.Lease, files: o.Files, spool: o.Spool, mediaMost: cmp.Or(o.MediaBytes, usualMediaMost),
		kick: make(chan struct{}, 1), instances: map[int64]*Instance{},
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.received == nil {
		m.received = func(int64, int64, time.Duration) {}
	}
	switch {
	case m.typing == nil:
		m.watched = func() bool { return false }
	case m.watched == nil:
		m.watched = func() bool { return true }
	}
	if m.debounce == nil {
		m.debounce = func(usual time.Duration, _ string) time.Duration { return usual }
	}
	if m.consent == nil {
		m.consent = func(string) store.Consent { return store.NoConsent }
	}
	if m.bell == nil {
		m.bell = func(store.Bell) {}
	}
	if m.note == nil {
		m.note = func(string, int64) {}
	}
	m.mediaRoom = semaphore.NewWeighted(m.mediaMost)
	m.topics = topics{limit: cmp.Or(o.Subscribers, usualSubscribers), log: m.log, all: map[string]map[*Subscription]bool{}}
	if m.lease <= 0 {
		m.lease = usualLease
	}
	m.ledger = newLedger(o, m.log)
	m.waLog = whatsAppLog{log: m.log}
	m.devices = newDevices(o.DB, m.waLog)
	m.version = &version{store: o.Store, http: o.HTTP, log: m.log}
	return m
}

// Start takes this process's share of the accounts and connects them, until
// Close. It fails when the database does not answer.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.version.remembered(ctx); err != nil {
		return err
	}
	lasting := context.WithoutCancel(ctx)
	working, stop := context.WithCancel(lasting) // only Close ends work
	m.lasting = lasting
	m.working, m.stop = working, stop
	if err := m.renew(working); err != nil {
		m.stop()
		return err
	}
	m.running.Go(func() { m.version.refresh(working) })
	m.running.Go(func() { m.keepLeases(working) })
	m.running.Go(func() { m.noteProgress(working) })
	writing, stopWriting := context.WithCancel(lasting) // after the last instance
	m.stopWriting = stopWriting
	m.writing.Go(func() { m.keepReceipts(writing) })
	m.running.Go(func() { m.hearTypers(working) })
	m.running.Go(func() { m.sweep(working) })
	m.running.Go(func() { m.ledger.run(working) })
	m.running.Go(func() { m.store.Listen(working, m.heard) })
	return nil
}

// Pause receives nothing more: what arrives is not acknowledged, and WhatsApp
// offers it again.
func (m *Manager) Pause() { m.paused.Store(true) }

// Close disconnects every account and gives the leases back. A second call does
// nothing.
func (m *Manager) Close(ctx context.Context) error {
	var err error
	m.closing.Do(func() { err = m.close(ctx) })
	return err
}

func (m *Manager) close(ctx context.Context) error {
	m.Pause()
	if m.stop == nil {
		return nil // never started
	}
	m.stop()
	m.running.Wait()
	held := m.Held()
	m.release(held)
	m.stopWriting()
	m.writing.Wait()
	m.flushReceipts(ctx)
	err := m.store.LeaveProcess(ctx, m.process)
	m.topics.close()
	m.log.InfoContext(ctx, "WhatsApp service stopped")
	return err
}

// Held are the accounts that this process may speak for now.
func (m *Manager) Held() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.instances))
}

// Context ends when this process may no longer speak for the account; false when
// it may not now.
func (m *Manager) Context(account int64) (context.Context, bool) {
	i := m.instance(account)
	if i == nil {
		return nil, false
	}
	return i.ctx, true
}

// Typing shows or hides "typing…" in a chat, if it can.
func (m *Manager) Typing(ctx context.Context, account int64, chat string, on bool) {
	if i := m.instance(account); i != nil {
		i.typing(ctx, chat, on)
	}
}

// Read marks messages of a chat as read, if it can.
func (m *Manager) Read(ctx context.Context, account int64, chat string, ids []string) {
	if i := m.instance(account); i != nil && len(ids) > 0 {
		i.read(ctx, chat, ids)
	}
}

// Send sends an answer that is queued in a conversation, soon. It returns at once.
func (m *Manager) Send(account, conversation int64) {
	if i := m.instance(account); i != nil {
		i.outbox.add(conversation, true)
	}
}

func (m *Manager) instance(account int64) *Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.instances[account]
}

// changed tells those who follow accounts, here and elsewhere, of what this process
// made of one.
func (m *Manager) changed(account int64) {
	m.topics.tell(store.Bell{Topic: TopicAccount, ID: account})
	m.note(topicStatus, account)
}

// heard is told which account has changed; the empty bell means any.
func (m *Manager) heard(b store.Bell) {
	m.bell(b)
	if b.Topic == topicStatus {
		m.topics.tell(store.Bell{Topic: TopicAccount, ID: b.ID})
		return
	}
	m.topics.tell(b)
	switch b.Topic {
	case topicSends:
		if m.instance(b.ID) != nil {
			m.sweepAccounts(m.working, []int64{b.ID})
		}
		return
	case topicLeases:
		poke(m.kick)
		return
	case "", TopicAccount:
	default:
		return
	}
	poke(m.kick)
	for _, account := range m.Held() {
		if b.ID == 0 || b.ID == account {
			if i := m.instance(account); i != nil {
				poke(i.wake)
			}
		}
	}
}

// sweep finds bubbles that nobody sends: queued by others, or left by a crash.
func (m *Manager) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		m.sweepAccounts(ctx, m.Held())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Manager) sweepAccounts(ctx context.Context, accounts []int64) {
	pending, err := m.store.PendingSends(ctx, accounts, sweepLimit)
	if err != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "Queued messages not looked for", slog.Any("error", err))
	}
	for _, p := range pending {
		if i := m.instance(p.AccountID); i != nil {
			i.outbox.expect(p)
		}
	}
}

// keepLeases renews the leases until ctx ends. A process that could not for three
// quarters of their time lets go of everything before others may take it; so does
// one that was frozen meanwhile, before it does anything else.
func (m *Manager) keepLeases(ctx context.Context) {
	wait := m.lease / 4
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-m.kick:
		}
		m.fence(ctx)
		wait = m.lease / 4
		switch err := m.renew(ctx); {
		case err != nil && ctx.Err() == nil:
			m.log.WarnContext(ctx, "Account leases not renewed", slog.Any("error", err))
			m.fence(ctx)
			wait = soon
		case m.next > 0:
			wait = min(wait, m.next+10*time.Millisecond) // a moment after it has expired
		}
	}
}

// own says whether this process may act for its accounts: it has renewed their
// leases within three quarters of their time.
func (m *Manager) own() bool { return m.ownFor() > 0 }

func (m *Manager) ownFor() time.Duration {
	renewed := m.renewed.Load()
	if renewed == nil {
		return 0
	}
	return m.lease*3/4 - time.Since(*renewed)
}

// fence disconnects everything once this process may not act any more.
func (m *Manager) fence(ctx context.Context) {
	held := m.Held()
	if m.own() || len(held) == 0 {
		return
	}
	m.log.ErrorContext(ctx, "Account leases lost, disconnecting until the database answers", slog.Int("accounts", len(held)))
	m.release(held)
}

// renew asks for the leases of this process, starts what it won and stops what
// it lost. It takes no longer than the leases allow.
func (m *Manager) renew(ctx context.Context) error {
	asked, patience := time.Now(), m.lease/4
	if left := m.ownFor(); left > 0 {
		patience = min(patience, left)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h, err := m.store.RenewLeases(asking, m.process, m.lease)
	if err != nil {
		return err
	}
	m.renewed.Store(&asked)
	m.next = h.Next
	held := map[int64]bool{}
	for _, l := range h.Leases {
		held[l.AccountID] = true
		m.hold(ctx, l.AccountID)
	}
	m.giveBack(ctx, slices.DeleteFunc(m.Held(), func(account int64) bool { return held[account] }))
	return nil
}

// hold starts the instance of an account unless it runs. Accounts connect one
// after another.
func (m *Manager) hold(ctx context.Context, account int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances[account] != nil || ctx.Err() != nil {
		return
	}
	now := time.Now()
	if m.starts.Before(now) {
		m.starts = now
	}
	i := newInstance(ctx, m, account, m.starts.Sub(now))
	m.starts = m.starts.Add(startEvery)
	m.instances[account] = i
	go i.run()
}

// noteProgress writes down when WhatsApp last gave each account a sign of life.
func (m *Manager) noteProgress(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		seen := map[int64]time.Time{}
		for _, account := range m.Held() {
			if i := m.instance(account); i != nil && i.progress.Load() != 0 {
				seen[account] = time.UnixMilli(i.progress.Load())
			}
		}
		if err := m.store.NoteProgress(ctx, seen); err != nil && ctx.Err() == nil {
			m.log.DebugContext(ctx, "Signs of life not written down", slog.Any("error", err))
		}
	}
}

// giveBack closes what this process should not hold, and says so to the others.
func (m *Manager) giveBack(ctx context.Context, accounts []int64) {
	if len(accounts) == 0 {
		return
	}
	m.release(accounts)
	if err := m.store.ReleaseLease(ctx, m.process, accounts); err != nil {
		m.log.WarnContext(ctx, "Account leases not given back, they will expire", slog.Any("error", err))
	}
	for _, account := range accounts {
		m.noteStopped(ctx, account)
	}
}

func (m *Manager) noteStopped(ctx context.Context, account int64) {
	a, err := m.store.Account(ctx, account)
	if err == nil && a.Wanted == store.WantStop {
		err = m.store.SetStatus(ctx, account, "", store.StatusStopped, "")
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		m.log.WarnContext(ctx, "Account status not written", slog.Int64("account", account), slog.Any("error", err))
	}
}

// release closes instances and waits for their ends.
func (m *Manager) release(accounts []int64) {
	var stopping []*Instance
	m.mu.Lock()
	for _, account := range accounts {
		if i := m.instances[account]; i != nil {
			i.cancel()
			stopping = append(stopping, i)
			delete(m.instances, account)
		}
	}
	m.mu.Unlock()
	for _, i := range stopping {
		<-i.done
	}
}

// poke wakes whoever waits on c, once.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a wake-up is due already
	}
}

package bot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
)

// Patience of an instance.
const (
	lookAgain  = time.Minute      // at the account's row, without being woken
	soon       = time.Second      // after something failed that may work at once
	afterFault = 30 * time.Second // after WhatsApp refused or replaced the connection
	writeTime  = 10 * time.Second // longest time for one statement of a handler
	logoutTime = 8 * time.Second  // longest wait for WhatsApp to confirm a logout
	awayAfter  = 5 * time.Minute  // without a connection: somebody should know
)

// Instance is one account in this process. Everything it does follows from its
// row: step looks at what people want and at what the link has become, and does
// the next thing.
type Instance struct {
	m      *Manager
	id     int64
	ctx    context.Context //nolint:containedctx // the life of the instance: its lease
	cancel context.CancelFunc
	delay  time.Duration // before the first step, so that not all connect at once
	wake   chan struct{}
	done   chan struct{}
	outbox *outbox
	media  *media
	usual  atomic.Int64                  // the account's debounce
	self   atomic.Pointer[store.Account] // as of the last step
	panics panics

	progress atomic.Int64 // WhatsApp's last sign of life in Unix milliseconds; 0: none yet

	mu      sync.Mutex
	link    *link     // to WhatsApp, or nil; guarded by mu
	report  report    // what the row should say; guarded by mu
	limited time.Time // new chats are refused until then; guarded by mu
	rested  time.Time // no new link before; used by step only
	proxy   []byte    // the way of the last step, sealed; used by step only
	alerted bool      // somebody knows that it is away; used by step only
}

// report is a status to be written to the account's row.
type report struct {
	status  store.Status
	cause   string
	since   time.Time
	written bool
}

func newInstance(ctx context.Context, m *Manager, account int64, delay time.Duration) *Instance {
	i := &Instance{m: m, id: account, delay: delay, wake: make(chan struct{}, 1), done: make(chan struct{})}
	i.ctx, i.cancel = context.WithCancel(ctx)
	i.outbox = newOutbox(i)
	i.media = newMedia(i)
	return i
}

// run is the life of the instance.
func (i *Instance) run() {
	defer close(i.done)
	var sending sync.WaitGroup
	sending.Go(func() { i.outbox.run(i.ctx) })
	sending.Go(func() { i.media.run(i.ctx) })
	defer sending.Wait()
	defer i.drop()
	next := i.delay
	for {
		select {
		case <-i.ctx.Done():
			return
		case <-i.wake:
		case <-time.After(next):
		}
		next = i.safeStep()
	}
}

// safeStep survives a panic of step.
func (i *Instance) safeStep() (next time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			i.m.log.Error("Account step panicked", slog.Int64("account", i.id), slog.Any("error", p), slog.String("stack", string(debug.Stack())))
			next = soon
		}
	}()
	return i.step(i.ctx)
}

// step does the next thing and says when to look again without being woken.
func (i *Instance) step(ctx context.Context) time.Duration {
	a, err := i.m.store.Account(ctx, i.id)
	if err != nil {
		return i.stumble(ctx, "read the account", err)
	}
	i.usual.Store(int64(a.Debounce()))
	if !bytes.Equal(i.proxy, a.Proxy) {
		i.proxy, i.rested = a.Proxy, time.Time{} // another way may work at once
	}
	i.self.Store(&a)
	i.outbox.setPace(pace{a.PaceAccount, a.PaceRecipient})
	if err := i.readRestriction(ctx, a); err != nil {
		return i.stumble(ctx, "read the account's restriction", err)
	}
	if err := i.writeStatus(ctx); err != nil { // what befell it, before what is done about it
		return i.stumble(ctx, "write the account's status", err)
	}
	var next time.Duration
	switch {
	case a.Wanted == store.WantLogout || a.Wanted == store.WantDelete:
		next, err = lookAgain, i.unlink(ctx, a)
	case a.Paired():
		next, err = i.keepLinked(ctx, a)
	default:
		next, err = i.keepPairing(ctx, a)
	}
	if err == nil {
		err = i.writeStatus(ctx)
	}
	if err == nil {
		err = i.alertAway(ctx, a)
	}
	if err != nil {
		return i.stumble(ctx, "look after the account", err)
	}
	return next
}

// alive notes a sign of life from WhatsApp.
func (i *Instance) alive() { i.progress.Store(time.Now().UnixMilli()) }

// alertAway tells people, once, that an account has been without a connection
// for long; the next connection resolves it.
func (i *Instance) alertAway(ctx context.Context, a store.Account) error {
	i.mu.Lock()
	r := i.report
	i.mu.Unlock()
	away := r.status == store.StatusConnecting || r.status == store.StatusReconnecting
	if !away || time.Since(r.since) < awayAfter || i.alerted {
		i.alerted = i.alerted && away
		return nil
	}
	i.alerted = true
	return i.m.store.RaiseAlert(ctx, i.id, "account_away", fmt.Sprintf("%s has been without a connection to WhatsApp for %v: %s", a.Name, awayAfter, r.cause))
}

func (i *Instance) stumble(ctx context.Context, what string, err error) time.Duration {
	if ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		i.m.log.WarnContext(ctx, "Account not looked after, trying again", slog.Int64("account", i.id),
			slog.String("step", what), slog.Any("error", err))
	}
	return soon
}

// keepLinked keeps a paired account connected, or says why it is not.
func (i *Instance) keepLinked(ctx context.Context, a store.Account) (time.Duration, error) {
	l := i.current()
	if l == nil {
		wait := time.Until(i.rested)
		if a.Restriction == store.Banned {
			i.say(store.StatusRestricted, banned(*a.RestrictedUntil))
			wait = max(wait, time.Until(*a.RestrictedUntil))
		}
		if wait > 0 {
			return min(wait, lookAgain), nil
		}
		return i.connect(ctx, a)
	}
	if end := l.ending(); end != nil {
		return i.settle(ctx, a, end)
	}
	if !bytes.Equal(l.proxy, a.Proxy) {
		i.drop()
		i.say(store.StatusReconnecting, "The way to WhatsApp was changed")
		return 0, nil
	}
	if l.guard.broken.Load() {
		return i.replace(ctx, l), nil
	}
	if l.online.Load() && !l.silent.Load() {
		i.sayOnline()
		l.showPresence(ctx, a)
		l.guard.tidy(ctx)
	}
	return i.mend(ctx, l), nil
}

// replace drops a link that has refused something, once storage answers again.
// WhatsApp offers what was not acknowledged on a new connection only; what the old
// one has brought and not handled yet must not be stored before that, so nothing of
// the link is used again. A link that was made just now rests first.
func (i *Instance) replace(ctx context.Context, l *link) time.Duration {
	if err := i.m.store.Ping(ctx); err != nil {
		return soon
	}
	i.drop()
	i.say(store.StatusReconnecting, "Storage did not take a message; connecting again, WhatsApp has kept it")
	i.rested = l.made.Add(soon/2 + rand.N(soon))
	return max(0, time.Until(i.rested))
}

// settle does what the end of a link asks for.
func (i *Instance) settle(ctx context.Context, a store.Account, e *ending) (time.Duration, error) {
	i.drop()
	i.say(e.status, e.cause)
	if e.unlinked {
		if err := i.m.devices.forget(ctx, *a.JID); err != nil {
			return 0, err
		}
		return lookAgain, i.m.store.ClearIdentity(ctx, i.id)
	}
	rest := e.rest
	if e.outdated && i.m.version.refresh(ctx) {
		rest = soon // there is a newer version: show that one
	}
	if !e.banned.IsZero() {
		if err := i.m.store.Restrict(ctx, i.id, store.Banned, e.banned); err != nil {
			return 0, err
		}
	}
	i.rested = time.Now().Add(rest)
	return rest, nil
}

// connect opens the link of a paired account.
func (i *Instance) connect(ctx context.Context, a store.Account) (time.Duration, error) {
	l := newLink(i, a)
	device, err := i.m.devices.open(ctx, *a.JID, l.guard)
	if err != nil {
		l.close()
		return 0, err
	}
	if device == nil {
		l.close()
		i.say(store.StatusLoggedOut, "Pairing was interrupted; scan again")
		return lookAgain, i.m.store.ClearIdentity(ctx, i.id)
	}
	l.linked.Store(true)
	if i.status() != store.StatusReconnecting && a.Status != store.StatusReconnecting {
		i.say(store.StatusConnecting, "")
	}
	if err := i.use(l, a, device); err != nil { //nolint:contextcheck // a link outlives the step that opens it
		i.say(store.StatusFailed, "WhatsApp could not be reached: "+plain(err))
		i.rested = time.Now().Add(afterFault)
		return afterFault, nil
	}
	return lookAgain, nil
}

// mend opens a lost connection again, at once and then ever more slowly.
func (i *Instance) mend(ctx context.Context, l *link) time.Duration {
	if !l.lost.Load() {
		if l.online.Load() {
			l.fails = 0
		}
		return lookAgain
	}
	if wait := time.Until(l.retryAt); wait > 0 {
		return wait
	}
	pause := min(time.Duration(l.fails+1)*soon, afterFault)
	l.fails++ // until it is logged in again
	l.retryAt = time.Now().Add(pause/2 + rand.N(pause))
	l.lost.Store(false)
	err := l.open()
	if err == nil || errors.Is(err, whatsmeow.ErrAlreadyConnected) {
		return lookAgain
	}
	l.lost.Store(true)
	i.m.log.DebugContext(ctx, "WhatsApp not reached yet", slog.Int64("account", i.id), slog.String("error", plain(err)))
	return time.Until(l.retryAt)
}

// unlink logs the device out, as people wanted; with the account's row if they
// wanted that.
func (i *Instance) unlink(ctx context.Context, a store.Account) error {
	if a.Paired() {
		i.logOut(ctx, a)
	}
	i.drop()
	if a.Paired() {
		if err := i.m.devices.forget(ctx, *a.JID); err != nil {
			return err
		}
	}
	if a.Wanted == store.WantDelete {
		return i.m.store.DeleteAccount(ctx, i.id)
	}
	i.say(store.StatusNew, "Logged out here")
	return i.m.store.ClearIdentity(ctx, i.id)
}

// logOut tells WhatsApp, if it can be reached in time; otherwise the phone lists
// the device until somebody removes it there.
func (i *Instance) logOut(ctx context.Context, a store.Account) {
	if i.current() == nil {
		if _, err := i.connect(ctx, a); err != nil {
			return
		}
	}
	l := i.current()
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, logoutTime)
	defer cancel()
	err := l.client.Logout(ctx)
	if err != nil && l.client.WaitForConnection(logoutTime) {
		err = l.client.Logout(ctx)
	}
	if err != nil {
		i.m.log.WarnContext(ctx, "Logout not confirmed, the phone still lists this device", slog.Int64("account", i.id), slog.Any("error", err))
	}
}

func (i *Instance) current() *link {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.link
}

// drop closes the link, if there is one.
func (i *Instance) drop() {
	i.mu.Lock()
	l := i.link
	i.link = nil
	i.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// say notes a status; the next step writes it.
func (i *Instance) say(status store.Status, cause string) {
	i.mu.Lock()
	changed := i.report.status != status || i.report.cause != cause
	if changed {
		since := i.report.since
		if i.report.status != status {
			since = time.Now()
		}
		i.report = report{status: status, cause: cause, since: since}
	}
	i.mu.Unlock()
	if changed {
		i.m.log.Info("Account status", slog.Int64("account", i.id), slog.String("status", string(status)), slog.String("cause", cause))
		poke(i.wake)
	}
}

func (i *Instance) status() store.Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.report.status == "" {
		return store.StatusNew
	}
	return i.report.status
}

func (i *Instance) writeStatus(ctx context.Context) error {
	i.mu.Lock()
	r := i.report
	i.mu.Unlock()
	if r.status == "" || r.written {
		return nil
	}
	if err := i.published(i.m.store.SetStatus(ctx, i.id, i.m.process.ID, r.status, r.cause)); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.report.status == r.status && i.report.cause == r.cause {
		i.report.written = true
	}
	return nil
}

// published passes err on; without one, those who follow the account hear of what
// was written.
func (i *Instance) published(err error) error {
	if err == nil {
		i.m.changed(i.id)
	}
	return err
}

// typing shows or hides "typing…", without waiting long.
func (i *Instance) typing(ctx context.Context, chat string, on bool) {
	l, to, ok := i.reach(chat)
	if !ok {
		return
	}
	state := types.ChatPresencePaused
	if on {
		state = types.ChatPresenceComposing
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_ = l.client.SendChatPresence(ctx, to, state, types.ChatPresenceMediaText) // a courtesy
}

func (i *Instance) read(ctx context.Context, chat string, ids []string) {
	l, to, ok := i.reach(chat)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_ = l.client.MarkRead(ctx, ids, time.Now(), to, to) // a courtesy
}

// reach is the connected link and the address of chat.
func (i *Instance) reach(chat string) (*link, types.JID, bool) {
	l := i.current()
	if l == nil || !l.online.Load() {
		return nil, types.JID{}, false
	}
	to, err := types.ParseJID(chat)
	return l, to, err == nil
}

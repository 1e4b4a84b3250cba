package bot

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	waStore "go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// link is one client's life: from its first connection until it is dropped, over
// all of whatsmeow's own reconnects. Once it has refused something it takes nothing
// more, and another link follows.
type link struct {
	i       *Instance
	client  *whatsmeow.Client
	guard   *guard
	made    time.Time
	proxy   []byte          // of the account when the link was made, sealed
	ctx     context.Context //nolint:containedctx // the life of the link
	cancel  context.CancelFunc
	unbind  func() bool // forgets the instance's end
	online  atomic.Bool // logged in and connected
	linked  atomic.Bool // a phone has accepted it
	lost    atomic.Bool // the connection is gone; mend opens another
	opening atomic.Bool // a connection is being opened
	silent  atomic.Bool // the connection is there, but keepalives stay unanswered
	present atomic.Bool // shown as available on this connection
	fails   int         // tries to do so in a row; used by step only
	retryAt time.Time   // no try before; used by step only

	mu      sync.Mutex
	ended   *ending         // why it cannot go on, or nil; guarded by mu
	codes   []string        // to scan, the next first; guarded by mu
	expires time.Time       // of the code that was offered last; used by step only
	known   map[string]bool // chats whose people are one contact; used by the outbox only
	typing  typing          // of a code on the phone; used by step only
	passkey passkey         // asked for by the phone

	handling sync.RWMutex // held for reading by every event being handled
	closed   bool         // guarded by handling
}

// ending is the end of a link and what follows from it.
type ending struct {
	status   store.Status
	cause    string
	rest     time.Duration // until a next try
	banned   time.Time     // no connection before; zero: there is no ban
	unlinked bool          // the phone is no longer linked
	outdated bool          // WhatsApp wants a newer client
}

func newLink(i *Instance, a store.Account) *link {
	l := &link{i: i, made: time.Now(), proxy: a.Proxy, known: map[string]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(i.ctx))
	l.unbind = context.AfterFunc(i.ctx, func() {
		if !l.online.Load() {
			l.cancel() // a connection attempt must not outlive the instance
		}
	})
	l.guard = newGuard(func() { poke(i.wake) })
	l.guard.fence = &fence{account: i.id, owner: i.m.process.ID}
	return l
}

// use connects l over device and makes it the instance's link.
func (i *Instance) use(l *link, a store.Account, device *waStore.Device) error {
	way, err := i.m.way(a)
	if err != nil {
		l.close()
		return err
	}
	l.client = i.newClient(l.ctx, device, way)
	l.client.PrePairCallback = func(jid types.JID, _, _ string) bool { return i.claimPhone(l, jid) }
	l.client.GetMessageForRetry = func(_, _ types.JID, id types.MessageID) *waE2E.Message { return i.again(l.ctx, id) }
	l.client.AddEventHandlerWithSuccessStatus(l.handle)
	i.mu.Lock()
	i.link = l
	i.mu.Unlock()
	if err := l.open(); err != nil {
		i.drop()
		return err
	}
	return nil
}

// open connects, unless the life of the link ends before. whatsmeow gives WhatsApp
// 20 s to answer its handshake, whatever becomes of the connection and of the
// context meanwhile; nobody waits for that, and what comes of it is closed.
func (l *link) open() error {
	l.opening.Store(true)
	opened := make(chan error, 1)
	go func() {
		err := l.client.ConnectContext(l.ctx)
		l.opening.Store(false)
		if l.ctx.Err() != nil {
			l.client.Disconnect()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		return err
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// close disconnects and returns when no event is being handled any more. The
// context of an open connection ends after it: whatsmeow does not bear both at
// once.
func (l *link) close() {
	l.unbind()
	if !l.online.Swap(false) {
		l.cancel()
	}
	if l.client != nil && !l.opening.Load() {
		l.client.Disconnect()
	}
	l.cancel()
	l.handling.Lock()
	l.closed = true
	l.handling.Unlock()
	l.guard.tidy(l.i.m.lasting)
}

func (l *link) end(e ending) {
	l.mu.Lock()
	if l.ended == nil {
		l.ended = &e
	}
	l.mu.Unlock()
	l.online.Store(false)
	poke(l.i.wake)
}

func (l *link) ending() *ending {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// again is a message we sent, for a phone that could not read it.
func (i *Instance) again(ctx context.Context, id string) *waE2E.Message {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	sent, err := i.m.store.OutboundContent(ctx, i.id, id)
	if err != nil {
		return nil
	}
	m, err := i.compose(ctx, i.current(), sent)
	if err != nil {
		return nil
	}
	return m
}

// handle hears every event of the client, messages one after another. False
// means: not done, do not acknowledge it. whatsmeow takes a panic for success,
// so it ends here.
func (l *link) handle(event any) (done bool) {
	l.handling.RLock()
	defer l.handling.RUnlock()
	if l.closed {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			l.i.m.log.Error("WhatsApp event handler panicked", slog.Int64("account", l.i.id), slog.Any("error", p),
				slog.String("stack", string(debug.Stack())))
			l.guard.refuse()
			done = false
		}
	}()
	switch e := event.(type) {
	case *waEvents.Message:
		return l.receive(e)
	case *waEvents.Receipt:
		return l.receipt(e)
	case *waEvents.UndecryptableMessage:
		l.unreadable(e)
	default:
		l.turn(event)
	}
	return true
}

// turn follows the connection.
func (l *link) turn(event any) {
	switch e := event.(type) {
	case *waEvents.QR:
		l.offer(e.Codes)
	case *waEvents.PairSuccess:
		l.paired(e)
	case *waEvents.PairError:
		l.end(ending{status: store.StatusNew, cause: "Pairing did not work: " + plain(e.Error), rest: soon, unlinked: true})
	case *waEvents.Connected:
		l.connected()
	case *waEvents.KeepAliveRestored:
		l.connected()
	case *waEvents.Disconnected:
		l.disconnected()
	case *waEvents.PushNameSetting, *waEvents.AppStateSyncComplete:
		poke(l.i.wake) // there is a name to be present with
	case *waEvents.KeepAliveTimeout:
		l.silent.Store(true)
		l.i.say(store.StatusReconnecting, "The connection is open, but WhatsApp does not answer on it")
		if e.ErrorCount >= mostSilence {
			l.client.ResetConnection()
		}
	case *waEvents.NotifyAccountReachoutTimelock:
		l.timelock(e)
	case *waEvents.ChatPresence:
		l.typed(e)
	case *waEvents.CallOffer:
		l.called(e)
	case *waEvents.MediaRetry:
		l.uploadedAgain(e)
	case *waEvents.PairPasskeyRequest:
		l.askPasskey(e)
	case *waEvents.PairPasskeyConfirmation:
		l.confirmPasskey(e)
	case *waEvents.PairPasskeyError:
		l.pairingProblem("The passkey was not accepted: " + plain(e.Error))
	case *waEvents.LoggedOut:
		l.end(ending{status: store.StatusLoggedOut, cause: "The phone or WhatsApp ended the link; scan again", unlinked: true})
	case *waEvents.StreamReplaced:
		poke(l.i.m.kick) // another process of ours may own the account by now
		l.end(ending{status: store.StatusReconnecting, cause: "Another program used this linked device", rest: afterFault})
	case *waEvents.TemporaryBan:
		until := time.Now().Add(e.Expire)
		l.end(ending{status: store.StatusRestricted, cause: banned(until), rest: e.Expire, banned: until})
	case *waEvents.ClientOutdated:
		l.end(ending{status: store.StatusOutdated, cause: "WhatsApp wants a newer client; upgrade frontdesk if this stays", rest: afterFault, outdated: true})
	case *waEvents.ConnectFailure:
		l.end(ending{status: store.StatusFailed, cause: "WhatsApp refused the connection: " + e.Reason.String(), rest: afterFault})
	}
}

// mostSilence is how many keepalives in a row WhatsApp may leave unanswered, one
// every 20 to 30 s, before the connection is opened anew.
const mostSilence = 2

func (l *link) connected() {
	l.present.Store(false)
	l.silent.Store(false)
	l.online.Store(true)
	l.i.sayOnline()
	poke(l.i.outbox.ready)
	poke(l.i.media.wake)
}

// timelock is told whether WhatsApp lets the account begin chats.
func (l *link) timelock(e *waEvents.NotifyAccountReachoutTimelock) {
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	set := func() error { return l.i.unlimit(ctx) }
	if e.IsActive {
		set = func() error { return l.i.limit(ctx, e.TimeEnforcementEnds.Time) }
	}
	if err := set(); err != nil {
		l.i.m.log.WarnContext(ctx, "Restriction of the account not written", slog.Int64("account", l.i.id), slog.Any("error", err))
	}
}

func (l *link) disconnected() {
	l.online.Store(false)
	if !l.linked.Load() {
		l.end(ending{status: store.StatusPairing, cause: "WhatsApp could not be reached; trying again", rest: 5 * time.Second})
		return
	}
	l.i.say(store.StatusReconnecting, "The connection was lost")
	l.lost.Store(true)
	poke(l.i.wake)
}

// plain is an error for people: whatsmeow's words without addresses.
func plain(err error) string { return addresses.ReplaceAllString(err.Error(), "…") }

package bot

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// receive stores a message. Only then it is true, and only then WhatsApp hears
// that it arrived.
func (l *link) receive(e *waEvents.Message) bool {
	if l.i.m.paused.Load() {
		return false
	}
	if l.guard.broken.Load() || !l.i.m.own() {
		l.guard.refuse() // nothing may be stored before what was refused
		return false
	}
	if n := e.Message.GetProtocolMessage().GetHistorySyncNotification(); n != nil && e.Info.IsFromMe {
		l.i.media.remember(n)
		return true
	}
	if !direct(e.Info) {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	err := l.takeSafely(ctx, e)
	if store.Unstorable(err) || (errors.Is(err, errPanic) && l.i.panics.again(e.Info.ID) >= mostPanics) {
		err = l.keepPlace(ctx, e, err)
	}
	if err != nil {
		l.i.m.log.WarnContext(ctx, "Message not stored, WhatsApp keeps it", slog.Int64("account", l.i.id),
			slog.String("message", e.Info.ID), slog.Any("error", err))
		l.guard.refuse()
		return false
	}
	return true
}

// mostPanics is how often one message may break its handling. WhatsApp offers it again
// each time, as the fault may lie elsewhere; then only its place is kept.
const mostPanics = 3

var errPanic = errors.New("a bug of frontdesk broke the handling of the message")

// panics counts how often in a row the same message broke its handling.
type panics struct {
	mu    sync.Mutex
	id    string // guarded by mu
	times int    // guarded by mu
}

func (p *panics) again(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != id {
		p.id, p.times = id, 0
	}
	p.times++
	return p.times
}

// takeSafely is take, with a panic as an error.
func (l *link) takeSafely(ctx context.Context, e *waEvents.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.i.m.log.ErrorContext(ctx, "Handling of a message panicked", slog.Int64("account", l.i.id), slog.String("message", e.Info.ID),
				slog.Any("error", p), slog.String("stack", string(debug.Stack())))
			err = errPanic
		}
	}()
	return l.take(ctx, e)
}

// take stores what the event brings: a message, a change of an earlier one, or
// nothing that concerns people.
func (l *link) take(ctx context.Context, e *waEvents.Message) error {
	if c := changeIn(e.Message); c != nil {
		return l.change(ctx, e.Info, c)
	}
	in, ok := content(e)
	if !ok {
		return nil
	}
	return l.store(ctx, e.Info, in)
}

// keepPlace stores that a message came which Postgres or we cannot take, and tells
// people: without it, WhatsApp would offer it for ever, and nothing behind it.
func (l *link) keepPlace(ctx context.Context, e *waEvents.Message, cause error) error {
	l.i.m.log.ErrorContext(ctx, "Message could not be stored as it is", slog.Int64("account", l.i.id), slog.String("message", e.Info.ID),
		slog.String("error", plain(cause)))
	if err := l.i.m.store.RaiseAlert(ctx, l.i.id, "message_unstorable", "A message could not be stored; look at the chat on the phone"); err != nil {
		return err
	}
	if changeIn(e.Message) != nil {
		return nil
	}
	info := e.Info
	info.Timestamp, info.PushName = time.Now(), ""
	return l.store(ctx, info, store.Inbound{Kind: "unknown"})
}

// store keeps a message of a customer, or one that somebody typed on the
// account's own phone.
func (l *link) store(ctx context.Context, info types.MessageInfo, in store.Inbound) error {
	in.AccountID, in.Chat, in.WaID, in.SentAt = l.i.id, info.Chat.ToNonAD().String(), info.ID, info.Timestamp
	in.Phone, in.LID = l.person(ctx, info)
	if in.Media != nil {
		defer poke(l.i.media.wake)
	}
	s := l.i.m.store
	if info.IsFromMe {
		return s.ReceiveOwn(ctx, in)
	}
	in.Name, in.Wait = info.PushName, l.i.m.debounce(time.Duration(l.i.usual.Load()), in.Body)
	in.Consent = l.i.m.consent(in.Body)
	r, err := s.Receive(ctx, in)
	if err != nil || r.Duplicate {
		return err
	}
	l.i.m.counts.received.Add(1)
	l.i.m.received(l.i.id, r.ConversationID, r.Wait)
	return nil
}

// copyTime is how long a readable copy of a message may take before people are told.
const copyTime = time.Minute

// unreadable keeps the place of a message that could not be decrypted. whatsmeow has
// asked its sender for another copy and acknowledges it whatever becomes of this.
func (l *link) unreadable(e *waEvents.UndecryptableMessage) {
	l.i.m.counts.undecryptable.Add(1)
	l.i.m.log.Warn("Message could not be decrypted, its sender was asked for another copy",
		slog.Int64("account", l.i.id), slog.String("message", e.Info.ID))
	if !direct(e.Info) || e.Info.IsFromMe {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	phone, lid := l.person(ctx, e.Info)
	in := store.Inbound{
		AccountID: l.i.id, Phone: phone, LID: lid, Name: e.Info.PushName, Chat: e.Info.Chat.ToNonAD().String(), WaID: e.Info.ID,
		Kind: store.KindUnreadable, SentAt: e.Info.Timestamp, Wait: copyTime,
	}
	if e.UnavailableType == waEvents.UnavailableTypeViewOnce {
		in.Kind, in.Wait = "view_once", time.Duration(l.i.usual.Load()) // the phone shows it, a linked device never does
	}
	r, err := l.i.m.store.Receive(ctx, in)
	if err != nil {
		l.i.m.log.Warn("Place of an unreadable message not kept", slog.Int64("account", l.i.id), slog.Any("error", err))
		return
	}
	if !r.Duplicate {
		l.i.m.received(l.i.id, r.ConversationID, r.Wait)
	}
}

// direct says whether the message belongs to a chat with one person. Groups,
// broadcasts, channels and status updates are ignored.
func direct(info types.MessageInfo) bool {
	if info.IsGroup || info.Category == "peer" {
		return false
	}
	s := info.Chat.Server
	return s == types.DefaultUserServer || s == types.HiddenUserServer
}

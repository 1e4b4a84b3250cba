package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
)

// Patience of a delivery.
const (
	ackTime     = 20 * time.Second // longest wait for WhatsApp's acknowledgement
	sendTime    = 90 * time.Second // and for everything before it
	mostRefusal = 5                // times that WhatsApp may refuse a bubble before it is given up
	mostFailure = 100              // times that something else may fail before, most of a day
	mostPause   = 10 * time.Minute // between two of those times
	tellAfter   = 8                // times after which people hear of it
	mostTallies = 1000             // bubbles whose failures are remembered
)

// What people are told about messages that cannot be sent.
const (
	alertWaits  = "message_waits"
	alertGaveUp = "message_failed"
)

// tally counts how often a bubble ended without having left.
type tally struct{ all, refused int }

// deliver sends a claimed bubble and writes down what became of it. An error means
// that the connection or the database is in trouble, and the bubble stays queued:
// what left without WhatsApp's word is sent again with the same id, which is one
// message on the phone.
func (o *outbox) deliver(ctx context.Context, l *link, b store.Claimed) error {
	to, err := types.ParseJID(b.Chat)
	if err != nil {
		return o.keep(ctx, b, &finalError{fmt.Errorf("read the chat's address: %w", err)})
	}
	left, err := o.send(ctx, l, to, b)
	delete(o.open, b.ConversationID)
	switch {
	case err == nil:
		return o.delivered(ctx, l, to, b)
	case !left || errors.Is(err, whatsmeow.ErrServerReturnedError):
		return o.keep(ctx, b, err)
	}
	return o.repeat(ctx, b, err)
}

// repeat has a bubble sent again at once, as it may have arrived.
func (o *outbox) repeat(ctx context.Context, b store.Claimed, cause error) error {
	o.open[b.ConversationID] = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return errors.Join(cause, o.i.m.store.MarkUncertain(ctx, b.ID))
}

// send gives a bubble to WhatsApp. left says that it may have arrived, with or
// without an error.
func (o *outbox) send(ctx context.Context, l *link, to types.JID, b store.Claimed) (left bool, err error) {
	composing, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	message, err := o.i.compose(composing, l, b)
	if err != nil {
		return false, err
	}
	// It ends after the connection: whatsmeow closes the channel of a cancelled send
	// while the acknowledgement may be written to it.
	sending, end := context.WithTimeout(l.ctx, sendTime)
	defer end()
	d := &departure{own: o.i.users(to)}
	_, err = l.client.SendMessage(withDeparture(sending, d), to, message, whatsmeow.SendRequestExtra{ID: b.WaID, Timeout: ackTime}) //nolint:contextcheck // the life of the link
	if err == nil && !d.left.Load() {
		err = errNobody
	}
	return d.left.Load(), err
}

// users are the account's own, as sessions name them; none if the chat is its own.
func (i *Instance) users(chat types.JID) []string {
	var own []string
	if a := i.self.Load(); a != nil {
		for _, user := range []*string{a.Phone, a.LID} {
			if user != nil {
				own = append(own, *user)
			}
		}
	}
	if slices.Contains(own, chat.User) {
		return nil
	}
	return own
}

// delivered writes down that WhatsApp took a bubble, and has its conversation looked
// at again if there is more to send. What cannot be written is sent again.
func (o *outbox) delivered(ctx context.Context, l *link, to types.JID, b store.Claimed) error {
	l.met(ctx, to)
	if err := l.applyOwn(ctx, to, b); err != nil && !store.Unstorable(err) {
		return o.repeat(ctx, b, fmt.Errorf("make the change here: %w", err))
	}
	marked, err := l.sent(ctx, b)
	if err != nil {
		return o.repeat(ctx, b, fmt.Errorf("mark the message as sent: %w", err))
	}
	if marked != nil {
		o.marking[b.ConversationID] = marked
	}
	o.i.m.counts.sent.Add(1)
	if o.forget(b.ID) {
		o.tell(ctx, b, o.i.m.store.ResolveAlert(ctx, o.i.id, alertWaits))
	}
	if b.NextIn != nil {
		o.expect(store.Pending{ConversationID: b.ConversationID, DueIn: *b.NextIn, Answers: b.Answers})
	}
	return nil
}

// tell logs what could not be written beside a message.
func (o *outbox) tell(ctx context.Context, b store.Claimed, err error) {
	if err != nil && ctx.Err() == nil {
		o.i.m.log.WarnContext(ctx, "What belongs to a message not written", slog.Int64("account", o.i.id), slog.String("message", b.WaID),
			slog.String("error", plain(err)))
	}
}

// keep leaves a bubble for a later try, of which nothing left or which WhatsApp
// refused; the account's other conversations go on. What WhatsApp refuses again and
// again, or what can never work, is given up, and people hear of it.
func (o *outbox) keep(ctx context.Context, b store.Claimed, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	if reachedOut(cause) {
		return o.hold(ctx, b, cause)
	}
	if o.i.interrupted() {
		return errors.Join(cause, o.i.m.store.MarkUnsent(ctx, b.ID, plain(cause)))
	}
	t := o.count(b.ID, cause)
	if final(cause) || t.refused >= mostRefusal || t.all >= mostFailure {
		return o.giveUp(ctx, b, cause)
	}
	if err := o.i.m.store.MarkUnsent(ctx, b.ID, plain(cause)); err != nil {
		return errors.Join(cause, err)
	}
	o.warn(ctx, b, b.ConversationID, cause)
	if t.all == tellAfter {
		o.tell(ctx, b, o.i.m.store.RaiseAlert(ctx, o.i.id, alertWaits,
			fmt.Sprintf("Message %d has waited for %d tries, and its conversation with it: %s", b.ID, t.all, plain(cause))))
	}
	o.put(b.ConversationID, later{time.Now().Add(jitter(pauseAfter(t.all))), true})
	return nil
}

// interrupted says that the account cannot send anything now.
func (i *Instance) interrupted() bool {
	l := i.current()
	return i.ctx.Err() != nil || l == nil || !l.online.Load()
}

// pauseAfter is 1 s after the first failure, twice as long after each other one.
func pauseAfter(failures int) time.Duration {
	return min(soon<<min(max(failures-1, 0), 16), mostPause)
}

func (o *outbox) giveUp(ctx context.Context, b store.Claimed, cause error) error {
	if err := o.i.m.store.MarkFailed(ctx, b.ID, plain(cause)); err != nil {
		return errors.Join(cause, err)
	}
	o.forget(b.ID)
	o.i.m.counts.failed.Add(1)
	o.i.m.log.ErrorContext(ctx, "Message given up", slog.Int64("account", o.i.id), slog.String("message", b.WaID), slog.String("error", plain(cause)))
	o.tell(ctx, b, o.i.m.store.RaiseAlert(ctx, o.i.id, alertGaveUp, fmt.Sprintf("Message %d was given up: %s", b.ID, plain(cause))))
	o.add(b.ConversationID, true) // what comes after it
	return nil
}

func (o *outbox) count(bubble int64, cause error) tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tallies) >= mostTallies {
		clear(o.tallies)
	}
	t := o.tallies[bubble]
	t.all++
	if refusal(cause) {
		t.refused++
	}
	o.tallies[bubble] = t
	return t
}

// forget drops a bubble's tally, and says whether people heard of it.
func (o *outbox) forget(bubble int64) (told bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	told = o.tallies[bubble].all >= tellAfter
	delete(o.tallies, bubble)
	return told
}

// hold leaves a conversation alone until WhatsApp allows new chats again, or the
// customer writes: trying blindly makes the restriction worse.
func (o *outbox) hold(ctx context.Context, b store.Claimed, cause error) error {
	if err := o.i.restricted(ctx); err != nil {
		return err
	}
	if err := o.i.m.store.MarkUnsent(ctx, b.ID, plain(cause)); err != nil {
		return err
	}
	if err := o.i.m.store.Hold(ctx, b.ConversationID, b.LastSeq); err != nil {
		return err
	}
	o.add(b.ConversationID, true) // the customer may have written meanwhile
	return nil
}

// reachedOut says that WhatsApp does not let the account begin this chat: error 463.
// whatsmeow gives the number as text only.
func reachedOut(err error) bool {
	return errors.Is(err, whatsmeow.ErrServerReturnedError) && strings.HasSuffix(err.Error(), " 463")
}

// refusal says that WhatsApp itself said no: to the message, or to its recipient,
// whom it does not know (whatsmeow has no error of its own for that).
func refusal(err error) bool {
	return errors.Is(err, whatsmeow.ErrServerReturnedError) || strings.HasPrefix(err.Error(), "no LID found for")
}

// finalError is refused however often it is tried.
type finalError struct{ cause error }

func (e *finalError) Error() string { return e.cause.Error() }
func (e *finalError) Unwrap() error { return e.cause }

// final says that trying again is pointless.
func final(err error) bool {
	var f *finalError
	return errors.As(err, &f)
}

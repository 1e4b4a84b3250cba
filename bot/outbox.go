package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Patience of an outbox.
const (
	ackTime     = 20 * time.Second // longest wait for WhatsApp's acknowledgement
	sendTime    = 90 * time.Second // and for everything around it
	mostRefusal = 5                // times that WhatsApp may refuse a bubble before it is given up
	mostQueued  = 10_000           // conversations that wait; beyond, the sweep finds them
)

// outbox sends the bubbles of one account, conversation after conversation, each
// bubble with the id it was queued with. Nothing depends on its memory: the rows
// say what waits.
type outbox struct {
	i     *Instance
	wake  chan struct{}
	ready chan struct{} // the link is online again

	mu      sync.Mutex
	queue   []int64        // conversations; guarded by mu
	waiting map[int64]bool // those in queue; guarded by mu

	refusals map[int64]int // by bubble; used by run only
}

func newOutbox(i *Instance) *outbox {
	return &outbox{
		i: i, wake: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		waiting: map[int64]bool{}, refusals: map[int64]int{},
	}
}

// add has a conversation looked at, soon.
func (o *outbox) add(conversation int64) {
	o.mu.Lock()
	if !o.waiting[conversation] && len(o.queue) < mostQueued {
		o.waiting[conversation] = true
		o.queue = append(o.queue, conversation)
	}
	o.mu.Unlock()
	poke(o.wake)
}

func (o *outbox) next() (conversation int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return 0, false
	}
	conversation, o.queue = o.queue[0], o.queue[1:]
	delete(o.waiting, conversation)
	return conversation, true
}

// run sends until ctx ends.
func (o *outbox) run(ctx context.Context) {
	pause := soon
	for ctx.Err() == nil {
		conversation, ok := o.next()
		if !ok {
			o.sleep(ctx, o.wake, lookAgain)
			continue
		}
		more, err := o.sendNext(ctx, conversation)
		if more || err != nil {
			o.add(conversation)
		}
		if err == nil {
			pause = soon
			continue
		}
		o.sleep(ctx, o.ready, pause)
		pause = min(2*pause, afterFault)
	}
}

func (o *outbox) sleep(ctx context.Context, c chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-c:
	case <-timer.C:
	}
}

var errOffline = errors.New("the account is not connected")

// sendNext sends the next bubble of a conversation. An error means that it stays
// queued; more, that another one waits.
func (o *outbox) sendNext(ctx context.Context, conversation int64) (more bool, err error) {
	l := o.i.current()
	if l == nil || !l.online.Load() || !o.i.m.own() {
		return false, errOffline
	}
	bubble, err := o.i.m.store.Claim(ctx, conversation, o.i.m.process)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = o.deliver(ctx, l, bubble)
	}
	if err != nil && ctx.Err() == nil {
		o.i.m.log.WarnContext(ctx, "Message not sent yet", slog.Int64("account", o.i.id),
			slog.Int64("conversation", conversation), slog.String("error", plain(err)))
	}
	return bubble.More, err
}

// deliver sends a claimed bubble and marks what became of it. Whatever is
// uncertain stays queued: the same id again is one message on the phone.
func (o *outbox) deliver(ctx context.Context, l *link, b store.Claimed) error {
	err := o.send(ctx, l, b)
	switch {
	case err == nil:
		o.i.m.counts.sent.Add(1)
		delete(o.refusals, b.ID)
		return o.i.m.store.MarkSent(ctx, b.ID)
	case uncertain(err):
		return err
	}
	o.refusals[b.ID]++
	if o.refusals[b.ID] < mostRefusal && !final(err) {
		return err
	}
	o.i.m.counts.failed.Add(1)
	delete(o.refusals, b.ID)
	o.i.m.log.ErrorContext(ctx, "Message given up", slog.Int64("account", o.i.id), slog.String("message", b.WaID), slog.String("error", plain(err)))
	return o.i.m.store.MarkFailed(ctx, b.ID, plain(err))
}

func (o *outbox) send(ctx context.Context, l *link, b store.Claimed) error {
	to, err := types.ParseJID(b.Chat)
	if err != nil {
		return &finalError{fmt.Errorf("read the chat's address: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	_, err = l.client.SendMessage(ctx, to, &waE2E.Message{Conversation: new(b.Body)},
		whatsmeow.SendRequestExtra{ID: b.WaID, Timeout: ackTime})
	return err
}

// uncertain says that the bubble may or may not have left: only repeating it with
// the same id is safe.
func uncertain(err error) bool {
	var cut *whatsmeow.DisconnectedError
	for _, target := range []error{
		whatsmeow.ErrMessageTimedOut, whatsmeow.ErrNotConnected, whatsmeow.ErrIQTimedOut, whatsmeow.ErrIQDisconnected,
		context.Canceled, context.DeadlineExceeded, errHeldTooLong, errFenced,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.As(err, &cut)
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

package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"frontdesk/store"
)

// Patience of an outbox.
const (
	mostQueued  = 10_000               // conversations that wait; beyond, the sweep finds them
	mostMarking = 1000                 // marks under way that are remembered, before those that are over go
	timerMargin = 5 * time.Millisecond // after which the database's clock agrees
)

// outbox sends the bubbles of one account, conversation after conversation, each
// bubble with the id it was queued with, no faster than the account's pace. Nothing
// depends on its memory: the rows say what waits.
type outbox struct {
	i     *Instance
	wake  chan struct{}
	ready chan struct{} // the link is online again

	mu      sync.Mutex
	pace    pace            // guarded by mu
	answers []int64         // conversations in which a customer waits; guarded by mu
	others  []int64         // the other ones; guarded by mu
	queued  map[int64]bool  // those in answers (true) or others; guarded by mu
	later   map[int64]later // those with a time of their own; guarded by mu
	tallies map[int64]tally // of bubbles that failed, by bubble; guarded by mu
	loading map[int64]bool  // conversations whose next file is on its way to WhatsApp; guarded by mu

	uploads sync.WaitGroup            // those of loading
	open    map[int64]bool            // conversations whose last try may have arrived; used by run only
	marking map[int64]<-chan struct{} // conversations whose last bubble is being marked as sent; used by run only
}

// later is a conversation that has something to send at a time of its own.
type later struct {
	at      time.Time
	answers bool
}

func newOutbox(i *Instance) *outbox {
	return &outbox{
		i: i, wake: make(chan struct{}, 1), ready: make(chan struct{}, 1),
		queued: map[int64]bool{}, later: map[int64]later{}, tallies: map[int64]tally{}, loading: map[int64]bool{},
		open: map[int64]bool{}, marking: map[int64]<-chan struct{}{},
	}
}

// setPace is told how fast the account may send.
func (o *outbox) setPace(p pace) {
	o.mu.Lock()
	changed := o.pace != p
	o.pace = p
	if changed {
		for conversation, l := range o.later { // may be put off for another reason: it will be again
			o.addLocked(conversation, l.answers)
		}
	}
	o.mu.Unlock()
	if changed {
		poke(o.wake)
	}
}

// add has a conversation looked at, soon: those in which a customer waits for an
// answer first.
func (o *outbox) add(conversation int64, answers bool) {
	o.mu.Lock()
	o.addLocked(conversation, answers)
	o.mu.Unlock()
	poke(o.wake)
}

func (o *outbox) addLocked(conversation int64, answers bool) {
	delete(o.later, conversation)
	was, queued := o.queued[conversation]
	if (queued && (was || !answers)) || (!queued && len(o.queued) >= mostQueued) {
		return
	}
	o.queued[conversation] = answers
	if answers {
		o.answers = append(o.answers, conversation) // next passes over its place among the others
	} else {
		o.others = append(o.others, conversation)
	}
}

// expect has a conversation looked at when its next bubble is due.
func (o *outbox) expect(p store.Pending) {
	if p.DueIn <= 0 {
		o.add(p.ConversationID, p.Answers)
		return
	}
	o.put(p.ConversationID, later{time.Now().Add(p.DueIn + timerMargin), p.Answers})
	poke(o.wake)
}

// put has a conversation looked at later, unless that is to happen anyway.
func (o *outbox) put(conversation int64, l later) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, queued := o.queued[conversation]
	known, waits := o.later[conversation]
	if queued || (waits && known.at.Before(l.at)) || (!waits && len(o.later) >= mostQueued) {
		return
	}
	o.later[conversation] = l
}

// next is the conversation to look at now, or how long there is none.
func (o *outbox) next() (conversation int64, answers bool, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	wait = lookAgain
	for c, l := range o.later {
		if left := time.Until(l.at); left > 0 {
			wait = min(wait, left)
		} else {
			o.addLocked(c, l.answers)
		}
	}
	if len(o.answers) > 0 {
		conversation, o.answers = o.answers[0], o.answers[1:]
		delete(o.queued, conversation)
		return conversation, true, 0
	}
	for len(o.others) > 0 {
		conversation, o.others = o.others[0], o.others[1:]
		if urgent, queued := o.queued[conversation]; queued && !urgent {
			delete(o.queued, conversation)
			return conversation, false, 0
		}
	}
	return 0, false, wait
}

// back puts a conversation before all others of its kind.
func (o *outbox) back(conversation int64, answers bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, queued := o.queued[conversation]; queued {
		return
	}
	delete(o.later, conversation)
	o.queued[conversation] = answers
	if answers {
		o.answers = slices.Insert(o.answers, 0, conversation)
	} else {
		o.others = slices.Insert(o.others, 0, conversation)
	}
}

// run sends until ctx ends. When it returns, no file is on its way, and what was
// sent is marked unless Postgres is slow: whoever sends next begins with a clear table.
func (o *outbox) run(ctx context.Context) {
	defer o.awaitMarks()
	defer o.uploads.Wait()
	o.i.m.ledger.forget(o.i.id) // another process may have sent meanwhile
	pause := soon
	for ctx.Err() == nil {
		var err error
		conversation, answers, wait := o.next()
		if wait == 0 {
			wait, err = o.try(ctx, conversation, answers)
		}
		switch {
		case err != nil:
			o.add(conversation, answers)
			o.sleep(ctx, o.ready, pause)
			pause = min(2*pause, afterFault)
		case wait > 0:
			o.sleep(ctx, o.wake, wait)
		default:
			pause = soon
		}
	}
}

// try sends the next bubble of a conversation if the pace allows it. If the account
// may not send, wait says for how long; if only the recipient has enough, the
// conversation is put off and the others go on. What may have arrived already is
// repeated at once. An error means that the bubble stays queued.
func (o *outbox) try(ctx context.Context, conversation int64, answers bool) (wait time.Duration, err error) {
	if o.open[conversation] {
		return 0, o.sendNext(ctx, conversation)
	}
	o.mu.Lock()
	p := o.pace
	o.mu.Unlock()
	ofAccount, ofRecipient, err := o.i.m.ledger.wait(ctx, o.i.id, conversation, p)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read what was sent lately: %w", err)
	case ofRecipient > 0 && ofRecipient >= ofAccount:
		o.put(conversation, later{time.Now().Add(jitter(ofRecipient)), answers})
		return 0, nil
	case ofAccount > 0:
		o.back(conversation, answers)
		return jitter(ofAccount), nil
	}
	return 0, o.sendNext(ctx, conversation)
}

// jitter adds up to a twentieth, so that nothing leaves by the beat.
func jitter(d time.Duration) time.Duration { return d + timerMargin + rand.N(d/20+time.Millisecond) }

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
// queued.
func (o *outbox) sendNext(ctx context.Context, conversation int64) error {
	l := o.i.current()
	if l == nil || !l.online.Load() || l.silent.Load() || !o.i.m.own() {
		return errOffline
	}
	if o.isLoading(conversation) {
		return nil // it comes back when the file is there
	}
	o.awaitMark(ctx, conversation)
	bubble, err := o.i.m.store.Claim(ctx, conversation, o.i.m.process)
	switch {
	case errors.Is(err, store.ErrNotFound):
		delete(o.open, conversation)
		return nil
	case err != nil:
	case lacksFile(bubble):
		return o.load(ctx, l, bubble)
	default:
		o.i.m.ledger.note(ctx, o.i.id, conversation, bubble.WaID)
		err = o.deliver(ctx, l, bubble)
	}
	if err != nil {
		o.warn(ctx, bubble, conversation, err)
	}
	return err
}

// warn says, unless everything ends, that a message stays queued.
func (o *outbox) warn(ctx context.Context, b store.Claimed, conversation int64, err error) {
	if ctx.Err() == nil {
		o.i.m.log.WarnContext(ctx, "Message not sent yet", slog.Int64("account", o.i.id),
			slog.Int64("conversation", conversation), slog.String("message", b.WaID), slog.String("error", plain(err)))
	}
}

// awaitMark waits until the last bubble of a conversation is marked as sent: before,
// it would be claimed again.
func (o *outbox) awaitMark(ctx context.Context, conversation int64) {
	if marked := o.marking[conversation]; marked != nil {
		select {
		case <-marked:
		case <-ctx.Done():
		}
		delete(o.marking, conversation)
	}
	if len(o.marking) >= mostMarking {
		maps.DeleteFunc(o.marking, func(_ int64, marked <-chan struct{}) bool { return closed(marked) })
	}
}

// awaitMarks waits a moment until all that was sent is marked. What is not may be sent
// again, with the same id.
func (o *outbox) awaitMarks() {
	over := time.After(soon)
	for _, marked := range o.marking {
		select {
		case <-marked:
		case <-over:
			return
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

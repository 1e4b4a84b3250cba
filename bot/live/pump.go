package live

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

const (
	batch     = 500                   // events of one read
	pause     = 10 * time.Millisecond // between two reads, so that many words are one
	readTime  = 10 * time.Second      // the longest read
	usualPace = 50 * time.Millisecond // how long the pump lets those that read catch up
	breath    = 2 * time.Millisecond  // between two looks whether they have
	paceEvery = 32                    // events
	idle      = time.Second           // between two looks while nobody follows
)

// pump reads events and tells them until ctx ends. Being the only one, it keeps them in
// order.
func (h *Hub) pump(ctx context.Context) {
	failing := false
	for {
		err := error(nil)
		if failing {
			err = h.comeBack(ctx)
		}
		more := false
		if err == nil {
			more, err = h.read(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			h.o.Log.WarnContext(ctx, "Events cannot be read", slog.Any("error", err))
		} else if err == nil && failing {
			h.o.Log.InfoContext(ctx, "Events can be read again")
		}
		failing = err != nil
		if !h.rest(ctx, more) {
			return
		}
	}
}

// comeBack has the hub go on after the database was away. Should a crash have undone what
// was told already, what comes next may stand before it in the order of all: those who
// follow an execution see a new epoch then.
func (h *Hub) comeBack(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	latest, err := h.o.Store.LatestPlace(within)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if latest.XID < h.place.XID {
		h.place = latest
	}
	return nil
}

// rest waits until it is time to look again; false: ctx has ended.
func (h *Hub) rest(ctx context.Context, more bool) bool {
	if more {
		return ctx.Err() == nil
	}
	if !sleep(ctx, pause) {
		return false
	}
	wait := time.NewTimer(h.interval())
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-h.woken:
	case <-wait.C:
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (h *Hub) interval() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) > 0 {
		return h.o.Poll
	}
	return max(h.o.Poll, idle)
}

// read tells the next batch; more: there may be another one at once.
func (h *Hub) read(ctx context.Context) (more bool, err error) {
	within, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	events, err := h.o.Store.EventsAfter(within, h.place, batch) // only the pump writes place
	if err != nil || len(events) == 0 {
		return false, err
	}
	steps := arrange(h.place, events)
	for len(steps) > 0 {
		together := 1 + slices.IndexFunc(steps, func(s step) bool { return s.settled }) // the last one is
		h.pace(ctx, len(steps)%paceEvery == 0)
		h.tell(ctx, steps[:together])
		steps = steps[together:]
	}
	h.o.Heard(events)
	return len(events) == batch, nil
}

// tell gives events to their rooms, in one go: whoever joins sees all or none of them.
func (h *Hub) tell(ctx context.Context, steps []step) {
	h.mu.Lock()
	for _, s := range steps {
		if s.ExecutionID != nil {
			h.keep(s.frame)
		}
		h.spread(s.frame, roomsOf(s.ExecutionID, s.FlowID, s.AccountID, s.ConversationID))
		if s.ExecutionID != nil && ended(s.Type) {
			h.linger(h.room(Room{execution, *s.ExecutionID}))
		}
	}
	h.place = steps[len(steps)-1].frame.place
	h.counts.Told += len(steps)
	evicted := h.evicted
	h.counts.Evicted += len(evicted)
	h.evicted = nil
	h.mu.Unlock()
	h.sayEvicted(ctx, evicted)
}

// spread gives a frame to everybody in rooms, once to each. Those who are joining get
// it after what is replayed to them.
func (h *Hub) spread(f *frame, rooms []Room) {
	h.round++
	for _, name := range rooms {
		r := h.rooms[name]
		if r == nil {
			continue
		}
		for c, s := range r.subscriptions {
			switch {
			case s.join == nil:
				h.give(c, s, f)
			case !f.transient && s.join.round != h.round:
				s.join.round = h.round
				s.join.hold(h, c, f)
			}
		}
	}
}

// give sends a live frame, after the gap that may be before it.
func (h *Hub) give(c *client, s *subscription, f *frame) {
	fresh, first, last := s.missed(f)
	if !fresh {
		return
	}
	if first > 0 {
		h.push(c, gapFrame(s.room.Room, first, last))
	}
	if c.round == h.round {
		return
	}
	c.round = h.round
	h.push(c, f)
}

// pace lets clients catch up for a moment before they get more: so many events at once
// are no reason to send somebody away who reads. Whoever makes no use of it is not
// waited for again until everything was sent to them.
func (h *Hub) pace(ctx context.Context, look bool) {
	if !look && h.waiting.Load() < h.mostBytes/2 {
		return
	}
	for waited := time.Duration(0); h.crowded(waited >= h.mostPace); waited += breath {
		if !sleep(ctx, breath) {
			return
		}
	}
}

// crowded says whether there is somebody to wait for; enough: we have waited.
func (h *Hub) crowded(enough bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum int64
	wait := false
	for c := range h.clients {
		bytes, full := c.crowd(enough)
		sum += bytes
		wait = wait || full
	}
	return !enough && (wait || sum > h.mostBytes/2)
}

// Transient is something that is over at once: nobody hears of it later.
type Transient struct {
	Type           string // step.progress or typing
	ExecutionID    *int64
	FlowID         *int64
	Flow           string
	AccountID      *int64
	ConversationID *int64
	Test           bool
	Step           any // encoded as an object; nil: there is none
	Data           any // the same
}

// Publish tells those who follow now of something transient. It never blocks on a
// client; who has much to read does not get it. While nobody follows, nothing is
// encoded.
func (h *Hub) Publish(t Transient) {
	rooms := roomsOf(t.ExecutionID, t.FlowID, t.AccountID, t.ConversationID)
	if !h.followed(rooms) {
		return
	}
	v := envelope{
		Type: t.Type, ExecutionID: t.ExecutionID, FlowID: t.FlowID, Flow: t.Flow, AccountID: t.AccountID, ConversationID: t.ConversationID,
		Time: time.Now().UTC(), Test: t.Test, Step: encoded(t.Step),
	}
	f := &frame{text: v.fit(members(encoded(t.Data))), transient: true}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spread(f, rooms)
}

// Followed says whether anybody follows anything here.
func (h *Hub) Followed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients) > 0
}

func (h *Hub) followed(rooms []Room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range rooms {
		if r := h.rooms[name]; r != nil && len(r.subscriptions) > 0 {
			return true
		}
	}
	return false
}

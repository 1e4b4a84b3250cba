package live

import (
	"context"
	"slices"
	"time"
)

// ended says whether an event is the last of its execution.
func ended(event string) bool {
	return event == "execution.completed" || event == "execution.failed" || event == "execution.cancelled"
}

// linger has the room of an execution that ended be closed in a while (L17).
func (h *Hub) linger(r *room) {
	if !r.ends.IsZero() {
		return
	}
	r.ends = time.Now().Add(h.o.Linger)
	h.endings = append(h.endings, r)
	poke(h.ending)
}

// closeRooms closes each room when its time has come, until ctx ends.
func (h *Hub) closeRooms(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(h.closeDue(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-h.ending:
		case <-timer.C:
		}
	}
}

// closeDue closes the rooms whose time has come and returns how long there is none.
func (h *Hub) closeDue(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.endings) > 0 {
		r := h.endings[0]
		if wait := r.ends.Sub(now); wait > 0 {
			return wait
		}
		h.closeRoom(r)
	}
	return time.Hour
}

// closeRoom tells those in a room that it is closed; then it leaves together with its
// buffer. Their connections stay.
func (h *Hub) closeRoom(r *room) {
	f := closedFrame(r.Room)
	for c, s := range r.subscriptions {
		if s.join != nil {
			s.join.hold(h, c, f)
		} else {
			h.push(c, f)
		}
		delete(c.subscriptions, r.Room)
	}
	clear(r.subscriptions)
	h.unbuffer(r)
	h.forget(r)
}

func closedFrame(r Room) *frame { return notice{Type: "room.closed", Room: r.String()}.frame() }

// forget removes a room that nobody needs any more.
func (h *Hub) forget(r *room) {
	if h.rooms[r.Room] == r {
		delete(h.rooms, r.Room)
	}
	if !r.ends.IsZero() {
		h.endings = slices.DeleteFunc(h.endings, func(o *room) bool { return o == r })
	}
}

// leaveEmpty forgets a room that holds nothing.
func (h *Hub) leaveEmpty(r *room) {
	if r.buffer == nil && len(r.subscriptions) == 0 {
		h.forget(r)
	}
}

package live

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"frontdesk/store"
)

// ServeEvents is the stream of server-sent events about the rooms that the request
// names. A client that comes back with Last-Event-ID goes on where it was.
func (h *Hub) ServeEvents(w http.ResponseWriter, r *http.Request, v Visitor) {
	ctx, c := h.admit(r.Context(), w, v.Pass)
	if c == nil {
		return
	}
	defer h.leave(ctx, c)
	rooms, refused := h.wanted(ctx, r, v.May)
	if refused != nil {
		refused.write(w)
		return
	}
	s := &stream{w: w, control: http.NewResponseController(w), most: h.beats.write}
	defer context.AfterFunc(ctx, s.cut)()
	if s.open(ctx) != nil {
		return
	}
	var joining sync.WaitGroup
	joining.Go(func() {
		if p := problemOf(h.join(ctx, c, rooms, lastEvent(r))); p != nil {
			c.end(gone, p.frame(""))
		}
	})
	c.write(ctx, s, h.beats.comment)
	c.cancel()
	joining.Wait()
}

// wanted are the rooms that a request names, if whoever asks may follow them all.
func (h *Hub) wanted(ctx context.Context, r *http.Request, may Rights) ([]Room, *problem) {
	names := r.URL.Query()["room"]
	switch {
	case len(names) == 0:
		return nil, errNoRoom
	case len(names) > mostRooms:
		return nil, errManyRooms
	}
	var rooms []Room
	for _, name := range names {
		room, err := ParseRoom(name)
		if err != nil || !may(ctx, room) {
			return nil, errUnknown
		}
		if room.Kind == execution {
			_, err = ask(ctx, h, func(ctx context.Context) (store.Execution, error) { return h.o.Store.Execution(ctx, room.ID) })
		}
		if err != nil {
			return nil, problemOf(err)
		}
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
	}
	return rooms, nil
}

// lastEvent is where a client goes on. One that names no place of ours begins anew,
// and is told that nothing was recovered.
func lastEvent(r *http.Request) since {
	p, err := readPlace(r.Header.Get("Last-Event-ID"))
	if err != nil {
		return since{}
	}
	return since{place: &p}
}

// stream is a client over server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	most    time.Duration // of a write
	text    bytes.Buffer
}

// open answers the request. From now on every write has a deadline of its own, instead
// of the server's for the whole answer.
func (s *stream) open(ctx context.Context) error {
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	s.w.WriteHeader(http.StatusOK)
	s.text.WriteString("retry: 2000\n\n")
	return s.flush(ctx)
}

func (s *stream) send(ctx context.Context, frames []*frame) error {
	for _, f := range frames {
		if f.place != (store.Place{}) {
			s.text.WriteString("id: " + written(f.place) + "\n")
		}
		s.text.WriteString("data: ")
		s.text.Write(f.text)
		s.text.WriteString("\n\n")
	}
	return s.flush(ctx)
}

func (s *stream) beat(ctx context.Context) error {
	s.text.WriteString(": still here\n\n")
	return s.flush(ctx)
}

// cut ends a write under way.
func (s *stream) cut() { _ = s.control.SetWriteDeadline(time.Now()) }

// close says goodbye to who was too slow; it comes back with the last event it has.
func (s *stream) close(ctx context.Context, why reason) {
	if why == slow {
		s.text.WriteString("event: slow\ndata: {\"type\":\"slow\"}\n\n")
		_ = s.flush(ctx)
	}
}

func (s *stream) flush(ctx context.Context) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.most))
	if ctx.Err() != nil {
		return ctx.Err() // cut may have come before the deadline
	}
	_, err := s.w.Write(s.text.Bytes())
	s.text.Reset()
	if err != nil {
		return err
	}
	return s.control.Flush()
}

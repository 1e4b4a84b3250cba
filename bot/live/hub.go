package live

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"
)

// What a hub does unless its options say otherwise.
const (
	usualBuffers = 100 // (L18)
	usualEvents  = 20  // (L19)
	usualLinger  = 5 * time.Second
	usualSockets = 1_000
	usualPoll    = 250 * time.Millisecond
	usualCheck   = time.Minute
)

// Store is what a hub reads. *store.Store is the real one.
type Store interface {
	EventsAfter(ctx context.Context, p store.Place, limit int) ([]store.Event, error)
	EventsBetween(ctx context.Context, f store.EventFilter, after, upTo store.Place, limit int) ([]store.Event, error)
	EventsKeptSince(ctx context.Context, p store.Place) (bool, error)
	EventsOf(ctx context.Context, execution, after int64, limit int) ([]store.Event, error)
	LatestPlace(ctx context.Context) (store.Place, error)
	Execution(ctx context.Context, id int64) (store.Execution, error)
	ExecutionSteps(ctx context.Context, id int64) ([]store.ExecutionStep, error)
	EndedPasses(ctx context.Context, passes []store.Pass) ([]store.Pass, error)
}

// Options are what a hub needs to know; all but Store may be left out.
type Options struct {
	Store           Store
	Log             *slog.Logger
	Heard           func([]store.Event) // hears of every batch of events, in order; it must not take long
	Buffers         int                 // executions with a buffer (L18)
	EventsPerBuffer int                 // (L19)
	Linger          time.Duration       // of an execution's room after its end (L17)
	Sockets         int                 // clients at once, over both transports
	Poll            time.Duration       // between two looks for events while somebody follows
	Check           time.Duration       // between two looks whether those who follow still may
	Origins         []string            // hosts whose pages may open a WebSocket, beside our own
}

// Hub gives events to those who follow them. Its methods may be called from any
// goroutine.
type Hub struct {
	o Options

	woken     chan struct{} // something was committed
	ending    chan struct{} // an execution ended
	reading   chan struct{} // places for reads on behalf of clients
	waiting   atomic.Int64  // bytes that wait for all clients together
	mostBytes int64         // of waiting
	beats     beats
	mostPace  time.Duration      // how long the pump lets those that read catch up
	stop      context.CancelFunc // ends what runs; nil before Start
	running   sync.WaitGroup     // pump, closeRooms and checkPasses
	serving   sync.WaitGroup     // handlers
	closing   sync.Once

	mu          sync.Mutex
	closed      bool                 // guarded by mu, like all that follows
	place       store.Place          // all events up to here have been told, none behind it
	rooms       map[Room]*room       // those that somebody follows or that have a buffer
	buffered    []*room              // those with a buffer, the oldest first
	bufferBytes int                  // in them
	endings     []*room              // those that will be closed, the next one first
	evicted     []int64              // executions whose end of buffering is to be logged
	clients     map[*client]struct{} // all that are connected
	near        bool                 // clients are near their limit, and that was said
	round       uint64               // of the event that is being told
	counts      Stats                // what only grows
}

// New returns a hub that does not read yet; see Start.
func New(o Options) *Hub {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Heard == nil {
		o.Heard = func([]store.Event) {}
	}
	orUsual(&o.Buffers, usualBuffers)
	orUsual(&o.EventsPerBuffer, usualEvents)
	orUsual(&o.Linger, usualLinger)
	orUsual(&o.Sockets, usualSockets)
	orUsual(&o.Poll, usualPoll)
	orUsual(&o.Check, usualCheck)
	return &Hub{
		o: o, woken: make(chan struct{}, 1), ending: make(chan struct{}, 1), reading: make(chan struct{}, mostReads), mostBytes: mostWaitingBytes,
		beats: usualBeats, mostPace: usualPace, rooms: map[Room]*room{}, clients: map[*client]struct{}{},
	}
}

func orUsual[N ~int | ~int64](value *N, usual N) {
	if *value <= 0 {
		*value = usual
	}
}

// Start begins with what happens from now on. What happened before is read when
// somebody asks for it.
func (h *Hub) Start(ctx context.Context) error {
	place, err := h.o.Store.LatestPlace(ctx)
	if err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.place, h.stop = place, stop
	h.running.Go(func() { h.pump(working) })
	h.running.Go(func() { h.closeRooms(working) })
	h.running.Go(func() { h.checkPasses(working) })
	return nil
}

// Close tells every client when to come back and ends all connections; those that take
// longer than ctx are cut. A second call does nothing.
func (h *Hub) Close(ctx context.Context) error {
	var cut int
	h.closing.Do(func() {
		if h.stop != nil {
			h.stop()
		}
		h.running.Wait()
		h.sendAllAway()
		cut = h.waitForHandlers(ctx)
		h.o.Log.InfoContext(ctx, "Socket service stopped", slog.Int("cut", cut))
	})
	if cut > 0 {
		return fmt.Errorf("%d clients did not leave in time", cut)
	}
	return nil
}

// sendAllAway ends every connection in a friendly way, and lets no new one in.
func (h *Hub) sendAllAway() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.clients {
		after := time.Second + rand.N(4*time.Second) // they must not all come at once
		c.end(restarting, notice{Type: "server.shutdown", ReconnectMS: after.Milliseconds()}.frame())
	}
}

// waitForHandlers returns how many connections it had to cut.
func (h *Hub) waitForHandlers(ctx context.Context) int {
	left := make(chan struct{})
	go func() {
		h.serving.Wait()
		close(left)
	}()
	select {
	case <-left:
		return 0
	case <-ctx.Done():
	}
	h.mu.Lock()
	n := len(h.clients)
	for c := range h.clients {
		c.cancel()
	}
	h.mu.Unlock()
	<-left
	return n
}

// Wake says that something was committed here, so that it is told at once. It never
// blocks.
func (h *Hub) Wake() { poke(h.woken) }

// poke leaves a word for whoever listens, if there is none yet.
func poke(listener chan struct{}) {
	select {
	case listener <- struct{}{}:
	default:
	}
}

// Stats are numbers of this moment.
type Stats struct {
	Buffers      int // executions with a buffer
	BufferEvents int
	BufferBytes  int
	Rooms        int // followed, or with a buffer
	Sockets      int // clients over both transports
	Waiting      int // frames that wait for clients
	WaitingBytes int

	// Since the start.
	Told       int // events
	Evicted    int // buffers that made room for another
	Slow       int // clients that were sent away
	Dropped    int // transient events that a slow client did not get
	TurnedAway int // clients for whom there was no place
}

// Stats returns the numbers of this moment.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.counts
	s.Buffers, s.BufferBytes, s.Rooms, s.Sockets = len(h.buffered), h.bufferBytes, len(h.rooms), len(h.clients)
	for _, r := range h.buffered {
		s.BufferEvents += len(r.buffer.frames)
	}
	for c := range h.clients {
		s.Waiting += c.length()
	}
	s.WaitingBytes = int(h.waiting.Load())
	return s
}

// room is a room by name, which is made if it is new.
func (h *Hub) room(name Room) *room {
	r := h.rooms[name]
	if r == nil {
		r = &room{Room: name, subscriptions: map[*client]*subscription{}}
		h.rooms[name] = r
	}
	return r
}

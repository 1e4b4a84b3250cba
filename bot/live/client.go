package live

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"frontdesk/store"

	"github.com/coder/websocket"
)

// What may wait for clients.
const (
	mostFrames       = 128      // for one
	mostClientBytes  = 1 << 20  // for one
	mostWaitingBytes = 32 << 20 // for all together (L29)
	replayFrames     = 32       // a replay goes on when no more than these wait
	replayBytes      = mostClientBytes / 4
	mostHeld         = 32 // live events that wait for the end of a replay
	handFrames       = 32 // written at once
	handBytes        = 64 << 10
)

// beats are how often a sign of life is given while nothing else is written, and how
// long one is waited for.
type beats struct {
	comment time.Duration // of server-sent events
	ping    time.Duration // of a WebSocket
	pong    time.Duration // the client's time to answer, shorter than that
	write   time.Duration // the longest write; who reads nothing for so long is gone
}

var usualBeats = beats{comment: 15 * time.Second, ping: 30 * time.Second, pong: 20 * time.Second, write: 10 * time.Second}

// reason is why a connection ends.
type reason struct {
	code  websocket.StatusCode // 0: without a word
	words string
}

var (
	gone       = reason{}                                                    // it has ended
	restarting = reason{websocket.StatusServiceRestart, "restarting"}        // the hub closes
	slow       = reason{4008, "too slow"}                                    // more waits for it than may
	signedOut  = reason{4001, "session ended"}                               // whoever follows may not any more
	malformed  = reason{websocket.StatusUnsupportedData, "text frames only"} // it does not speak our language
)

// client is a connection. What waits for it is written by one goroutine, in order.
type client struct {
	hub     *Hub
	pass    store.Pass         // what it was let in with
	cancel  context.CancelFunc // cuts it
	wake    chan struct{}      // there is something to write
	drained chan struct{}      // something was written
	ended   chan struct{}      // closed once it has a reason to end

	subscriptions map[Room]*subscription // guarded by the hub's mu
	round         uint64                 // of the last event it got; guarded by the hub's mu

	mu     sync.Mutex
	frames []*frame // that wait, the first ones in the writer's hand; guarded by mu, like all that follows
	hand   int      // so many
	bytes  int      // of frames, and of what its replay holds back
	moved  bool     // something was written since the pump looked
	late   bool     // the pump does not wait for it
	why    *reason  // it ends
}

// admit makes a client of a request, or answers that there is no place for it. Whoever
// calls it calls leave.
func (h *Hub) admit(ctx context.Context, w http.ResponseWriter, pass store.Pass) (context.Context, *client) {
	connected, cancel := context.WithCancel(ctx)
	c := &client{
		hub: h, pass: pass, cancel: cancel, wake: make(chan struct{}, 1), drained: make(chan struct{}, 1), ended: make(chan struct{}),
		subscriptions: map[Room]*subscription{},
	}
	near, refused := h.add(c)
	if near {
		h.o.Log.WarnContext(ctx, "Socket limit near", slog.Int("limit", h.o.Sockets))
	}
	if refused != nil {
		cancel()
		refused.write(w)
		return nil, nil
	}
	return connected, c
}

// add returns near when the limit has just come near.
func (h *Hub) add(c *client) (near bool, refused *problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return false, errClosing
	case len(h.clients) >= h.o.Sockets:
		h.counts.TurnedAway++
		return false, errNoPlace
	}
	h.clients[c] = struct{}{}
	h.serving.Add(1)
	h.Wake() // from now on the pump looks more often
	near = !h.near && len(h.clients)*10 >= h.o.Sockets*9
	h.near = h.near || near
	return near, nil
}

// leave ends what admit began. No goroutine writes for the client any more.
func (h *Hub) leave(ctx context.Context, c *client) {
	c.cancel()
	if !c.end(gone) && c.reason() == slow {
		h.o.Log.WarnContext(ctx, "Slow socket sent away")
	}
	h.mu.Lock()
	for _, s := range c.subscriptions {
		h.detach(c, s)
	}
	delete(h.clients, c)
	if len(h.clients)*10 < h.o.Sockets*8 {
		h.near = false
	}
	h.mu.Unlock()
	c.clear()
	h.serving.Done()
}

// detach ends a subscription. The caller holds the hub's mu.
func (h *Hub) detach(c *client, s *subscription) {
	if c.subscriptions[s.room.Room] == s {
		delete(c.subscriptions, s.room.Room)
		delete(s.room.subscriptions, c)
		h.leaveEmpty(s.room)
	}
}

// push has a frame wait for a client. Where that is too much, the client goes. The
// caller holds the hub's mu.
func (h *Hub) push(c *client, f *frame) {
	dropped, ok := c.push(f)
	h.counts.Dropped += dropped
	if !ok {
		h.sendAway(c)
	}
	for h.waiting.Load() > h.mostBytes && h.relieve() {
	}
}

// relieve sends the client away for which most waits; false: for none does anything.
func (h *Hub) relieve() bool {
	var worst *client
	most := 0
	for c := range h.clients {
		if n := c.burden(); n > most {
			worst, most = c, n
		}
	}
	if worst != nil {
		h.sendAway(worst)
	}
	return worst != nil
}

// sendAway ends a client that is too slow. What waits for it is forgotten: it may
// resume.
func (h *Hub) sendAway(c *client) {
	if c.end(slow) {
		h.counts.Slow++
	}
}

// push adds a frame; false: the client cannot take it. Transient ones make room first.
func (c *client) push(f *frame) (dropped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != nil {
		return 0, true
	}
	if c.full(f) && f.transient {
		return 1, true
	}
	if c.full(f) {
		dropped = c.dropTransient()
	}
	if c.full(f) {
		return dropped, false
	}
	c.frames = append(c.frames, f)
	c.count(len(f.text))
	poke(c.wake)
	return dropped, true
}

func (c *client) full(f *frame) bool {
	return len(c.frames) >= mostFrames || c.bytes+len(f.text) > mostClientBytes
}

func (c *client) count(bytes int) {
	c.bytes += bytes
	c.hub.waiting.Add(int64(bytes))
}

func (c *client) dropTransient() int {
	before := len(c.frames)
	waiting := slices.DeleteFunc(c.frames[c.hand:], func(f *frame) bool {
		if f.transient {
			c.count(-len(f.text))
		}
		return f.transient
	})
	c.frames = c.frames[:c.hand+len(waiting)]
	return before - len(c.frames)
}

// end gives the connection a reason to end; the first one counts. Last words are
// written before; without them, what waits is forgotten.
func (c *client) end(why reason, last ...*frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != nil {
		return false
	}
	c.why = &why
	close(c.ended)
	if len(last) == 0 {
		c.forget()
	}
	for _, f := range last {
		c.frames = append(c.frames, f)
		c.count(len(f.text))
	}
	poke(c.wake)
	return true
}

// forget drops all that the writer has not in hand.
func (c *client) forget() {
	for _, f := range c.frames[c.hand:] {
		c.count(-len(f.text))
	}
	clear(c.frames[c.hand:])
	c.frames = c.frames[:c.hand]
}

// clear gives back whatever was still counted.
func (c *client) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames, c.hand = nil, 0
	c.count(-c.bytes)
}

// take is what to write next. Until written is called it still counts as waiting.
func (c *client) take() ([]*frame, *reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := 0
	for c.hand = 0; c.hand < min(len(c.frames), handFrames) && bytes < handBytes; c.hand++ {
		bytes += len(c.frames[c.hand].text)
	}
	return slices.Clone(c.frames[:c.hand]), c.why
}

func (c *client) written() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.frames[:c.hand] {
		c.count(-len(f.text))
	}
	c.frames = slices.Delete(c.frames, 0, c.hand)
	c.hand, c.moved = 0, true
	c.late = c.late && len(c.frames) > 0
	poke(c.drained)
}

func (c *client) length() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.frames)
}

// reason is why the client has ended.
func (c *client) reason() reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.why
}

// burden is how many bytes would be free without it.
func (c *client) burden() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != nil {
		return 0
	}
	bytes := 0
	for _, f := range c.frames[c.hand:] {
		bytes += len(f.text)
	}
	return bytes
}

// crowd is what waits for a client that the pump waits for, and whether that is much.
// enough: whoever has not caught up by now is late.
func (c *client) crowd(enough bool) (bytes int64, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full = len(c.frames) >= mostFrames/2 || c.bytes >= mostClientBytes/2
	if enough {
		c.late = c.late || full || len(c.frames) > 0 && !c.moved
		c.moved = false
	}
	if c.late || c.why != nil {
		return 0, false
	}
	return int64(c.bytes), full
}

// drain waits until little waits for the client; false: it has ended.
func (c *client) drain(ctx context.Context) bool {
	for {
		c.mu.Lock()
		free := len(c.frames) <= replayFrames && c.bytes <= replayBytes
		c.mu.Unlock()
		select {
		case <-c.ended:
			return false
		case <-ctx.Done():
			return false
		default:
		}
		if free {
			return true
		}
		select {
		case <-c.ended:
		case <-ctx.Done():
		case <-c.drained:
		}
	}
}

// wire is how frames reach a client. Only its writer calls it.
type wire interface {
	send(context.Context, []*frame) error
	beat(context.Context) error // nothing was written for a while
	close(context.Context, reason)
}

// write sends what waits until the client ends.
func (c *client) write(ctx context.Context, w wire, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		frames, end := c.take()
		var err error
		switch {
		case len(frames) > 0:
			err = w.send(ctx, frames)
			c.written()
			tick.Reset(every)
		case end != nil:
			w.close(ctx, *end)
			return
		default:
			err = c.await(ctx, w, tick.C)
		}
		if err != nil {
			c.end(gone)
			w.close(ctx, gone)
			return
		}
	}
}

func (c *client) await(ctx context.Context, w wire, tick <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.wake:
		return nil
	case <-tick:
		return w.beat(ctx)
	}
}

package live

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// mostAsked is how many bytes a client may say at once.
const mostAsked = 4 << 10

// ServeSocket is the WebSocket: the client says what to follow, as often as it likes,
// and hears of it.
func (h *Hub) ServeSocket(w http.ResponseWriter, r *http.Request, v Visitor) {
	ctx, c := h.admit(context.WithoutCancel(r.Context()), w, v.Pass) // our own word ends it, not the server's
	if c == nil {
		return
	}
	defer h.leave(ctx, c)
	taken := &taking{ResponseWriter: w, most: h.beats.write}
	ws, err := websocket.Accept(taken, r, &websocket.AcceptOptions{OriginPatterns: h.o.Origins})
	if err != nil {
		return // Accept has answered
	}
	defer context.AfterFunc(ctx, func() { taken.conn.Close() })()
	ws.SetReadLimit(mostAsked)
	s := &socket{hub: h, client: c, ws: ws, conn: taken.conn, may: v.May}
	var writing sync.WaitGroup
	writing.Go(func() { c.write(ctx, s, h.beats.ping) })
	s.listen(ctx)
	c.end(gone)
	writing.Wait()
	c.cancel()
	s.pinging.Wait()
}

// socket is a client over a WebSocket.
type socket struct {
	hub     *Hub
	client  *client
	ws      *websocket.Conn
	conn    *corked
	may     Rights
	pinging sync.WaitGroup // the ping that waits for its answer
}

// send writes frames in one go.
func (s *socket) send(ctx context.Context, frames []*frame) error {
	s.conn.cork()
	for _, f := range frames {
		if err := s.ws.Write(context.WithoutCancel(ctx), websocket.MessageText, f.text); err != nil { // the end of ctx closes the connection
			_ = s.conn.uncork()
			return err
		}
	}
	return s.conn.uncork()
}

// beat sends a ping. A client that does not answer it is gone.
func (s *socket) beat(ctx context.Context) error {
	s.pinging.Wait() // the time to answer is shorter than that between two
	s.pinging.Go(func() {
		within, cancel := context.WithTimeout(ctx, s.hub.beats.pong)
		defer cancel()
		if s.ws.Ping(within) != nil {
			s.client.cancel()
		}
	})
	return nil
}

// close ends the connection with a word, and waits a moment for the client's.
func (s *socket) close(_ context.Context, why reason) {
	if why.code == 0 {
		_ = s.ws.CloseNow()
		return
	}
	_ = s.ws.Close(why.code, why.words)
}

// order is what a client says.
type order struct {
	Op    string `json:"op"`
	Room  string `json:"room"`
	Since *struct {
		Epoch int64  `json:"epoch"` // of the event with seq; numbers go on from one owner to the next
		Seq   *int64 `json:"seq"`
		Place string `json:"place"`
	} `json:"since"`
}

// listen does what the client says, one after the other, until the connection ends. It
// does not read on while the client does not.
func (s *socket) listen(ctx context.Context) {
	for s.client.drain(ctx) {
		kind, text, err := s.ws.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			s.client.end(malformed, s.answer(order{}, errNotUnderstood))
			return
		}
		if reply := s.obey(ctx, text); reply != nil {
			s.hub.send(s.client, reply)
		}
	}
}

var (
	errNotUnderstood = refusal(http.StatusBadRequest, "bad_request", `Say {"op":"subscribe","room":"execution:7"}, {"op":"unsubscribe","room":…} or {"op":"ping"}`, 0)
	errBadSince      = refusal(http.StatusBadRequest, "bad_since", `Resume with {"epoch":…,"seq":…} of an execution's last event, or with the "place" of any event`, 0)
)

func (s *socket) answer(o order, p *problem) *frame {
	room := o.Room
	if len(room) > 40 {
		room = "" // no room has such a name
	}
	return p.frame(strings.ToValidUTF8(room, ""))
}

// obey returns what there is to answer; nil: that was sent already.
func (s *socket) obey(ctx context.Context, text []byte) *frame {
	var o order
	if json.Unmarshal(text, &o) != nil {
		return s.answer(order{}, errNotUnderstood)
	}
	switch o.Op {
	case "ping":
		return notice{Type: "pong"}.frame()
	case "subscribe":
		if p := s.subscribe(ctx, o); p != nil {
			return s.answer(o, p)
		}
		return nil
	case "unsubscribe":
		return s.unsubscribe(o)
	}
	return s.answer(o, errNotUnderstood)
}

func (s *socket) subscribe(ctx context.Context, o order) *problem {
	room, err := ParseRoom(o.Room)
	if err != nil || !s.may(ctx, room) {
		return errUnknown
	}
	from, err := o.from(room)
	if err != nil {
		return errBadSince
	}
	if !s.hub.mayJoin(s.client, room) {
		return errManyRooms
	}
	return problemOf(s.hub.join(ctx, s.client, []Room{room}, from))
}

func problemOf(err error) *problem {
	if err == nil {
		return nil
	}
	if p, ok := err.(*problem); ok { //nolint:errorlint // join wraps none
		return p
	}
	return errAway
}

// from is where the client goes on. Only executions number their events.
func (o order) from(room Room) (since, error) {
	switch {
	case o.Since == nil:
		return since{}, nil
	case o.Since.Place != "":
		p, err := readPlace(o.Since.Place)
		return since{place: &p}, err
	case o.Since.Seq == nil || room.Kind != execution:
		return since{}, errBadPlace
	}
	return since{seq: o.Since.Seq}, nil
}

// mayJoin says whether a client may follow one more room.
func (h *Hub) mayJoin(c *client, room Room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return c.subscriptions[room] != nil || len(c.subscriptions) < mostRooms
}

func (s *socket) unsubscribe(o order) *frame {
	room, err := ParseRoom(o.Room)
	if err != nil || !s.hub.unsubscribe(s.client, room) {
		return s.answer(o, errUnknown)
	}
	return notice{Type: "unsubscribed", Room: room.String()}.frame()
}

func (h *Hub) unsubscribe(c *client, room Room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := c.subscriptions[room]
	if s != nil {
		h.detach(c, s)
	}
	return s != nil
}

// taking takes the connection over for a WebSocket, with a cork in it.
type taking struct {
	http.ResponseWriter

	most time.Duration // of a write
	conn *corked
}

// corked holds writes back between cork and uncork, so that many frames are one write.
type corked struct {
	net.Conn

	most time.Duration // of a write
	mu   sync.Mutex
	on   bool   // guarded by mu
	held []byte // guarded by mu
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Write is for the WebSocket; it writes from several goroutines.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.through(p)
}

func (c *corked) through(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.most)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = true
	c.held = (*buffers.Get().(*[]byte))[:0] //nolint:forcetypeassert // it holds nothing else
}

func (c *corked) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	held := c.held
	c.held = nil
	_, err := c.through(held)
	buffers.Put(&held)
	return err
}

// Hijack is for the WebSocket.
func (t *taking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.conn = &corked{Conn: conn, most: t.most}
	rw.Writer.Reset(t.conn)
	return t.conn, rw, nil
}

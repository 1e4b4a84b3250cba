package wasim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// outgoing is how many answers wait for a slow client before reading from it
// pauses.
const outgoing = 256

// farewell is how long a client has to hang up itself after the last node.
const farewell = 5 * time.Second

// connection is one client's stream. One goroutine reads, one writes; send,
// finish and cut are safe from any other.
type connection struct {
	server *Server
	wire   *wire
	static [32]byte // the client's proven noise key
	out    chan parting
	wake   chan struct{} // the queue has something for this stream
	ctx    context.Context
	end    context.CancelFunc
	tasks  sync.WaitGroup

	phone   *Phone   // whose device this is; nil while pairing; set before reading begins
	device  int      // the device's number; set with phone
	offer   *offer   // the codes shown; nil once logged in
	replies sync.Map // request id to chan *waBinary.Node

	frost   atomic.Pointer[<-chan struct{}] // closed when a freeze is over; nil before any
	backlog int                             // how many stanzas had waited when the queue was attached; set by attach
	flushed bool                            // the end of the backlog was said; the writer's own
	offline int                             // stanzas of the backlog written; the writer's own
}

// parting is a node to write, after which the stream may end.
type parting struct {
	node waBinary.Node
	last bool
}

func newConnection(s *Server, ws *websocket.Conn) *connection {
	return &connection{
		server: s, wire: &wire{ws: ws}, out: make(chan parting, outgoing), wake: make(chan struct{}, 1),
	}
}

// serve runs the stream until it ends.
func (c *connection) serve(ctx context.Context) {
	c.server.counts.add("conn.open", 1)
	defer c.server.counts.add("conn.closed", 1)
	ctx, c.end = context.WithCancel(ctx)
	c.ctx = ctx
	defer c.tasks.Wait()
	defer c.end()
	payload, static, err := c.wire.greet(ctx, c.server.own)
	if err != nil {
		c.server.log.Debug("Handshake failed", "error", err)
		return
	}
	c.static = static
	c.server.counts.add("handshake.ok", 1)
	c.tasks.Go(c.write)
	if err := c.begin(payload); err != nil {
		c.server.log.Debug("Stream refused", "error", err)
	}
	defer c.leave()
	c.read()
}

// begin pairs or logs in, as the client's payload says.
func (c *connection) begin(payload *waWa6.ClientPayload) error {
	if payload.GetDevicePairingData() != nil {
		return c.beginPairing(payload.GetDevicePairingData())
	}
	return c.login(payload)
}

// leave takes the stream from whatever knows it.
func (c *connection) leave() {
	if c.phone != nil {
		c.phone.forget(c)
	}
	if c.offer != nil {
		c.server.withdraw(c.offer)
	}
}

// read handles what the client sends, in order.
func (c *connection) read() {
	for {
		n, err := c.wire.node(c.ctx)
		if err != nil {
			if c.ctx.Err() == nil && websocket.CloseStatus(err) == -1 {
				c.server.log.Debug("Stream ended", "error", err)
			}
			return
		}
		if !c.thawed() {
			return
		}
		c.handle(n)
	}
}

func (c *connection) handle(n *waBinary.Node) {
	switch n.Tag {
	case "iq":
		c.iq(n)
	case "message":
		c.message(n)
	case "receipt":
		c.receipt(n)
	case "ack":
		c.ack(n)
	case "call":
		c.call(n)
	case "chatstate":
		c.chatState(n)
	case "presence":
		c.server.counts.add("presence."+text(n, "type"), 1)
	default:
		c.server.counts.add("node.other."+n.Tag, 1)
	}
}

// write writes answers and the account's queue until the stream ends.
func (c *connection) write() {
	defer c.end()
	for {
		select {
		case <-c.ctx.Done():
			return
		case p := <-c.out:
			if !c.put(p) {
				return
			}
		case <-c.wake:
			if !c.drain() {
				return
			}
		}
	}
}

// drain writes what the queue holds for this stream, letting answers pass.
func (c *connection) drain() bool {
	for {
		next := c.phone.line.next(c)
		if !c.flushed && (next == nil || c.offline == c.backlog) {
			c.flushed = true
			if !c.put(parting{node: bulletin(waBinary.Node{Tag: "offline", Attrs: waBinary.Attrs{"count": c.offline}})}) {
				return false
			}
		}
		if next == nil {
			return true
		}
		if !c.putStanza(next) {
			return false
		}
		select {
		case p := <-c.out:
			if !c.put(p) {
				return false
			}
		default:
		}
	}
}

// put writes one node and reports whether the stream goes on.
func (c *connection) put(p parting) bool {
	if !c.thawed() {
		return false
	}
	if err := c.wire.writeNode(c.ctx, p.node); err != nil {
		_ = c.wire.ws.CloseNow() // cut as it is
		return false
	}
	if p.last {
		c.hangUp()
	}
	return !p.last
}

// hangUp ends the stream after its last node. The client may do so first: closing
// at once could take the node from its hands.
func (c *connection) hangUp() {
	select {
	case <-c.ctx.Done():
	case <-time.After(farewell):
	}
	c.wire.ws.Close(websocket.StatusNormalClosure, "")
}

// send queues a node for the client; it waits while the client is slow and
// gives up when the stream ends.
func (c *connection) send(n waBinary.Node) {
	select {
	case c.out <- parting{node: n}:
	case <-c.ctx.Done():
	}
}

// finish sends a last node and then ends the stream.
func (c *connection) finish(n waBinary.Node) {
	select {
	case c.out <- parting{node: n, last: true}:
	case <-c.ctx.Done():
	}
}

// cut drops the connection as a broken network does.
func (c *connection) cut() {
	_ = c.wire.ws.CloseNow() // cut as it is
	c.end()
}

// later runs what after d, unless the stream ends first.
func (c *connection) later(d time.Duration, what func()) {
	c.tasks.Go(func() {
		select {
		case <-time.After(d):
			what()
		case <-c.ctx.Done():
		}
	})
}

// ask sends a request to the client and waits for its answer.
func (c *connection) ask(ctx context.Context, n waBinary.Node) (*waBinary.Node, error) {
	id := fmt.Sprintf("wasim-%d", c.server.names.Add(1))
	n.Attrs["id"], n.Attrs["from"] = id, types.ServerJID
	reply := make(chan *waBinary.Node, 1)
	c.replies.Store(id, reply)
	defer c.replies.Delete(id)
	c.send(n)
	select {
	case answer := <-reply:
		return answer, nil
	case <-c.ctx.Done():
		return nil, errors.New("the device disconnected")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered hands the answer to whoever asked.
func (c *connection) answered(n *waBinary.Node) {
	if reply, known := c.replies.LoadAndDelete(text(n, "id")); known {
		reply.(chan *waBinary.Node) <- n
	}
}

// bulletin is an <ib> of the server.
func bulletin(children ...waBinary.Node) waBinary.Node {
	return waBinary.Node{Tag: "ib", Attrs: waBinary.Attrs{"from": types.ServerJID}, Content: children}
}

// text is an attribute as text, whatever it was sent as.
func text(n *waBinary.Node, name string) string {
	switch value := n.Attrs[name].(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		return fmt.Sprint(value)
	}
}

// address is an attribute that holds a JID, or the empty JID.
func address(n *waBinary.Node, name string) types.JID {
	jid, _ := n.Attrs[name].(types.JID)
	return jid
}

// content is a node's bytes, or nil.
func content(n waBinary.Node) []byte {
	data, _ := n.Content.([]byte)
	return data
}

package wasim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// window is how many stanzas a device may leave unacknowledged before it gets
// no more. whatsmeow loses the order when more than 2048 wait in it.
const window = 512

// stanza is something a device must acknowledge. It stays in its owner's outbox
// and in the account's queue until then, and is written again, byte for byte,
// to every new stream.
type stanza struct {
	Seq     int64    `json:"seq"`
	Kind    string   `json:"kind"` // message, receipt or notification
	ID      string   `json:"id"`
	Account string   `json:"account"`
	Node    nodeData `json:"node"`

	owner owner // nil for the server's own
}

// owner is the phone or customer that a stanza comes from.
type owner interface {
	settled(st *stanza) // the device has acknowledged it
	written(st *stanza) // it went to the device's socket
}

// nodeData is a node that reads as its encoding in JSON.
type nodeData waBinary.Node

func (n nodeData) MarshalJSON() ([]byte, error) {
	data, err := waBinary.Marshal(waBinary.Node(n))
	if err != nil {
		return nil, err
	}
	return json.Marshal(data)
}

func (n *nodeData) UnmarshalJSON(text []byte) error {
	var data []byte
	if err := json.Unmarshal(text, &data); err != nil {
		return err
	}
	data, err := waBinary.Unpack(data)
	if err != nil {
		return err
	}
	node, err := waBinary.Unmarshal(data)
	if err != nil {
		return err
	}
	*n = nodeData(*node)
	return nil
}

func (s *Server) newStanza(kind, id, account string, from owner, n waBinary.Node) *stanza {
	return &stanza{Seq: s.sequence.Add(1), Kind: kind, ID: id, Account: account, Node: nodeData(n), owner: from}
}

// keysRunOut tells a device to upload more one-time keys.
func (s *Server) keysRunOut(left int) *stanza {
	return s.announce("encrypt", waBinary.Node{Tag: "count", Attrs: waBinary.Attrs{"value": left}})
}

// announce is a notification of the server's own for the queue of a device.
func (s *Server) announce(kind string, children ...waBinary.Node) *stanza {
	n := announcement(kind, children...)
	return s.newStanza("notification", text(&n, "id"), "", nil, n)
}

// announcement is a <notification> of the server.
func announcement(kind string, children ...waBinary.Node) waBinary.Node {
	return waBinary.Node{
		Tag:     "notification",
		Attrs:   waBinary.Attrs{"from": types.ServerJID, "id": messageID(), "t": time.Now().Unix(), "type": kind},
		Content: children,
	}
}

func without(outbox []*stanza, st *stanza) []*stanza {
	return slices.DeleteFunc(outbox, func(other *stanza) bool { return other == st })
}

// queue is what waits for one account's device, in order. Its lock is the last
// to be taken and nothing waits under it.
type queue struct {
	mu      sync.Mutex
	waiting []*stanza      // guarded by mu
	given   int            // how many of waiting the present stream has; guarded by mu
	stream  *connection    // who receives; nil while offline; guarded by mu
	retried map[string]int // acks that belong to a retry receipt, by id; guarded by mu
}

func (q *queue) add(st *stanza) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, st)
	q.ring()
}

// ring wakes the writer of the present stream; mu is held.
func (q *queue) ring() {
	if q.stream == nil {
		return
	}
	select {
	case q.stream.wake <- struct{}{}:
	default:
	}
}

// attach has c receive all that waits, from the beginning. It reports false if
// c receives already or has ended.
func (q *queue) attach(c *connection) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stream == c || c.ctx.Err() != nil || c.phone.stream() != c {
		return false
	}
	q.stream, q.given, q.retried, c.backlog = c, 0, map[string]int{}, len(q.waiting)
	q.ring()
	return true
}

func (q *queue) detach(c *connection) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stream == c {
		q.stream, q.given = nil, 0
	}
}

func (q *queue) attached() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stream != nil
}

// next is the stanza c should write now, or nil.
func (q *queue) next(c *connection) *stanza {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stream != c || q.given == len(q.waiting) || q.given >= window {
		return nil
	}
	q.given++
	return q.waiting[q.given-1]
}

// settle takes the first stanza that fits out of the queue, or returns nil.
func (q *queue) settle(fits func(*stanza) bool) *stanza {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.waiting[:q.given], fits)
	if i < 0 {
		return nil
	}
	st := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.given--
	q.ring()
	return st
}

func (q *queue) clear() []*stanza {
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped := q.waiting
	q.waiting, q.given, q.stream = nil, 0, nil
	return dropped
}

// counts are the messages and receipts that wait.
func (q *queue) counts() (messages, receipts int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, st := range q.waiting {
		if st.Kind == "message" {
			messages++
		} else {
			receipts++
		}
	}
	return messages, receipts
}

// expectAck remembers that the next plain ack for id answers a stanza the device
// has asked for again.
func (q *queue) expectAck(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.retried[id]++
}

func (q *queue) ackExpected(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.retried[id] == 0 {
		return false
	}
	q.retried[id]--
	return true
}

// putStanza writes one stanza of the queue and reports whether the stream goes on.
func (c *connection) putStanza(st *stanza) bool {
	n := waBinary.Node(st.Node)
	if c.offline < c.backlog {
		n.Attrs = cloned(n.Attrs)
		n.Attrs["offline"] = c.offline
		c.offline++
		c.server.counts.add("redelivered", 1)
	}
	if !c.put(parting{node: n}) {
		return false
	}
	if st.owner != nil {
		st.owner.written(st)
	}
	if st.Kind == "message" {
		return c.messageWritten(st, n)
	}
	return true
}

// messageWritten counts a message, lets faults strike after it and tells the hook.
func (c *connection) messageWritten(st *stanza, n waBinary.Node) bool {
	enc, from := n.GetChildByTag("enc"), numberOf(address(&n, "from"))
	c.server.counts.add("msg.out", 1)
	c.server.counts.add("msg.out."+text(&enc, "type"), 1)
	if hook := c.server.options.OnDeliver; hook != nil {
		hook(st.Account, st.ID)
	}
	if _, twice := c.server.faults.strikes(Replay, st.Account, from); twice && !c.put(parting{node: n}) {
		return false
	}
	if _, struck := c.server.faults.strikes(CutDelivery, st.Account, from); struck {
		c.cut()
		return false
	}
	return true
}

func cloned(attrs waBinary.Attrs) waBinary.Attrs {
	copied := make(waBinary.Attrs, len(attrs)+1)
	maps.Copy(copied, attrs)
	return copied
}

// described are the attributes by which a stanza and its ciphertext tell the
// server what it cannot read.
func described(m *waE2E.Message) (stanza, enc waBinary.Attrs) {
	stanza, enc = waBinary.Attrs{"type": "text"}, waBinary.Attrs{"v": 2}
	inner := opened(m)
	switch kind := kind(inner); {
	case attachment(inner) != nil:
		stanza["type"], enc["mediatype"] = "media", mediaType(kind)
	case inner.GetContactMessage() != nil:
		stanza["type"], enc["mediatype"] = "media", "vcard"
	case inner.GetReactionMessage() != nil:
		stanza["type"], enc["decrypt-fail"] = "reaction", "hide"
	case inner.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT:
		stanza["edit"], enc["decrypt-fail"] = string(types.EditAttributeMessageEdit), "hide"
	case inner.GetProtocolMessage().GetKey() != nil:
		stanza["edit"], enc["decrypt-fail"] = string(types.EditAttributeSenderRevoke), "hide"
	}
	return stanza, enc
}

// mediaType is what stanzas call a kind of file.
func mediaType(kind string) string {
	if kind == Voice {
		return "ptt"
	}
	return kind
}

// message takes what the device sends to somebody.
func (c *connection) message(n *waBinary.Node) {
	if c.phone == nil {
		return
	}
	account, to := c.phone.number, numberOf(address(n, "to"))
	peer := text(n, "category") == "peer"
	strikes := func(kind FaultKind) (Fault, bool) {
		if peer {
			return Fault{}, false
		}
		return c.server.faults.strikes(kind, account, to)
	}
	newChat := c.newChat(to)
	if _, struck := strikes(CutBefore); struck {
		c.cut()
		return
	}
	refused := func(f Fault) bool { return !peer && (newChat || !f.NewChats) }
	if f, struck := c.server.faults.strikesIf(Nack, account, to, refused); struck {
		c.acknowledge(n, f.code(463))
		return
	}
	if _, struck := strikes(AckSwallow); struck {
		return
	}
	c.route(n)
	if _, struck := strikes(CutAfter); struck {
		c.cut()
		return
	}
	if _, struck := strikes(AckDrop); struck {
		return
	}
	if f, struck := strikes(AckDelay); struck {
		c.later(f.Delay, func() { c.acknowledge(n, 0) })
		return
	}
	c.acknowledge(n, 0)
}

// newChat reports whether to is a customer who has never written to the account.
func (c *connection) newChat(to string) bool {
	return to != "" && c.server.phone(to) == nil && c.server.Customer(to).newTo(c.phone.number)
}

// acknowledge tells the device that the server has its message, or refuses it.
func (c *connection) acknowledge(n *waBinary.Node, code int) {
	attrs := waBinary.Attrs{"class": "message", "id": text(n, "id"), "from": n.Attrs["to"], "t": time.Now().Unix()}
	if code != 0 {
		attrs["error"] = code
	}
	c.send(waBinary.Node{Tag: "ack", Attrs: attrs})
}

// route hands every ciphertext of a message to the phone it is for.
func (c *connection) route(n *waBinary.Node) {
	if text(n, "category") == "peer" {
		c.server.counts.add("peer.in", 1)
		c.phone.receivePeer(c.ctx, text(n, "id"), n.GetChildByTag("enc"))
		return
	}
	c.server.counts.add("msg.in", 1)
	if enc, direct := n.GetOptionalChildByTag("enc"); direct {
		c.routeTo(address(n, "to"), text(n, "id"), enc)
	}
	list := n.GetChildByTag("participants")
	for _, to := range list.GetChildrenByTag("to") {
		c.routeTo(address(&to, "jid"), text(n, "id"), to.GetChildByTag("enc"))
	}
}

func (c *connection) routeTo(to types.JID, id string, enc waBinary.Node) {
	number := numberOf(to)
	switch {
	case c.phone.owns(to):
		c.server.counts.add("phone.copy", 1)
		if _, err := c.phone.open(c.ctx, enc); err != nil {
			c.server.log.Debug("Copy for the phone dropped", "error", err)
		}
	case number != "" && c.server.phone(number) == nil:
		c.server.Customer(number).receive(c.ctx, c.phone, id, enc)
	default:
		c.server.counts.add("msg.in.elsewhere", 1)
	}
}

// receipt takes what the device says about messages it got.
func (c *connection) receipt(n *waBinary.Node) {
	if c.phone == nil {
		return
	}
	kind := text(n, "type")
	ids := []string{text(n, "id")}
	list := n.GetChildByTag("list")
	for _, item := range list.GetChildrenByTag("item") {
		ids = append(ids, text(&item, "id"))
	}
	c.server.counts.add("receipt.in."+named(kind), 1)
	for _, id := range ids {
		c.receiptFor(n, kind, id)
	}
	attrs := waBinary.Attrs{"class": "receipt", "id": ids[0], "from": n.Attrs["to"]}
	if kind != "" {
		attrs["type"] = kind
	}
	c.server.counts.add("ack.out.receipt", 1)
	c.send(waBinary.Node{Tag: "ack", Attrs: attrs})
}

func named(kind string) string {
	if kind == "" {
		return "delivery"
	}
	return kind
}

// receiptFor lets one message's receipt have its effect.
func (c *connection) receiptFor(n *waBinary.Node, kind, id string) {
	from := numberOf(address(n, "to"))
	switch kind {
	case "", "inactive", "sender", "peer_msg", "hist_sync":
		c.settle("message", id)
		c.markFor(from, id, Delivered)
	case "read", "read-self":
		c.markFor(from, id, Read)
	case "played":
		c.markFor(from, id, Played)
	case "server-error":
		c.phone.uploadAgain(n)
	case "retry":
		c.phone.line.expectAck(id)
		c.settle("message", id)
		c.again(from, n)
	}
}

// again has whoever wrote a message send it anew.
func (c *connection) again(from string, n *waBinary.Node) {
	c.server.counts.add("retries.in", 1)
	if c.phone.owns(address(n, "to")) {
		c.phone.shareAgain(c.ctx)
		return
	}
	if from != "" {
		c.server.Customer(from).resend(c.ctx, c.phone, n)
	}
}

func (c *connection) markFor(customer, id, status string) {
	if customer != "" && customer != c.phone.number {
		c.server.Customer(customer).mark(c.phone.number, id, status)
	}
}

// settle takes the acknowledged stanza out of the queue and its owner's outbox.
func (c *connection) settle(kind, id string) {
	c.settled(c.phone.line.settle(func(st *stanza) bool { return st.Kind == kind && st.ID == id }))
}

func (c *connection) settled(st *stanza) {
	if st != nil && st.owner != nil {
		st.owner.settled(st)
	}
}

// ack takes the device's acknowledgement of a stanza. A message's delivery
// receipt comes instead of an ack, unless the device could not use it.
func (c *connection) ack(n *waBinary.Node) {
	if c.phone == nil {
		return
	}
	class, id, kind := text(n, "class"), text(n, "id"), text(n, "type")
	c.server.counts.add("ack.in."+class, 1)
	if class == "message" && c.phone.line.ackExpected(id) {
		return
	}
	c.settled(c.phone.line.settle(func(st *stanza) bool {
		said := waBinary.Node(st.Node)
		return st.Kind == class && st.ID == id && (class == "message" || text(&said, "type") == kind)
	}))
}

// chatState shows the customer that the account types, or no longer does.
func (c *connection) chatState(n *waBinary.Node) {
	for _, state := range n.GetChildren() {
		c.server.counts.add("chatstate."+state.Tag, 1)
		to := numberOf(address(n, "to"))
		if c.phone == nil || to == "" || strings.HasPrefix(state.Tag, "_") {
			continue
		}
		c.server.Customer(to).setTyping(c.phone.number, state.Tag == "composing")
	}
}

package wasim

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/signalerror"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// remembered is how many messages of a chat the state file keeps.
const remembered = 200

// Customer is somebody who writes to accounts. Its methods are safe from any
// goroutine.
type Customer struct {
	server *Server
	number string

	mu      sync.Mutex
	state   customerState // guarded by mu
	saved   entry         // guarded by mu
	changed chan struct{} // closed at the next change; guarded by mu
}

// customerState is what survives a restart.
type customerState struct {
	Keys       *keyring         `json:"keys"`
	Seq        int              `json:"seq"`
	Chats      map[string]*chat `json:"chats"`  // by account
	Outbox     []*stanza        `json:"outbox"` // what accounts have not acknowledged
	Addressing Addressing       `json:"addressing,omitempty"`
	Turn       int              `json:"turn,omitempty"`   // stanzas sent while Mixed
	Hidden     bool             `json:"hidden,omitempty"` // the LID is not told by usync
	Receipts   ReceiptMode      `json:"receipts,omitempty"`
}

// chat is what the customer and one account said.
type chat struct {
	Messages []Message `json:"messages"`
	Known    bool      `json:"known,omitempty"` // the customer has written to the account

	Originals []original `json:"originals,omitempty"` // the newest messages that are more than text
	Changes   []string   `json:"changes,omitempty"`   // ids of the newest answers that spoke about another message
	Calls     []Call     `json:"calls,omitempty"`
	typing    bool
}

func newCustomer(s *Server, number string) *Customer {
	return &Customer{
		server: s, number: number, changed: make(chan struct{}),
		state: customerState{Keys: newKeyring(), Chats: map[string]*chat{}},
	}
}

// Number is the customer's phone number, digits only.
func (c *Customer) Number() string { return c.number }

// Send writes text to an account and returns the message's id. The message waits
// if the account is offline; without a linked device Send refuses.
func (c *Customer) Send(ctx context.Context, account, text string) (string, error) {
	return c.post(ctx, account, &waE2E.Message{Conversation: &text})
}

// SendMedia is Send for a file, which is encrypted and put into the media store.
func (c *Customer) SendMedia(ctx context.Context, account string, m Media) (string, error) {
	if _, err := c.server.linked(account); err != nil {
		return "", err
	}
	shown, err := c.server.attach(m, account, c.number)
	if err != nil {
		return "", err
	}
	return c.post(ctx, account, shown)
}

// SendLocation is Send for a place.
func (c *Customer) SendLocation(ctx context.Context, account string, l Location) (string, error) {
	return c.post(ctx, account, l.message())
}

// SendContact is Send for somebody's card.
func (c *Customer) SendContact(ctx context.Context, account string, card Contact) (string, error) {
	return c.post(ctx, account, card.message())
}

// Reply is Send for an answer to a message of the chat, whoever wrote it.
func (c *Customer) Reply(ctx context.Context, account, id, text string) (string, error) {
	known, err := c.about(account, id, false)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	author, quote := c.called(known.FromCustomer, account), c.chat(account).sent(id)
	c.mu.Unlock()
	return c.post(ctx, account, &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text:        &text,
		ContextInfo: &waE2E.ContextInfo{StanzaID: &id, Participant: &author, QuotedMessage: quote},
	}})
}

// React puts an emoji beneath a message of the chat, in the place of the last, or
// takes it away if emoji is empty.
func (c *Customer) React(ctx context.Context, account, id, emoji string) (string, error) {
	known, err := c.about(account, id, false)
	if err != nil {
		return "", err
	}
	return c.post(ctx, account, reaction(c.key(known, account), emoji))
}

// Edit changes the text of a message the customer wrote.
func (c *Customer) Edit(ctx context.Context, account, id, text string) (string, error) {
	known, err := c.about(account, id, true)
	if err != nil {
		return "", err
	}
	return c.post(ctx, account, &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{
		Message: &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
			Key: c.key(known, account), Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(),
			EditedMessage: &waE2E.Message{Conversation: &text}, TimestampMS: new(time.Now().UnixMilli()),
		}},
	}})
}

// Delete takes a message the customer wrote back for everyone.
func (c *Customer) Delete(ctx context.Context, account, id string) (string, error) {
	known, err := c.about(account, id, true)
	if err != nil {
		return "", err
	}
	return c.post(ctx, account, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Key: c.key(known, account), Type: waE2E.ProtocolMessage_REVOKE.Enum(),
	}})
}

// reaction is what puts an emoji beneath the message of that key.
func reaction(key *waCommon.MessageKey, emoji string) *waE2E.Message {
	return &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{
		Key: key, Text: &emoji, SenderTimestampMS: new(time.Now().UnixMilli()),
	}}
}

// key names a message of the chat as the customer's phone does.
func (c *Customer) key(m Message, account string) *waCommon.MessageKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	chat := c.called(false, account)
	return &waCommon.MessageKey{ID: &m.ID, FromMe: &m.FromCustomer, RemoteJID: &chat}
}

// post sends m to an account and shows what it does in the chat.
func (c *Customer) post(ctx context.Context, account string, m *waE2E.Message) (string, error) {
	p, err := c.server.linked(account)
	if err != nil {
		return "", err
	}
	id := messageID()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.queueMessage(ctx, p, id, m, 0); err != nil {
		return "", fmt.Errorf("write to the account: %w", err)
	}
	talk := c.chat(account)
	talk.keep(id, m)
	if talk.change(true, opened(m)) {
		c.change()
	} else {
		said := c.server.bubble(opened(m))
		said.ID, said.FromCustomer, said.Status = id, true, Pending
		c.add(account, said)
	}
	if _, twice := c.server.faults.strikes(Reencrypt, account, c.number); twice {
		return id, c.queueMessage(ctx, p, id, m, 0)
	}
	return id, nil
}

// Messages are all bubbles of the chat with account, in the order in which they
// first came. Those that cannot be read yet are missing.
func (c *Customer) Messages(account string) []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.chat(account).Messages), func(m Message) bool { return m.Status == Waiting })
}

// Changed is closed when a message comes, changes its status or typing begins
// or ends. Take it before looking.
func (c *Customer) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Typing reports whether the account shows the customer that it is typing.
func (c *Customer) Typing(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chat(account).typing
}

// Reinstall gives the customer a new phone: new keys and no sessions, but the
// chats.
func (c *Customer) Reinstall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Keys = newKeyring()
	c.touch()
}

// add appends a message, which is new unless it says when it was; mu is held.
func (c *Customer) add(account string, m Message) {
	talk := c.chat(account)
	c.state.Seq++
	m.Seq = c.state.Seq
	if m.At.IsZero() {
		m.At = time.Now()
	}
	talk.Messages = append(talk.Messages, m)
	talk.Known = talk.Known || m.FromCustomer
	c.change()
}

// chat is the chat with account, made on demand; mu is held.
func (c *Customer) chat(account string) *chat {
	talk, known := c.state.Chats[account]
	if !known {
		talk = &chat{}
		c.state.Chats[account] = talk
	}
	return talk
}

// MarshalJSON keeps the newest messages only.
func (t *chat) MarshalJSON() ([]byte, error) {
	type plain chat // without this method
	kept := plain(*t)
	kept.Messages = t.Messages[max(0, len(t.Messages)-remembered):]
	return json.Marshal(kept)
}

// find is a message of a chat by id, or nil; mu is held.
func (t *chat) find(id string) *Message {
	for i := len(t.Messages) - 1; i >= 0; i-- {
		if t.Messages[i].ID == id {
			return &t.Messages[i]
		}
	}
	return nil
}

// change tells who waits, and has the state saved; mu is held.
func (c *Customer) change() {
	close(c.changed)
	c.changed = make(chan struct{})
	c.touch()
}

// queueMessage encrypts m for the account's device and queues it; mu is held.
func (c *Customer) queueMessage(ctx context.Context, p *Phone, id string, m *waE2E.Message, retry int) error {
	plaintext, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	peer, err := p.target()
	if err != nil {
		return err
	}
	kind, ciphertext, err := c.state.Keys.encrypt(ctx, peer, p.bundle, plaintext)
	if err != nil {
		return err
	}
	attrs, enc := described(m)
	enc["type"] = kind
	if retry > 0 {
		enc["count"] = retry
	} else if _, struck := c.server.faults.strikes(Garble, p.number, c.number); struck {
		ciphertext[len(ciphertext)-1] ^= 0xff
	}
	maps.Copy(attrs, c.sender())
	attrs["id"], attrs["notify"] = id, c.name()
	c.queue(p, "message", id, waBinary.Node{Tag: "message", Attrs: attrs, Content: []waBinary.Node{
		{Tag: "enc", Attrs: enc, Content: ciphertext},
	}})
	return nil
}

// queue has a node of this customer delivered to an account; mu is held.
func (c *Customer) queue(p *Phone, kind, id string, n waBinary.Node) {
	st := c.server.newStanza(kind, id, p.number, c, n)
	c.state.Outbox = append(c.state.Outbox, st)
	c.touch()
	p.line.add(st)
}

// receive takes an account's message as a phone does: it shows it once, answers
// with receipts, drops a used counter silently and asks again for what it cannot
// open.
func (c *Customer) receive(ctx context.Context, p *Phone, id string, enc waBinary.Node) {
	peer, err := p.target()
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, struck := c.server.faults.strikes(Retry, p.number, c.number); struck {
		c.askAgain(p, id, enc)
		return
	}
	plaintext, err := c.state.Keys.decrypt(ctx, peer, text(&enc, "type"), content(enc))
	switch {
	case errors.Is(err, signalerror.ErrOldCounter):
		c.drop(p, id)
		return
	case err != nil:
		c.askAgain(p, id, enc)
		return
	}
	c.server.counts.add("customer.received", 1)
	message := &waE2E.Message{}
	if err := proto.Unmarshal(plaintext, message); err != nil {
		return
	}
	c.show(p.number, id, message)
	c.acknowledge(p, id, message)
}

// drop counts a message whose ratchet counter was used before: a frame that came
// twice, or an answer the customer will never see.
func (c *Customer) drop(p *Phone, id string) {
	talk := c.chat(p.number)
	if talk.find(id) != nil || slices.Contains(talk.Changes, id) {
		c.server.counts.add("customer.repeated", 1)
		return
	}
	c.server.counts.add("undecryptable", 1)
}

// askAgain sends a retry receipt with a fresh bundle; mu is held.
func (c *Customer) askAgain(p *Phone, id string, enc waBinary.Node) {
	count, err := strconv.Atoi(text(&enc, "count"))
	if err != nil {
		count = 0 // the first copy carries none
	}
	if count >= 5 {
		c.server.counts.add("undecryptable", 1)
		return
	}
	c.server.counts.add("retries", 1)
	if c.chat(p.number).find(id) == nil {
		c.add(p.number, Message{ID: id, Status: Waiting})
	}
	attrs := c.sender()
	attrs["id"], attrs["type"] = id, "retry"
	c.queue(p, "receipt", id, waBinary.Node{Tag: "receipt", Attrs: attrs, Content: []waBinary.Node{
		{Tag: "retry", Attrs: waBinary.Attrs{"count": count + 1, "id": id, "t": time.Now().Unix(), "v": 1}},
		c.state.Keys.registration(),
		{Tag: "keys", Content: c.state.Keys.offer()},
	}})
}

// show puts what came from the account, decrypted, into the chat, or has its
// effect on the message it speaks about; mu is held.
func (c *Customer) show(account, id string, m *waE2E.Message) {
	talk := c.chat(account)
	talk.typing = false
	known := talk.find(id)
	if known != nil && known.Status != Waiting {
		known.Copies++
		c.change()
		return
	}
	if talk.change(false, opened(m)) {
		talk.Messages = slices.DeleteFunc(talk.Messages, func(waiting Message) bool { return waiting.ID == id })
		talk.Changes = append(talk.Changes[max(0, len(talk.Changes)-remembered):], id)
		c.change()
		return
	}
	said := c.server.bubble(opened(m))
	said.ID, said.Status, said.Copies = id, Read, 1
	talk.keep(id, opened(m))
	if known == nil {
		c.add(account, said)
		return
	}
	c.state.Seq++
	said.Seq, said.At = c.state.Seq, known.At
	*known = said
	c.change()
}

// receiveFromPhone takes what the owner sent on the phone.
func (c *Customer) receiveFromPhone(account, id string, m *waE2E.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.show(account, id, m)
}

// resend answers a device's retry receipt: the same message in a new ciphertext.
func (c *Customer) resend(ctx context.Context, p *Phone, receipt *waBinary.Node) {
	peer, err := p.target()
	if err != nil {
		return
	}
	asked := receipt.GetChildByTag("retry")
	count, err := strconv.Atoi(text(&asked, "count"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := text(receipt, "id")
	said := c.chat(p.number).sent(id)
	if said == nil || count > 5 {
		return
	}
	if _, offered := receipt.GetOptionalChildByTag("keys"); offered {
		offer := func() (*prekey.Bundle, error) { return bundleOf(receipt, peer.DeviceID()) }
		if err := c.state.Keys.begin(ctx, peer, offer); err != nil {
			c.server.log.Warn("Retry receipt has no usable keys", "error", err)
			return
		}
	}
	if err := c.queueMessage(ctx, p, id, said, count); err != nil {
		c.server.log.Warn("Message not sent again", "error", err)
	}
}

// mark moves the status of a message the customer wrote, never backwards.
func (c *Customer) mark(account, id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	order := []string{Pending, Sent, Delivered, Read, Played}
	said := c.chat(account).find(id)
	if said == nil || slices.Index(order, said.Status) >= slices.Index(order, status) {
		return
	}
	said.Status = status
	c.change()
}

// newTo reports whether the customer has never written to the account.
func (c *Customer) newTo(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.chat(account).Known
}

func (c *Customer) setTyping(account string, typing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if talk := c.chat(account); talk.typing != typing {
		talk.typing = typing
		c.change()
	}
}

// settled forgets a stanza that the account has acknowledged.
func (c *Customer) settled(st *stanza) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Outbox = without(c.state.Outbox, st)
	c.touch()
}

// written is told when a stanza went to the account's socket.
func (c *Customer) written(st *stanza) {
	if st.Kind == "message" {
		c.mark(st.Account, st.ID, Sent)
	}
}

// offer is the customer's bundle for a device that has no session yet.
func (c *Customer) offer() []waBinary.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.touch()
	return append(c.state.Keys.offer(), c.state.Keys.registration())
}

// name is what the customer is called on the other side.
func (c *Customer) name() string { return "Customer " + c.number[len(c.number)-4:] }

func (c *Customer) jid() types.JID { return types.NewJID(c.number, types.DefaultUserServer) }
func (c *Customer) lid() types.JID { return types.NewJID(customerLID+c.number, types.HiddenUserServer) }

// messageID is an id as phones make them.
func messageID() string { return "3A" + strings.ToUpper(hex.EncodeToString(randomBytes(9))) }

package wasim

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/signalerror"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// remembered is how many messages of a chat the state file keeps.
const remembered = 200

// What a message's Status may be.
const (
	Pending   = "pending"   // waits for the account to connect
	Waiting   = "waiting"   // came, but could not be opened; the sender was asked for another copy
	Sent      = "sent"      // was written to the other side
	Delivered = "delivered" // the other side has acknowledged it
	Read      = "read"      // the other side has read it
)

// Message is one bubble of a chat as the customer sees it.
type Message struct {
	Seq          int       `json:"seq"` // grows with every message that the customer sees
	ID           string    `json:"id"`
	Text         string    `json:"text"`
	FromCustomer bool      `json:"fromCustomer"`
	At           time.Time `json:"at"`
	Status       string    `json:"status"`
	Copies       int       `json:"copies"` // how often this id came and could be decrypted
}

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
}

// chat is what the customer and one account said.
type chat struct {
	Messages []Message `json:"messages"`
	Known    bool      `json:"known,omitempty"` // the customer has written to the account
	typing   bool
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
	p, err := c.server.linked(account)
	if err != nil {
		return "", err
	}
	id := messageID()
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.add(account, Message{ID: id, Text: text, FromCustomer: true, Status: Pending})
	if err := c.queueMessage(ctx, p, id, text, 0); err != nil {
		c.chat(account).Messages = c.chat(account).Messages[:said]
		return "", fmt.Errorf("write to the account: %w", err)
	}
	if _, twice := c.server.faults.strikes(Reencrypt, account, c.number); twice {
		return id, c.queueMessage(ctx, p, id, text, 0)
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

// add appends a message and returns its index; mu is held.
func (c *Customer) add(account string, m Message) int {
	talk := c.chat(account)
	c.state.Seq++
	m.Seq, m.At = c.state.Seq, time.Now()
	talk.Messages = append(talk.Messages, m)
	talk.Known = talk.Known || m.FromCustomer
	c.change()
	return len(talk.Messages) - 1
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

// queueMessage encrypts text for the account's device and queues it; mu is held.
func (c *Customer) queueMessage(ctx context.Context, p *Phone, id, text string, retry int) error {
	plaintext, err := proto.Marshal(&waE2E.Message{Conversation: &text})
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
	enc := waBinary.Attrs{"v": 2, "type": kind}
	if retry > 0 {
		enc["count"] = retry
	} else if _, struck := c.server.faults.strikes(Garble, p.number, c.number); struck {
		ciphertext[len(ciphertext)-1] ^= 0xff
	}
	attrs := c.sender()
	attrs["id"], attrs["type"], attrs["notify"] = id, "text", "Customer "+c.number[len(c.number)-4:]
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
	c.queueReceipt(p, id, "")
	c.queueReceipt(p, id, "read")
}

// drop counts a message whose ratchet counter was used before: a frame that came
// twice, or an answer the customer will never see.
func (c *Customer) drop(p *Phone, id string) {
	if c.chat(p.number).find(id) != nil {
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

// show puts a decrypted message into the chat, or changes the one it speaks
// about; mu is held.
func (c *Customer) show(account, id string, m *waE2E.Message) {
	talk := c.chat(account)
	talk.typing = false
	if known := talk.find(id); known != nil {
		if known.Status == Waiting {
			c.state.Seq++
			known.Seq, known.Status, known.Text = c.state.Seq, Read, saying(m)
		}
		known.Copies++
		c.change()
		return
	}
	if edited, said := edit(m); edited != "" {
		if known := talk.find(edited); known != nil {
			known.Text = said
			c.change()
			return
		}
	}
	c.add(account, Message{ID: id, Text: saying(m), Status: Read, Copies: 1})
}

// receiveFromPhone takes what the owner typed on the phone.
func (c *Customer) receiveFromPhone(account, id, said string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(account, Message{ID: id, Text: said, Status: Read, Copies: 1})
}

func (c *Customer) queueReceipt(p *Phone, id, kind string) {
	attrs := c.sender()
	attrs["id"] = id
	if kind != "" {
		attrs["type"] = kind
	}
	c.server.counts.add("receipt.out", 1)
	c.queue(p, "receipt", id, waBinary.Node{Tag: "receipt", Attrs: attrs})
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
	said := c.chat(p.number).find(text(receipt, "id"))
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
	if err := c.queueMessage(ctx, p, said.ID, said.Text, count); err != nil {
		c.server.log.Warn("Message not sent again", "error", err)
	}
}

// mark moves the status of a message the customer wrote, never backwards.
func (c *Customer) mark(account, id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	order := []string{Pending, Sent, Delivered, Read}
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

func (c *Customer) jid() types.JID { return types.NewJID(c.number, types.DefaultUserServer) }
func (c *Customer) lid() types.JID { return types.NewJID(customerLID+c.number, types.HiddenUserServer) }

// edit is the id of the message that m changes and its new text, or "".
func edit(m *waE2E.Message) (id, said string) {
	change := m.GetProtocolMessage()
	if m.GetEditedMessage() != nil {
		change = m.GetEditedMessage().GetMessage().GetProtocolMessage()
	}
	switch change.GetType() {
	case waE2E.ProtocolMessage_MESSAGE_EDIT:
		return change.GetKey().GetID(), saying(change.GetEditedMessage())
	case waE2E.ProtocolMessage_REVOKE:
		return change.GetKey().GetID(), ""
	}
	return "", ""
}

// saying is what a message reads as: its text, its caption or what it is.
func saying(m *waE2E.Message) string {
	for _, said := range []string{
		m.GetConversation(), m.GetExtendedTextMessage().GetText(), m.GetImageMessage().GetCaption(),
		m.GetVideoMessage().GetCaption(), m.GetDocumentMessage().GetCaption(), m.GetReactionMessage().GetText(),
		m.GetPollCreationMessage().GetName(), m.GetPollCreationMessageV3().GetName(),
	} {
		if said != "" {
			return said
		}
	}
	kind := "message"
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(field.Name()); name != "messageContextInfo" {
			kind = strings.TrimSuffix(name, "Message")
		}
		return true
	})
	return "[" + kind + "]"
}

// messageID is an id as phones make them.
func messageID() string { return "3A" + strings.ToUpper(hex.EncodeToString(randomBytes(9))) }

package wasim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// fewKeys is when the server asks a device for more one-time keys.
const fewKeys = 4

// Phone is the phone of an account's owner: it links one device at a time and
// may type messages itself. Its methods are safe from any goroutine.
type Phone struct {
	server *Server
	number string
	line   queue // what waits for the linked device

	mu      sync.Mutex    // taken after a customer's, never before one
	state   phoneState    // guarded by mu
	saved   entry         // guarded by mu
	current *connection   // the stream that logged in last; guarded by mu
	changed chan struct{} // closed when the device comes or goes; guarded by mu

	passkeyCode string // shown after the passkey was proven; guarded by mu
}

// phoneState is what survives a restart.
type phoneState struct {
	Keys    *keyring            `json:"keys"`
	Device  *device             `json:"device"`  // nil when none is linked
	Devices int                 `json:"devices"` // how many were ever linked
	Synced  bool                `json:"synced"`  // the device has got the app state key
	Shared  bool                `json:"shared"`  // the device has got the chats, if there were any
	Sync    syncKey             `json:"sync"`
	Patches map[string][][]byte `json:"patches"` // of the app state, by collection
	Outbox  []*stanza           `json:"outbox"`

	NeedsPasskey bool   `json:"needsPasskey,omitempty"` // devices must prove the passkey when they are scanned
	Passkey      []byte `json:"passkey,omitempty"`      // private, PKCS 8; nil until one is made
}

// device is a linked companion, as the server knows it.
type device struct {
	Number       int         `json:"number"`
	Noise        key         `json:"noise"`
	Identity     key         `json:"identity"`
	Registration uint32      `json:"registration"`
	Signed       publicKey   `json:"signed"`
	OneTime      []publicKey `json:"oneTime"`
}

func newPhone(s *Server, number string) *Phone {
	return &Phone{
		server: s, number: number, changed: make(chan struct{}),
		state: phoneState{Keys: newKeyring(), Sync: newSyncKey(), Patches: map[string][][]byte{}},
	}
}

// Number is the phone's number, digits only.
func (p *Phone) Number() string { return p.number }

// Linked reports whether a device is linked, connected or not.
func (p *Phone) Linked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Device != nil
}

// Connected reports whether the linked device is logged in and receives.
func (p *Phone) Connected() bool { return p.line.attached() }

// Unlink removes the linked device: it is told, and can never log in again. What
// waited for it is forgotten.
func (p *Phone) Unlink(ctx context.Context) error {
	c, err := p.drop()
	if err != nil {
		return err
	}
	if c != nil {
		c.finish(conflict("device_removed"))
	}
	return nil
}

// drop forgets the linked device and returns the stream it had.
func (p *Phone) drop() (*connection, error) {
	p.mu.Lock()
	if p.state.Device == nil {
		p.mu.Unlock()
		return nil, errUnlinked
	}
	c := p.current
	p.state.Device, p.state.Synced, p.state.Shared, p.state.Outbox, p.current = nil, false, false, nil, nil
	p.state.Patches = map[string][][]byte{}
	p.touch()
	p.mu.Unlock()
	for _, waiting := range p.line.clear() {
		if waiting.owner != nil {
			waiting.owner.settled(waiting)
		}
	}
	p.change()
	return c, p.server.save()
}

// Send writes text to a customer on the phone itself. The linked device gets its
// own copy. It returns the message's id.
func (p *Phone) Send(ctx context.Context, customer, text string) (string, error) {
	return p.post(ctx, customer, &waE2E.Message{Conversation: &text})
}

// SendMedia is Send for a file.
func (p *Phone) SendMedia(ctx context.Context, customer string, m Media) (string, error) {
	if !digits(customer) {
		return "", errNumber
	}
	shown, err := p.server.attach(m, p.number, customer)
	if err != nil {
		return "", err
	}
	return p.post(ctx, customer, shown)
}

// React puts an emoji beneath a message of the chat with a customer, or takes the
// owner's last away if emoji is empty.
func (p *Phone) React(ctx context.Context, customer, id, emoji string) (string, error) {
	if !digits(customer) {
		return "", errNumber
	}
	to := p.server.Customer(customer)
	known, err := to.about(p.number, id, false)
	if err != nil {
		return "", err
	}
	to.mu.Lock()
	chat, fromMe := to.called(true, p.number), !known.FromCustomer
	to.mu.Unlock()
	return p.post(ctx, customer, reaction(&waCommon.MessageKey{ID: &id, FromMe: &fromMe, RemoteJID: &chat}, emoji))
}

var (
	errNumber   = errors.New("a customer's number is 5 to 15 digits")
	errUnlinked = errors.New("no device is linked to this account")
)

// post shows m to a customer and copies it to the linked device, if there is one.
func (p *Phone) post(ctx context.Context, customer string, m *waE2E.Message) (string, error) {
	if !digits(customer) {
		return "", errNumber
	}
	id, to := messageID(), p.server.Customer(customer)
	to.receiveFromPhone(p.number, id, m)
	attrs := to.recipient() // a customer's lock goes before a phone's
	attrs["notify"] = p.name()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return id, nil
	}
	return id, p.queueForDevice(ctx, id, &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{
		DestinationJID: new(to.jid().String()), Message: m,
	}}, attrs)
}

// queueForDevice encrypts m for the linked device and queues it; mu is held.
func (p *Phone) queueForDevice(ctx context.Context, id string, m *waE2E.Message, attrs waBinary.Attrs) error {
	plaintext, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	kind, ciphertext, err := p.state.Keys.encrypt(ctx, p.state.Device.address(p.number), p.bundleLocked, plaintext)
	if err != nil {
		return err
	}
	stanza, enc := described(m)
	maps.Copy(attrs, stanza)
	attrs["id"], attrs["from"], attrs["t"], enc["type"] = id, p.jid(), time.Now().Unix(), kind
	st := p.server.newStanza("message", id, p.number, p, waBinary.Node{Tag: "message", Attrs: attrs, Content: []waBinary.Node{
		{Tag: "enc", Attrs: enc, Content: ciphertext},
	}})
	p.state.Outbox = append(p.state.Outbox, st)
	p.touch()
	p.line.add(st)
	return nil
}

// adopt makes d the linked device; it is on disk when adopt returns.
func (p *Phone) adopt(d device) error {
	p.mu.Lock()
	if p.state.Device != nil {
		p.mu.Unlock()
		return errLinked
	}
	p.state.Device, p.state.Devices, p.state.Synced, p.state.Shared = &d, d.Number, false, false
	p.touch()
	p.mu.Unlock()
	return p.server.save()
}

// awaitLogin waits until the linked device receives.
func (p *Phone) awaitLogin(ctx context.Context) error {
	for {
		changed := p.watch()
		if p.Connected() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the device to log in: %w", ctx.Err())
		}
	}
}

// watch is closed at the next change of the device's connection.
func (p *Phone) watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *Phone) change() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// admits makes c the account's stream if it is the linked device's. An older
// stream is told that it was replaced.
func (p *Phone) admits(c *connection, number int) bool {
	p.mu.Lock()
	if d := p.state.Device; d == nil || d.Number != number || d.Noise != c.static {
		p.mu.Unlock()
		return false
	}
	older := p.current
	p.current, c.phone, c.device = c, p, number
	p.mu.Unlock()
	if older == nil {
		return true
	}
	p.line.detach(older)
	if older.frozen() {
		older.cut() // it would never hear why
	} else {
		older.finish(conflict("replaced"))
	}
	return true
}

// forget is told when a stream has ended.
func (p *Phone) forget(c *connection) {
	p.line.detach(c)
	p.mu.Lock()
	if p.current == c {
		p.current = nil
	}
	p.mu.Unlock()
	p.change()
}

func (p *Phone) stream() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// target is where a customer's message to this account goes.
func (p *Phone) target() (*protocol.SignalAddress, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return nil, errors.New("no device is linked to that account")
	}
	return p.state.Device.address(p.number), nil
}

// bundle takes a one-time key of the linked device, or does without when none
// is left.
func (p *Phone) bundle() (*prekey.Bundle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bundleLocked()
}

func (p *Phone) bundleLocked() (*prekey.Bundle, error) {
	d := p.state.Device
	if d == nil {
		return nil, errors.New("no device is linked to that account")
	}
	var oneTime *publicKey
	if len(d.OneTime) > 0 {
		oneTime, d.OneTime = &d.OneTime[0], d.OneTime[1:]
		if len(d.OneTime) == fewKeys {
			p.line.add(p.server.keysRunOut(len(d.OneTime)))
		}
	}
	p.touch()
	p.server.counts.add("bundle.taken", 1)
	return signalBundle(d.Registration, uint32(d.Number), d.Identity, d.Signed, oneTime)
}

// settled forgets a stanza that the device has acknowledged.
func (p *Phone) settled(st *stanza) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Outbox = without(p.state.Outbox, st)
	p.touch()
}

// written is told when a stanza went out; the phone does not mind.
func (p *Phone) written(*stanza) {}

// open decrypts what the linked device wrote to the phone.
func (p *Phone) open(ctx context.Context, enc waBinary.Node) (*waE2E.Message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Device == nil {
		return nil, errUnlinked
	}
	plaintext, err := p.state.Keys.decrypt(ctx, p.state.Device.address(p.number), text(&enc, "type"), content(enc))
	if err != nil {
		return nil, err
	}
	p.touch()
	message := &waE2E.Message{}
	return message, proto.Unmarshal(plaintext, message)
}

// name is what the owner calls the account.
func (p *Phone) name() string { return "Front Desk " + p.number[len(p.number)-4:] }

func (p *Phone) jid() types.JID { return types.NewJID(p.number, types.DefaultUserServer) }
func (p *Phone) lid() types.JID { return types.NewJID(accountLID+p.number, types.HiddenUserServer) }

func (p *Phone) deviceJID(server string, number int) types.JID {
	jid := p.jid()
	if server == types.HiddenUserServer {
		jid = p.lid()
	}
	jid.Device = uint16(number)
	return jid
}

// owns reports whether jid names this account.
func (p *Phone) owns(jid types.JID) bool {
	return jid.User == p.number || jid.Server == types.HiddenUserServer && jid.User == accountLID+p.number
}

// address is what others call the device in their Signal sessions.
func (d *device) address(account string) *protocol.SignalAddress {
	return protocol.NewSignalAddress(account, uint32(d.Number))
}

// LIDs are made by writing a digit before the number.
const (
	accountLID  = "9"
	customerLID = "8"
)

// numberOf is the phone number behind a user's JID, or "".
func numberOf(jid types.JID) string {
	number := jid.User
	if jid.Server == types.HiddenUserServer {
		if !strings.HasPrefix(number, customerLID) && !strings.HasPrefix(number, accountLID) {
			return ""
		}
		number = number[1:]
	}
	if jid.Server != types.HiddenUserServer && jid.Server != types.DefaultUserServer || !digits(number) {
		return ""
	}
	return number
}

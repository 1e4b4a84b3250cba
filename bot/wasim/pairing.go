package wasim

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/libsignal/ecc"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// A client shows the first code for a minute and five more for 20 seconds each.
// A code is good for refGrace longer, for the camera that has just seen it.
const (
	refs        = 6
	firstRef    = 60 * time.Second
	furtherRef  = 20 * time.Second
	refGrace    = 10 * time.Second
	forgetAfter = time.Hour // how long a spent code is still told from one never shown
)

// Signatures of the account and the device begin with these.
var (
	accountPrefix = []byte{6, 0}
	devicePrefix  = []byte{6, 1}
)

// offer is what an unpaired client shows to be scanned: its codes and who it is.
type offer struct {
	stream  *connection
	made    time.Time
	refs    []string
	device  device
	claimed bool    // a phone has scanned it or typed its code; guarded by the server's mu
	gone    bool    // the client has left; guarded by the server's mu
	dialog  *dialog // about the owner's passkey; nil while there is none; guarded by the server's mu
}

// code is what a client's QR code says.
type code struct {
	ref             string
	noise, identity key
	secret          []byte
}

// beginPairing offers the client's codes to phones.
func (c *connection) beginPairing(data *waWa6.ClientPayload_DevicePairingRegistrationData) error {
	if f, refused := c.server.faults.strikes(Refuse, "", ""); refused {
		c.finish(failure(f))
		return errors.New("a fault refuses the login")
	}
	d, err := newDevice(data, c.static)
	if err != nil {
		c.cut()
		return err
	}
	c.offer = &offer{stream: c, made: time.Now(), device: d}
	children := make([]waBinary.Node, refs)
	for i := range children {
		ref := "2@" + base64.StdEncoding.EncodeToString(randomBytes(32))
		c.offer.refs = append(c.offer.refs, ref)
		children[i] = waBinary.Node{Tag: "ref", Content: []byte(ref)}
	}
	c.server.publish(c.offer)
	c.later(firstRef+(refs-1)*furtherRef+refGrace, c.cut)
	c.tasks.Go(func() {
		_, _ = c.ask(c.ctx, waBinary.Node{
			Tag: "iq", Attrs: waBinary.Attrs{"type": "set", "xmlns": "md"},
			Content: []waBinary.Node{{Tag: "pair-device", Content: children}},
		})
	})
	return nil
}

func newDevice(data *waWa6.ClientPayload_DevicePairingRegistrationData, static [32]byte) (device, error) {
	if len(data.GetERegid()) != 4 || len(data.GetEIdent()) != 32 || len(data.GetESkeyVal()) != 32 ||
		len(data.GetESkeyID()) != 3 || len(data.GetESkeySig()) != 64 {
		return device{}, errors.New("the registration lacks keys")
	}
	return device{
		Noise: static, Identity: key(data.GetEIdent()),
		Registration: binary.BigEndian.Uint32(data.GetERegid()),
		Signed: publicKey{
			ID:     binary.BigEndian.Uint32(append([]byte{0}, data.GetESkeyID()...)),
			Public: key(data.GetESkeyVal()), Signature: data.GetESkeySig(),
		},
	}, nil
}

// publish makes an offer's codes scannable and forgets those long spent.
func (s *Server) publish(o *offer) {
	s.counts.add("pair.offered", 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref, old := range s.offers {
		if time.Since(old.made) > forgetAfter {
			delete(s.offers, ref)
		}
	}
	for _, ref := range o.refs {
		s.offers[ref] = o
	}
}

// withdraw makes an offer's codes count as expired.
func (s *Server) withdraw(o *offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.gone = true
}

// claim takes the offer a code belongs to, once.
func (s *Server) claim(scanned code) (*offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, known := s.offers[scanned.ref]
	if !known {
		return nil, errors.New("nobody shows this code: it is too old or belongs to another server")
	}
	if scanned.noise != o.device.Noise || scanned.identity != o.device.Identity {
		return nil, errors.New("the keys in this code are not those of the device that shows it")
	}
	return o, o.claim(o.made.Add(lifetime(slices.Index(o.refs, scanned.ref))))
}

// claim takes the offer by a code that is good until end, once; the server's mu is
// held.
func (o *offer) claim(end time.Time) error {
	if o.claimed {
		return errors.New("this code has been used already; show a new one")
	}
	if o.gone || time.Now().After(end) {
		return errors.New("this code has expired; show a new one and use that")
	}
	o.claimed = true
	return nil
}

// lifetime is how long after the offer the ref at index i is good.
func lifetime(i int) time.Duration {
	return firstRef + time.Duration(i)*furtherRef + refGrace
}

// release lets an offer be scanned again.
func (s *Server) release(o *offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.claimed = false
}

// readCode reads both formats of a code: the bare list and the one that begins
// with a link.
func readCode(qr string) (code, error) {
	_, list, isLink := strings.Cut(qr, "#")
	if !isLink {
		list = qr
	}
	parts := strings.Split(strings.TrimSpace(list), ",")
	if len(parts) < 4 {
		return code{}, errors.New("this is not a WhatsApp code")
	}
	read := code{ref: parts[0]}
	var err error
	if err = read.noise.UnmarshalText([]byte(parts[1])); err == nil {
		err = read.identity.UnmarshalText([]byte(parts[2]))
	}
	if err == nil {
		read.secret, err = base64.StdEncoding.DecodeString(parts[3])
	}
	if err != nil {
		return code{}, fmt.Errorf("this WhatsApp code is damaged: %w", err)
	}
	return read, nil
}

var errLinked = errors.New("this account already has a linked device; unlink it first")

// Scan links the device that shows qr to this phone. It returns once the device
// has logged in; its errors say what to do.
func (p *Phone) Scan(ctx context.Context, qr string) error {
	scanned, err := readCode(qr)
	if err != nil {
		return err
	}
	if p.Linked() {
		return errLinked
	}
	o, err := p.server.claim(scanned)
	if err != nil {
		return err
	}
	secret := scanned.secret
	if p.needsPasskey() {
		secret, err = p.prove(ctx, o, secret)
	}
	if err == nil {
		err = p.link(ctx, o, secret)
	}
	if err != nil {
		p.server.release(o)
		return err
	}
	return p.awaitLogin(ctx)
}

// link vouches for the offer's device, has it sign too, and tells it to log in.
func (p *Phone) link(ctx context.Context, o *offer, secret []byte) error {
	p.mu.Lock()
	d, own := o.device, p.state.Keys.Identity
	d.Number = p.state.Devices + 1
	p.mu.Unlock()
	details, signed, err := vouch(own, d)
	if err != nil {
		return err
	}
	answer, err := o.stream.ask(ctx, p.pairSuccess(d, sealed(signed, secret)))
	if err != nil {
		return fmt.Errorf("wait for the device to sign: %w", err)
	}
	if err := checkSignature(answer, details, own, d); err != nil {
		return err
	}
	if err := p.adopt(d); err != nil {
		return err
	}
	p.server.counts.add("pair.done", 1)
	o.stream.finish(waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": "515"}})
	return nil
}

// vouch is the account's signed statement that d is one of its devices.
func vouch(own key, d device) (details, signed []byte, err error) {
	details, err = proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: new(d.Registration), KeyIndex: new(uint32(d.Number)),
		Timestamp: new(uint64(time.Now().Unix())),
	})
	if err != nil {
		return nil, nil, err
	}
	statement := slices.Concat(accountPrefix, details, d.Identity[:])
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(own), statement)
	signed, err = proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: own.pair().Pub[:], AccountSignature: signature[:],
	})
	return details, signed, err
}

// sealed wraps a statement so that only the device whose code was seen accepts it.
func sealed(signed, secret []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(signed)
	wrapped, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	if err != nil {
		panic(err) // bytes always encode
	}
	return wrapped
}

func (p *Phone) pairSuccess(d device, identity []byte) waBinary.Node {
	return waBinary.Node{
		Tag:   "iq",
		Attrs: waBinary.Attrs{"type": "set", "xmlns": "md", "t": time.Now().Unix()},
		Content: []waBinary.Node{{Tag: "pair-success", Content: []waBinary.Node{
			{Tag: "device-identity", Content: identity},
			{Tag: "biz", Attrs: waBinary.Attrs{"name": p.name()}},
			{Tag: "device", Attrs: waBinary.Attrs{"jid": p.deviceJID(types.DefaultUserServer, d.Number), "lid": p.deviceJID(types.HiddenUserServer, d.Number)}},
			{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
		}}},
	}
}

// checkSignature makes sure that the device holds the key it was vouched for.
func checkSignature(answer *waBinary.Node, details []byte, own key, d device) error {
	if text(answer, "type") == "error" {
		said := answer.GetChildByTag("error")
		return fmt.Errorf("the device refused to be linked: %s", text(&said, "text"))
	}
	var identity waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(content(answer.GetChildByTag("pair-device-sign", "device-identity")), &identity); err != nil {
		return fmt.Errorf("read the device's signature: %w", err)
	}
	statement := slices.Concat(devicePrefix, details, d.Identity[:], own.pair().Pub[:])
	signature := identity.GetDeviceSignature()
	if len(signature) != 64 || !ecc.VerifySignature(ecc.NewDjbECPublicKey(d.Identity), statement, [64]byte(signature)) {
		return errors.New("the device's signature is wrong")
	}
	return nil
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails
	return data
}

package wasim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// dialog is what a phone and a device that it has scanned say to each other until
// the owner's passkey is proven.
type dialog struct {
	options   []byte // of the request, as JSON
	challenge []byte
	ref       string
	turns     chan turn
}

// turn is something the device says; the phone's verdict is its answer.
type turn struct {
	what    string
	said    *waBinary.Node
	verdict chan error
}

// prologue is how the device begins: by its half of the keys and a promise.
type prologue struct {
	identity   []byte // encoded, as the promise covers it
	promise    []byte // SHA-256 of identity and the nonce that follows later
	public     []byte
	deviceType waCompanionReg.DeviceProps_PlatformType
}

// passkeyOptions repeats the request for a device that could not read it.
func (c *connection) passkeyOptions(*waBinary.Node) ([]waBinary.Node, error) {
	d := c.dialog()
	if d == nil {
		return nil, refusal{404, "item-not-found"}
	}
	return []waBinary.Node{{Tag: "passkey_request_options", Content: d.options}}, nil
}

// passkeyRef names the dialog for the device.
func (c *connection) passkeyRef(*waBinary.Node) ([]waBinary.Node, error) {
	d := c.dialog()
	if d == nil {
		return nil, refusal{404, "item-not-found"}
	}
	return []waBinary.Node{{Tag: "ref", Content: []byte(d.ref)}}, nil
}

// passkeyTurn hands what the device says to the phone and waits for its verdict.
func (c *connection) passkeyTurn(n *waBinary.Node) ([]waBinary.Node, error) {
	d := c.dialog()
	if d == nil {
		return nil, refusal{404, "item-not-found"}
	}
	said := n.GetChildren()[0]
	t := turn{what: said.Tag, said: &said, verdict: make(chan error, 1)}
	select {
	case d.turns <- t:
		return nil, <-t.verdict
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	case <-time.After(farewell):
		return nil, refusal{409, "conflict"} // the phone does not listen for this
	}
}

// dialog is the one that goes on with this stream's device, or nil.
func (c *connection) dialog() *dialog {
	if c.offer == nil {
		return nil
	}
	c.server.mu.RLock()
	defer c.server.mu.RUnlock()
	return c.offer.dialog
}

// hold makes d the dialog with the device, or ends it if d is nil.
func (s *Server) hold(o *offer, d *dialog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.dialog = d
}

// prove has the device show that the owner's passkey agrees, and returns the secret
// that seals the account's statement instead of the one in the code.
func (p *Phone) prove(ctx context.Context, o *offer, scanned []byte) ([]byte, error) {
	private, err := p.passkey()
	if err != nil {
		return nil, err
	}
	d, err := newDialog(private)
	if err != nil {
		return nil, err
	}
	p.server.hold(o, d)
	defer p.server.hold(o, nil)
	o.stream.send(announcement("passkey_prologue_request", waBinary.Node{Tag: "passkey_request_options", Content: d.options}))
	var begun prologue
	err = d.hear(ctx, o, "passkey_prologue", func(said *waBinary.Node) error {
		begun, err = d.readPrologue(said, private, scanned)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p.finishDialog(ctx, o, d, begun)
}

// finishDialog exchanges keys with a device whose owner is known by now.
func (p *Phone) finishDialog(ctx context.Context, o *offer, d *dialog, begun prologue) ([]byte, error) {
	own, nonce := keys.NewKeyPair(), randomBytes(32)
	shared, err := agreed(own.Priv[:], begun.public)
	if err != nil {
		return nil, fmt.Errorf("agree on a secret with the device: %w", err)
	}
	identity, err := proto.Marshal(&waCompanionReg.PrimaryEphemeralIdentity{PublicKey: own.Pub[:], Nonce: nonce})
	if err != nil {
		return nil, err
	}
	o.stream.send(announcement("crsc_continuation", waBinary.Node{Tag: "primary_ephemeral_identity", Content: identity}))
	err = d.hear(ctx, o, "companion_nonce", func(said *waBinary.Node) error {
		if kept := sha256.Sum256(slices.Concat(begun.identity, content(*said))); !bytes.Equal(kept[:], begun.promise) {
			return errors.New("the device does not keep its promise")
		}
		p.showPasskeyCode(nonce, content(*said), own.Pub[:])
		return nil
	})
	if err != nil {
		return nil, err
	}
	var secret []byte
	err = d.hear(ctx, o, "encrypted_pairing_request", func(said *waBinary.Node) error {
		secret, err = d.openRequest(content(*said), shared, begun, o.device)
		return err
	})
	return secret, err
}

// PasskeyCode is what the phone shows for comparison with the code of the device,
// once the passkey is proven; "" before.
func (p *Phone) PasskeyCode() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passkeyCode
}

func (p *Phone) showPasskeyCode(nonce, theirs, public []byte) {
	digest := sha256.Sum256(slices.Concat(theirs, public))
	code := make([]byte, 5)
	for i := range code {
		code[i] = nonce[i] ^ digest[i]
	}
	shown := base32.NewEncoding(codeAlphabet).EncodeToString(code)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passkeyCode = shown[:4] + "-" + shown[4:]
}

func newDialog(private *ecdsa.PrivateKey) (*dialog, error) {
	d := &dialog{challenge: randomBytes(32), ref: "4@" + base64.StdEncoding.EncodeToString(randomBytes(32)), turns: make(chan turn)}
	var err error
	d.options, err = json.Marshal(types.WebAuthnPublicKey{
		Challenge: d.challenge, Timeout: 60_000, RelyingPartID: relyingParty, UserVerification: "required",
		AllowCredentials: []types.AllowedCredential{{Type: "public-key", ID: credentialOf(private)}},
	})
	return d, err
}

// hear waits for what the device has to say next, and tells it whether that is right.
func (d *dialog) hear(ctx context.Context, o *offer, what string, check func(said *waBinary.Node) error) error {
	for {
		select {
		case t := <-d.turns:
			if t.what != what {
				t.verdict <- refusal{409, "conflict"}
				continue
			}
			err := check(t.said)
			if err != nil {
				t.verdict <- refusal{401, "not-authorized"}
				return err
			}
			t.verdict <- nil
			return nil
		case <-o.stream.ctx.Done():
			return errors.New("the device disconnected")
		case <-ctx.Done():
			return fmt.Errorf("wait for the device's passkey: %w", ctx.Err())
		}
	}
}

// readPrologue checks the owner's passkey and that the device is the one scanned.
func (d *dialog) readPrologue(said *waBinary.Node, private *ecdsa.PrivateKey, scanned []byte) (prologue, error) {
	if err := checkAssertion(private, d.challenge, content(said.GetChildByTag("webauthn_assertion"))); err != nil {
		return prologue{}, err
	}
	payload := content(said.GetChildByTag("prologue_payload"))
	mac := hmac.New(sha256.New, hkdfutil.SHA256(scanned, nil, []byte("shortcake-passkey-handoff-v1"), 32))
	mac.Write(payload)
	if !hmac.Equal(mac.Sum(nil), content(said.GetChildByTag("pairing_handoff_proof"))) {
		return prologue{}, errors.New("the device is not the one that was scanned")
	}
	var read waCompanionReg.ProloguePayload
	var identity waCompanionReg.CompanionEphemeralIdentity
	if proto.Unmarshal(payload, &read) != nil || proto.Unmarshal(read.GetCompanionEphemeralIdentity(), &identity) != nil {
		return prologue{}, errors.New("the device's keys cannot be read")
	}
	if identity.GetRef() != d.ref {
		return prologue{}, errors.New("the device answers another request")
	}
	return prologue{
		identity: read.GetCompanionEphemeralIdentity(), promise: read.GetCommitment().GetHash(),
		public: identity.GetPublicKey(), deviceType: identity.GetDeviceType(),
	}, nil
}

// openRequest opens the device's last word and returns the secret in it.
func (d *dialog) openRequest(wrapped, shared []byte, begun prologue, shown device) ([]byte, error) {
	var sealed waCompanionReg.EncryptedPairingRequest
	if err := proto.Unmarshal(wrapped, &sealed); err != nil {
		return nil, fmt.Errorf("read the device's request: %w", err)
	}
	salt := fmt.Sprintf("Companion Pairing %d with ref %s", begun.deviceType, d.ref)
	opener := hkdfutil.SHA256(shared, []byte(salt), []byte("Pairing Information Encryption Key"), 32)
	plain, err := gcmutil.Decrypt(opener, sealed.GetIV(), sealed.GetEncryptedPayload(), nil)
	if err != nil {
		return nil, fmt.Errorf("open the device's request: %w", err)
	}
	var request waCompanionReg.PairingRequest
	if err := proto.Unmarshal(plain, &request); err != nil {
		return nil, fmt.Errorf("read the device's request: %w", err)
	}
	if !bytes.Equal(request.GetCompanionPublicKey(), shown.Noise[:]) || !bytes.Equal(request.GetCompanionIdentityKey(), shown.Identity[:]) {
		return nil, errors.New("the device's keys are not those it showed")
	}
	return request.GetAdvSecret(), nil
}

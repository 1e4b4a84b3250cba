package wasim

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"go.mau.fi/whatsmeow/util/keys"
)

// codeLifetime is how long a code can be typed: as long as the client's QR codes
// would last.
const codeLifetime = firstRef + (refs-1)*furtherRef

// codeAlphabet are the characters of codes that people compare or type.
const codeAlphabet = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"

var (
	typable = regexp.MustCompile(`^[` + codeAlphabet + `]{8}$`)
	display = regexp.MustCompile(`^[A-Za-z ]+ \([A-Za-z0-9 ]+\)$`) // "Browser (OS)"
)

// typed is a code that a client shows to be typed on the phone of one number. The
// server knows the number only; the code itself never leaves client and phone.
type typed struct {
	offer    *offer
	made     time.Time
	ref      string
	wrapped  []byte              // the client's ephemeral key, sealed by the code
	finished chan *waBinary.Node // what the client says to the phone's keys
}

// pairByCode is the client's part of pairing by a typed code.
func (c *connection) pairByCode(n *waBinary.Node) ([]waBinary.Node, error) {
	asked := n.GetChildByTag("link_code_companion_reg")
	switch text(&asked, "stage") {
	case "companion_hello":
		return c.showCode(&asked)
	case "companion_finish":
		return nil, c.finishCode(&asked)
	}
	return nil, refusal{501, "feature-not-implemented"}
}

// showCode makes a code good for its number. The last one shown counts.
func (c *connection) showCode(asked *waBinary.Node) ([]waBinary.Node, error) {
	number := numberOf(address(asked, "jid"))
	wrapped := content(asked.GetChildByTag("link_code_pairing_wrapped_companion_ephemeral_pub"))
	shown := content(asked.GetChildByTag("companion_platform_display"))
	noise := content(asked.GetChildByTag("companion_server_auth_key_pub"))
	if c.offer == nil || number == "" || len(wrapped) != 80 || !display.Match(shown) || !bytes.Equal(noise, c.static[:]) {
		return nil, refusal{400, "bad-request"}
	}
	t := &typed{
		offer: c.offer, made: time.Now(), ref: "3@" + messageID(), wrapped: wrapped, finished: make(chan *waBinary.Node, 1),
	}
	c.server.showTyped(number, t)
	return []waBinary.Node{{Tag: "link_code_companion_reg", Attrs: asked.Attrs, Content: []waBinary.Node{
		{Tag: "link_code_pairing_ref", Content: []byte(t.ref)},
	}}}, nil
}

// showTyped remembers a number's code and forgets those long spent.
func (s *Server) showTyped(number string, t *typed) {
	s.counts.add("pair.code", 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, old := range s.typed {
		if time.Since(old.made) > forgetAfter {
			delete(s.typed, other)
		}
	}
	s.typed[number] = t
}

// finishCode hands the client's keys to the phone that waits for them.
func (c *connection) finishCode(asked *waBinary.Node) error {
	c.server.mu.RLock()
	t := c.server.typed[numberOf(address(asked, "jid"))]
	c.server.mu.RUnlock()
	if t == nil || t.offer != c.offer || t.ref != string(content(asked.GetChildByTag("link_code_pairing_ref"))) {
		return refusal{404, "item-not-found"}
	}
	select {
	case t.finished <- asked:
	default: // it has said so already
	}
	return nil
}

// EnterCode links the device that shows code for this phone's number, as typing
// it under "Link with phone number" does. It returns once the device has logged
// in; its errors say what to do, and a wrong code may be followed by the right one.
func (p *Phone) EnterCode(ctx context.Context, code string) error {
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	if !typable.MatchString(code) {
		return errors.New("a pairing code is eight letters and digits, such as ABCD-EFGH")
	}
	if p.Linked() {
		return errLinked
	}
	t, err := p.server.claimTyped(p.number)
	if err != nil {
		return err
	}
	secret, err := p.agree(ctx, t, code)
	if err == nil {
		err = p.link(ctx, t.offer, secret)
	}
	if err != nil {
		p.server.release(t.offer)
		return err
	}
	return p.awaitLogin(ctx)
}

// claimTyped takes the code that is shown for a number, once.
func (s *Server) claimTyped(number string) (*typed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.typed[number]
	if !known {
		return nil, errors.New("no device has asked for a code for this number; ask for one there first")
	}
	return t, t.offer.claim(t.made.Add(codeLifetime))
}

// agree exchanges keys with the client under the code and returns the secret that
// seals the account's statement.
func (p *Phone) agree(ctx context.Context, t *typed, code string) ([]byte, error) {
	p.mu.Lock()
	own := p.state.Keys.Identity
	p.mu.Unlock()
	theirs, err := underCode(code, t.wrapped[:32], t.wrapped[32:48], t.wrapped[48:])
	if err != nil {
		return nil, err
	}
	ephemeral := keys.NewKeyPair()
	answer, err := t.propose(ctx, code, *ephemeral.Pub, own)
	if err != nil {
		return nil, err
	}
	shared, err := agreed(ephemeral.Priv[:], theirs)
	if err != nil {
		return nil, errWrongCode
	}
	random, err := openBundle(answer, shared, t.offer.device.Identity, *own.pair().Pub)
	if err != nil {
		return nil, err
	}
	both, err := agreed(own[:], t.offer.device.Identity[:])
	if err != nil {
		return nil, fmt.Errorf("agree on a secret with the device: %w", err)
	}
	return hkdfutil.SHA256(slices.Concat(shared, both, random), nil, []byte("adv_secret"), 32), nil
}

var errWrongCode = errors.New("this is not the code that the device shows; look again and enter it once more")

// propose sends the phone's keys to the client and waits for what it says.
func (t *typed) propose(ctx context.Context, code string, ephemeral [32]byte, own key) (*waBinary.Node, error) {
	select {
	case <-t.finished: // belongs to an attempt that was given up
	default:
	}
	salt, iv := randomBytes(32), randomBytes(16)
	sealed, err := underCode(code, salt, iv, ephemeral[:])
	if err != nil {
		return nil, err
	}
	t.offer.stream.send(announcement("link_code_companion_reg", waBinary.Node{
		Tag: "link_code_companion_reg", Content: []waBinary.Node{
			{Tag: "link_code_pairing_ref", Content: []byte(t.ref)},
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: slices.Concat(salt, iv, sealed)},
			{Tag: "primary_identity_pub", Content: own.pair().Pub[:]},
		},
	}))
	select {
	case answer := <-t.finished:
		return answer, nil
	case <-t.offer.stream.ctx.Done():
		return nil, errors.New("the device disconnected")
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the device's keys: %w", ctx.Err())
	}
}

// openBundle opens what the client sealed for the phone: both identities, which
// must be the right ones, and the randomness it adds to the secret.
func openBundle(answer *waBinary.Node, shared []byte, theirs, own key) ([]byte, error) {
	wrapped := content(answer.GetChildByTag("link_code_pairing_wrapped_key_bundle"))
	if len(wrapped) < 44 {
		return nil, errors.New("the device's keys are incomplete")
	}
	opener := hkdfutil.SHA256(shared, wrapped[:32], []byte("link_code_pairing_key_bundle_encryption_key"), 32)
	bundle, err := gcmutil.Decrypt(opener, wrapped[32:44], wrapped[44:], nil)
	if err != nil {
		return nil, errWrongCode
	}
	if len(bundle) != 96 || !bytes.Equal(bundle[:64], slices.Concat(theirs[:], own[:])) {
		return nil, errors.New("the device's keys are not those it showed")
	}
	return bundle[64:], nil
}

// underCode seals or opens a key by a typed code; the one undoes the other.
func underCode(code string, salt, iv, data []byte) ([]byte, error) {
	sealer, err := pbkdf2.Key(sha256.New, code, salt, 2<<16, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealer)
	if err != nil {
		return nil, err
	}
	turned := make([]byte, len(data))
	cipher.NewCTR(block, iv).XORKeyStream(turned, data)
	return turned, nil
}

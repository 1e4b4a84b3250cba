package wasim

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/logger"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/libsignal/util/optional"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// maxOneTimeKeys bounds the one-time keys a party has handed out and not yet
// seen used.
const maxOneTimeKeys = 2000

// key is 32 bytes of key that read as base64 in the state file.
type key [32]byte

func (k key) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(k[:])), nil
}

func (k *key) UnmarshalText(text []byte) error {
	data, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(data) != len(k) {
		return errors.New("not a key of 32 bytes")
	}
	*k = key(data)
	return nil
}

func (k key) pair() *keys.KeyPair { return keys.NewKeyPairFromPrivateKey(k) }

func (k key) signalPair() *ecc.ECKeyPair {
	return ecc.NewECKeyPair(ecc.NewDjbECPublicKey(*k.pair().Pub), ecc.NewDjbECPrivateKey(k))
}

// publicKey is one key of a bundle, as it was published; Signature is empty for
// one-time keys.
type publicKey struct {
	ID        uint32 `json:"id"`
	Public    key    `json:"public"`
	Signature []byte `json:"signature,omitempty"`
}

// keyring is one Signal party: its keys and its sessions. It is not safe for
// concurrent use; its owner's lock guards it.
type keyring struct {
	Identity     key               `json:"identity"` // private, as all keys here
	Registration uint32            `json:"registration"`
	Signed       key               `json:"signed"`
	Signature    []byte            `json:"signature"`
	OneTime      map[uint32]key    `json:"oneTime"`
	LastKey      uint32            `json:"lastKey"`
	Sessions     map[string][]byte `json:"sessions"`
}

func newKeyring() *keyring {
	own, signed := keys.NewKeyPair(), keys.NewKeyPair()
	var registration [4]byte
	_, _ = rand.Read(registration[:]) // never fails
	return &keyring{
		Identity: *own.Priv, Registration: binary.BigEndian.Uint32(registration[:]) & 0x3fff,
		Signed: *signed.Priv, Signature: own.Sign(signed)[:],
		OneTime: map[uint32]key{}, Sessions: map[string][]byte{},
	}
}

// encrypt seals plaintext for peer and returns the kind of ciphertext it gave.
// bundle is asked for only when there is no session yet.
func (k *keyring) encrypt(ctx context.Context, peer *protocol.SignalAddress, bundle func() (*prekey.Bundle, error), plaintext []byte) (kind string, ciphertext []byte, err error) {
	if _, known := k.Sessions[peer.String()]; !known {
		if err := k.begin(ctx, peer, bundle); err != nil {
			return "", nil, err
		}
	}
	sealed, err := session.NewCipher(k.builder(peer), peer).Encrypt(ctx, pad(plaintext))
	if err != nil {
		return "", nil, fmt.Errorf("encrypt: %w", err)
	}
	if sealed.Type() == protocol.PREKEY_TYPE {
		return "pkmsg", sealed.Serialize(), nil
	}
	return "msg", sealed.Serialize(), nil
}

// begin starts a new session with peer; the old one still opens what is under way.
func (k *keyring) begin(ctx context.Context, peer *protocol.SignalAddress, bundle func() (*prekey.Bundle, error)) error {
	offered, err := bundle()
	if err != nil {
		return err
	}
	if err := k.builder(peer).ProcessBundle(ctx, offered); err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	return nil
}

func (k *keyring) decrypt(ctx context.Context, peer *protocol.SignalAddress, kind string, ciphertext []byte) ([]byte, error) {
	opener, serializer := session.NewCipher(k.builder(peer), peer), store.SignalProtobufSerializer
	var plaintext []byte
	if kind == "pkmsg" {
		message, err := protocol.NewPreKeySignalMessageFromBytes(ciphertext, serializer.PreKeySignalMessage, serializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plaintext, err = opener.DecryptMessage(ctx, message); err != nil {
			return nil, err
		}
		return unpad(plaintext)
	}
	message, err := protocol.NewSignalMessageFromBytes(ciphertext, serializer.SignalMessage)
	if err != nil {
		return nil, err
	}
	if plaintext, err = opener.Decrypt(ctx, message); err != nil {
		return nil, err
	}
	return unpad(plaintext)
}

func (k *keyring) builder(peer *protocol.SignalAddress) *session.Builder {
	return session.NewBuilder(k, k, k, k, peer, store.SignalProtobufSerializer)
}

// offer is the bundle this party publishes, with a fresh one-time key, as the
// children of a node.
func (k *keyring) offer() []waBinary.Node {
	k.LastKey = k.LastKey%0xfffffe + 1
	oneTime := keys.NewKeyPair()
	k.OneTime[k.LastKey] = *oneTime.Priv
	if len(k.OneTime) > maxOneTimeKeys {
		delete(k.OneTime, slices.Min(slices.Collect(maps.Keys(k.OneTime))))
	}
	return []waBinary.Node{
		{Tag: "type", Content: []byte{ecc.DjbType}},
		{Tag: "identity", Content: k.Identity.pair().Pub[:]},
		keyNode("skey", publicKey{ID: 1, Public: *k.Signed.pair().Pub, Signature: k.Signature}),
		keyNode("key", publicKey{ID: k.LastKey, Public: *oneTime.Pub}),
	}
}

// restored makes a keyring from the state file fit for use; after a crash it
// forgets its sessions.
func (k *keyring) restored(intact bool) {
	if !intact || k.Sessions == nil {
		k.Sessions = map[string][]byte{}
	}
	if k.OneTime == nil {
		k.OneTime = map[uint32]key{}
	}
}

func (k *keyring) registration() waBinary.Node {
	return waBinary.Node{Tag: "registration", Content: binary.BigEndian.AppendUint32(nil, k.Registration)}
}

func keyNode(tag string, published publicKey) waBinary.Node {
	children := []waBinary.Node{
		{Tag: "id", Content: binary.BigEndian.AppendUint32(nil, published.ID)[1:]},
		{Tag: "value", Content: published.Public[:]},
	}
	if published.Signature != nil {
		children = append(children, waBinary.Node{Tag: "signature", Content: published.Signature})
	}
	return waBinary.Node{Tag: tag, Content: children}
}

// publishedKey reads what keyNode writes.
func publishedKey(n waBinary.Node) (publicKey, error) {
	id, public := content(n.GetChildByTag("id")), content(n.GetChildByTag("value"))
	if len(id) != 3 || len(public) != 32 {
		return publicKey{}, fmt.Errorf("a %s without id or value", n.Tag)
	}
	number := uint32(id[0])<<16 | uint32(id[1])<<8 | uint32(id[2])
	return publicKey{ID: number, Public: key(public), Signature: content(n.GetChildByTag("signature"))}, nil
}

// bundleOf reads the bundle that a retry receipt carries for a device.
func bundleOf(receipt *waBinary.Node, device uint32) (*prekey.Bundle, error) {
	offered := receipt.GetChildByTag("keys")
	own := content(offered.GetChildByTag("identity"))
	if len(own) != 32 {
		return nil, errors.New("the receipt's keys lack an identity")
	}
	signed, err := publishedKey(offered.GetChildByTag("skey"))
	if err != nil {
		return nil, err
	}
	oneTime, err := publishedKey(offered.GetChildByTag("key"))
	if err != nil {
		return nil, err
	}
	return signalBundle(registrationOf(*receipt), device, key(own), signed, &oneTime)
}

// registrationOf reads the number that the sender of a bundle registered with.
func registrationOf(n waBinary.Node) uint32 {
	data := content(n.GetChildByTag("registration"))
	if len(data) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(data)
}

// signalBundle joins published keys for libsignal; oneTime may be nil.
func signalBundle(registration, device uint32, own key, signed publicKey, oneTime *publicKey) (*prekey.Bundle, error) {
	if len(signed.Signature) != 64 {
		return nil, errors.New("the signed prekey has no signature")
	}
	id, public := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if oneTime != nil {
		id, public = optional.NewOptionalUint32(oneTime.ID), ecc.NewDjbECPublicKey(oneTime.Public)
	}
	return prekey.NewBundle(registration, device, id, signed.ID, public, ecc.NewDjbECPublicKey(signed.Public),
		[64]byte(signed.Signature), identity.NewKey(ecc.NewDjbECPublicKey(own))), nil
}

// pad hides the length of a message as WhatsApp does: n bytes of value n.
func pad(plaintext []byte) []byte {
	var length [1]byte
	_, _ = rand.Read(length[:]) // never fails
	n := length[0]&0xf | 1
	for range n {
		plaintext = append(plaintext, n)
	}
	return plaintext
}

func unpad(padded []byte) ([]byte, error) {
	if len(padded) == 0 || int(padded[len(padded)-1]) > len(padded) {
		return nil, errors.New("the padding is longer than the message")
	}
	return padded[:len(padded)-int(padded[len(padded)-1])], nil
}

// The methods below are what libsignal asks of a party's store.

func (k *keyring) GetIdentityKeyPair() *identity.KeyPair {
	return identity.NewKeyPair(identity.NewKey(ecc.NewDjbECPublicKey(*k.Identity.pair().Pub)), ecc.NewDjbECPrivateKey(k.Identity))
}

func (k *keyring) GetLocalRegistrationID() uint32 { return k.Registration }

func (k *keyring) SaveIdentity(context.Context, *protocol.SignalAddress, *identity.Key) error {
	return nil
}

// IsTrustedIdentity trusts everybody, as phones do unless told otherwise.
func (k *keyring) IsTrustedIdentity(context.Context, *protocol.SignalAddress, *identity.Key) (bool, error) {
	return true, nil
}

func (k *keyring) LoadPreKey(_ context.Context, id uint32) (*record.PreKey, error) {
	private, known := k.OneTime[id]
	if !known {
		return nil, nil
	}
	return record.NewPreKey(id, private.signalPair(), nil), nil
}

func (k *keyring) StorePreKey(context.Context, uint32, *record.PreKey) error {
	return errors.ErrUnsupported
}

func (k *keyring) ContainsPreKey(_ context.Context, id uint32) (bool, error) {
	_, known := k.OneTime[id]
	return known, nil
}

func (k *keyring) RemovePreKey(_ context.Context, id uint32) error {
	delete(k.OneTime, id)
	return nil
}

func (k *keyring) LoadSession(_ context.Context, peer *protocol.SignalAddress) (*record.Session, error) {
	serializer := store.SignalProtobufSerializer
	data, known := k.Sessions[peer.String()]
	if !known {
		return record.NewSession(serializer.Session, serializer.State), nil
	}
	return record.NewSessionFromBytes(data, serializer.Session, serializer.State)
}

// StoreSession keeps a session as a real phone does: those that did not open the
// message stay as they were. libsignal would change and double them.
func (k *keyring) StoreSession(_ context.Context, peer *protocol.SignalAddress, kept *record.Session) error {
	sessions := store.SignalProtobufSerializer.Session
	changed := kept.Structure()
	if before, err := sessions.Deserialize(k.Sessions[peer.String()]); err == nil && len(changed.PreviousStates) > 0 {
		changed.PreviousStates = others(before, changed.SessionState.SenderBaseKey)
	}
	k.Sessions[peer.String()] = sessions.Serialize(changed)
	return nil
}

// others are the sessions of a record but one, each once.
func others(before *record.SessionStructure, but []byte) []*record.StateStructure {
	var kept []*record.StateStructure
	seen := map[string]bool{string(but): true}
	for _, s := range append([]*record.StateStructure{before.SessionState}, before.PreviousStates...) {
		if s != nil && s.SenderChain != nil && !seen[string(s.SenderBaseKey)] && len(kept) < 40 {
			seen[string(s.SenderBaseKey)] = true
			kept = append(kept, s)
		}
	}
	return kept
}

func (k *keyring) ContainsSession(_ context.Context, peer *protocol.SignalAddress) (bool, error) {
	_, known := k.Sessions[peer.String()]
	return known, nil
}

func (k *keyring) DeleteSession(_ context.Context, peer *protocol.SignalAddress) error {
	delete(k.Sessions, peer.String())
	return nil
}

func (k *keyring) DeleteAllSessions(context.Context) error {
	clear(k.Sessions)
	return nil
}

func (k *keyring) GetSubDeviceSessions(context.Context, string) ([]uint32, error) {
	return nil, errors.ErrUnsupported
}

func (k *keyring) LoadSignedPreKey(_ context.Context, id uint32) (*record.SignedPreKey, error) {
	if id != 1 {
		return nil, nil
	}
	return record.NewSignedPreKey(id, 0, k.Signed.signalPair(), [64]byte(k.Signature), nil), nil
}

func (k *keyring) LoadSignedPreKeys(context.Context) ([]*record.SignedPreKey, error) {
	return nil, errors.ErrUnsupported
}

func (k *keyring) StoreSignedPreKey(context.Context, uint32, *record.SignedPreKey) error {
	return errors.ErrUnsupported
}

func (k *keyring) ContainsSignedPreKey(_ context.Context, id uint32) (bool, error) {
	return id == 1, nil
}

func (k *keyring) RemoveSignedPreKey(context.Context, uint32) error {
	return errors.ErrUnsupported
}

// silent keeps libsignal, which prints to standard output, quiet.
type silent struct{}

func (silent) Debug(string, string)   {}
func (silent) Info(string, string)    {}
func (silent) Warning(string, string) {}
func (silent) Error(string, string)   {}
func (silent) Configure(string)       {}

func init() {
	var quiet logger.Loggable = silent{}
	logger.Setup(&quiet)
}

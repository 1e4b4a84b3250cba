package wasim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/libsignal/ecc"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

const (
	handshakeTimeout = 20 * time.Second
	writeTimeout     = 30 * time.Second
	certificateLife  = 10 * 365 * 24 * time.Hour
)

// certificates prove to a client that the holder of static is the server the
// root key speaks for.
type certificates struct {
	static *keys.KeyPair
	chain  []byte
}

// newCertificates has root sign an intermediate key, and that key sign a fresh
// static one.
func newCertificates(root *keys.KeyPair, now time.Time) (certificates, error) {
	intermediate, static := keys.NewKeyPair(), keys.NewKeyPair()
	first, err := certificate(root, intermediate, 1, 0, now)
	if err != nil {
		return certificates{}, err
	}
	leaf, err := certificate(intermediate, static, 2, 1, now)
	if err != nil {
		return certificates{}, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Intermediate: first, Leaf: leaf})
	return certificates{static: static, chain: chain}, err
}

func certificate(issuer, holder *keys.KeyPair, serial, issuerSerial uint32, now time.Time) (*waCert.CertChain_NoiseCertificate, error) {
	details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
		Serial:       &serial,
		IssuerSerial: &issuerSerial,
		Key:          holder.Pub[:],
		NotBefore:    new(uint64(now.Add(-24 * time.Hour).Unix())),
		NotAfter:     new(uint64(now.Add(certificateLife).Unix())),
	})
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*issuer.Priv), details)
	return &waCert.CertChain_NoiseCertificate{Details: details, Signature: signature[:]}, nil
}

// counted is an AES-GCM key whose nonce is a counter, as each direction of a
// Noise stream has one.
type counted struct {
	aead  cipher.AEAD
	count uint32
}

func newCounted(key []byte) (counted, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return counted{}, err
	}
	aead, err := cipher.NewGCM(block)
	return counted{aead: aead}, err
}

func (c *counted) nonce() []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint32(nonce[8:], c.count)
	c.count++
	return nonce
}

// noise is the responder's half of Noise_XX_25519_AESGCM_SHA256.
type noise struct {
	hash [32]byte
	salt []byte
	key  counted
}

func newNoise() (*noise, error) {
	pattern := []byte(socket.NoiseStartPattern)
	key, err := newCounted(pattern)
	n := &noise{hash: [32]byte(pattern), salt: pattern, key: key}
	n.authenticate(socket.WAConnHeader)
	return n, err
}

func (n *noise) authenticate(data []byte) {
	n.hash = sha256.Sum256(append(n.hash[:], data...))
}

func (n *noise) encrypt(plaintext []byte) []byte {
	sealed := n.key.aead.Seal(nil, n.key.nonce(), plaintext, n.hash[:])
	n.authenticate(sealed)
	return sealed
}

func (n *noise) decrypt(sealed []byte) ([]byte, error) {
	plaintext, err := n.key.aead.Open(nil, n.key.nonce(), sealed, n.hash[:])
	n.authenticate(sealed)
	return plaintext, err
}

// agreed is the secret that a private and a public key share.
func agreed(private, public []byte) ([]byte, error) {
	own, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	theirs, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return own.ECDH(theirs)
}

// mix takes the shared secret of a private and a public key into the keys.
func (n *noise) mix(private, public []byte) error {
	secret, err := agreed(private, public)
	if err != nil {
		return err
	}
	derived, err := hkdf.Key(sha256.New, secret, n.salt, "", 64)
	if err != nil {
		return err
	}
	n.salt = derived[:32]
	n.key, err = newCounted(derived[32:])
	return err
}

// split gives the keys of the finished stream: what the client seals comes first.
func (n *noise) split() (open, seal counted, err error) {
	derived, err := hkdf.Key(sha256.New, nil, n.salt, "", 64)
	if err != nil {
		return counted{}, counted{}, err
	}
	if open, err = newCounted(derived[:32]); err != nil {
		return counted{}, counted{}, err
	}
	seal, err = newCounted(derived[32:])
	return open, seal, err
}

// wire carries nodes over one websocket. One goroutine may read while another
// writes.
type wire struct {
	ws         *websocket.Conn
	started    bool // the client's header has been read
	open, seal counted
}

// frame reads one length-prefixed frame; the client sends one per message.
func (w *wire) frame(ctx context.Context) ([]byte, error) {
	kind, data, err := w.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageBinary {
		return nil, errors.New("a text message came where frames are binary")
	}
	if !w.started {
		if len(data) < 4 || [4]byte(data[:4]) != [4]byte(socket.WAConnHeader) {
			return nil, errors.New("the stream does not begin with WhatsApp's header")
		}
		data, w.started = data[4:], true
	}
	if len(data) < 3 || len(data)-3 != int(data[0])<<16|int(data[1])<<8|int(data[2]) {
		return nil, errors.New("the frame's length does not match its content")
	}
	return data[3:], nil
}

func (w *wire) writeFrame(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	length := len(data)
	frame := append([]byte{byte(length >> 16), byte(length >> 8), byte(length)}, data...)
	return w.ws.Write(ctx, websocket.MessageBinary, frame)
}

// node reads the next node of an established stream.
func (w *wire) node(ctx context.Context) (*waBinary.Node, error) {
	sealed, err := w.frame(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := w.open.aead.Open(nil, w.open.nonce(), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open frame: %w", err)
	}
	if plain, err = waBinary.Unpack(plain); err != nil {
		return nil, fmt.Errorf("unpack frame: %w", err)
	}
	return waBinary.Unmarshal(plain)
}

func (w *wire) writeNode(ctx context.Context, n waBinary.Node) error {
	plain, err := waBinary.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode node: %w", err)
	}
	return w.writeFrame(ctx, w.seal.aead.Seal(nil, w.seal.nonce(), plain, nil))
}

// greet runs the handshake and returns who the client says it is, with the
// static key it proved to hold.
func (w *wire) greet(ctx context.Context, own certificates) (*waWa6.ClientPayload, [32]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	n, err := newNoise()
	if err != nil {
		return nil, [32]byte{}, err
	}
	ephemeral := keys.NewKeyPair()
	if err := w.hello(ctx, n, own, ephemeral); err != nil {
		return nil, [32]byte{}, err
	}
	payload, static, err := w.finish(ctx, n, ephemeral)
	if err != nil {
		return nil, [32]byte{}, err
	}
	w.open, w.seal, err = n.split()
	return payload, static, err
}

func (w *wire) hello(ctx context.Context, n *noise, own certificates, ephemeral *keys.KeyPair) error {
	theirs, err := w.handshakeFrame(ctx)
	if err != nil {
		return err
	}
	client := theirs.GetClientHello().GetEphemeral()
	n.authenticate(client)
	n.authenticate(ephemeral.Pub[:])
	if err := n.mix(ephemeral.Priv[:], client); err != nil {
		return fmt.Errorf("mix ephemeral keys: %w", err)
	}
	static := n.encrypt(own.static.Pub[:])
	if err := n.mix(own.static.Priv[:], client); err != nil {
		return fmt.Errorf("mix static key: %w", err)
	}
	data, err := proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ephemeral.Pub[:], Static: static, Payload: n.encrypt(own.chain),
	}})
	if err != nil {
		return err
	}
	return w.writeFrame(ctx, data)
}

func (w *wire) finish(ctx context.Context, n *noise, ephemeral *keys.KeyPair) (*waWa6.ClientPayload, [32]byte, error) {
	theirs, err := w.handshakeFrame(ctx)
	if err != nil {
		return nil, [32]byte{}, err
	}
	static, err := n.decrypt(theirs.GetClientFinish().GetStatic())
	if err != nil || len(static) != 32 {
		return nil, [32]byte{}, errors.New("the client's static key cannot be opened")
	}
	if err := n.mix(ephemeral.Priv[:], static); err != nil {
		return nil, [32]byte{}, err
	}
	data, err := n.decrypt(theirs.GetClientFinish().GetPayload())
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("open client payload: %w", err)
	}
	payload := &waWa6.ClientPayload{}
	return payload, [32]byte(static), proto.Unmarshal(data, payload)
}

func (w *wire) handshakeFrame(ctx context.Context) (*waWa6.HandshakeMessage, error) {
	data, err := w.frame(ctx)
	if err != nil {
		return nil, err
	}
	message := &waWa6.HandshakeMessage{}
	return message, proto.Unmarshal(data, message)
}

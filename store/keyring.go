package store

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Keyring seals secrets at rest with XChaCha20-Poly1305. What it seals is bound
// to its place (table:row:column), so that a sealed value moved to another row
// does not open. The first key seals; every key opens.
type Keyring struct {
	keys [][chacha20poly1305.KeySize]byte
}

// ErrSealed says that a secret was sealed with a key this process does not hold.
var ErrSealed = errors.New("the secret was sealed with another key; put the old key back as a further line of the secret key file")

// NewKeyring returns a keyring with one fresh key.
func NewKeyring() *Keyring {
	var key [chacha20poly1305.KeySize]byte
	_, _ = rand.Read(key[:]) // never fails, see crypto/rand
	return &Keyring{keys: [][chacha20poly1305.KeySize]byte{key}}
}

// ReadKeyring reads the secret key file: one base64 key a line, newest first.
func ReadKeyring(path string) (*Keyring, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the secret key file: %w", err)
	}
	k := &Keyring{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != chacha20poly1305.KeySize {
			return nil, fmt.Errorf("read the secret key file %s: a line is not a base64 key of 32 bytes; make a new file with: frontdesk keys init", path)
		}
		k.keys = append(k.keys, [chacha20poly1305.KeySize]byte(raw))
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("read the secret key file %s: it holds no key; make one with: frontdesk keys init", path)
	}
	return k, nil
}

// CreateKeyring writes a new secret key file, readable by its owner only. It
// never overwrites: losing the key loses every sealed secret.
func CreateKeyring(path string) (*Keyring, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // other files of the folder have their own modes
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create the secret key file %s: it is there already", path)
	}
	if err != nil {
		return nil, fmt.Errorf("create the secret key file: %w", err)
	}
	k := NewKeyring()
	if err := k.write(f); err != nil {
		return nil, err
	}
	return k, f.Close()
}

func (k *Keyring) write(f *os.File) error {
	for _, key := range k.keys {
		if _, err := fmt.Fprintln(f, base64.StdEncoding.EncodeToString(key[:])); err != nil {
			return fmt.Errorf("write the secret key file: %w", err)
		}
	}
	return f.Sync()
}

// Seal encrypts secret for place, such as "provider:7:api_key".
func (k *Keyring) Seal(place string, secret []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(k.keys[0][:])
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secret)+aead.Overhead())
	_, _ = rand.Read(nonce)
	return aead.Seal(nonce, nonce, secret, []byte(place)), nil
}

// Open decrypts what Seal made for the same place.
func (k *Keyring) Open(place string, sealed []byte) ([]byte, error) {
	for _, key := range k.keys {
		aead, err := chacha20poly1305.NewX(key[:])
		if err != nil {
			return nil, err
		}
		if len(sealed) < aead.NonceSize() {
			return nil, ErrSealed
		}
		nonce, rest := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
		if secret, err := aead.Open(nil, nonce, rest, []byte(place)); err == nil {
			return secret, nil
		}
	}
	return nil, ErrSealed
}

package wasim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.mau.fi/util/jsonbytes"
	"go.mau.fi/whatsmeow/types"
)

// relyingParty is whom passkeys are made for.
const relyingParty = "whatsapp.com"

var errNoPasskey = errors.New("this phone has no passkey; have it require one first")

// RequirePasskey has the phone ask every device that it scans for the owner's
// passkey before it is linked, or no longer.
func (p *Phone) RequirePasskey(required bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.NeedsPasskey = required
	p.touch()
	if p.state.Passkey != nil {
		return nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a passkey: %w", err)
	}
	p.state.Passkey, err = x509.MarshalPKCS8PrivateKey(private)
	return err
}

// UsePasskey is the owner's authenticator: it signs what a device was asked for,
// both as JSON in the form that browsers have.
func (p *Phone) UsePasskey(options []byte) ([]byte, error) {
	var asked types.WebAuthnPublicKey
	if err := json.Unmarshal(options, &asked); err != nil {
		return nil, errors.New("these are not the options of a passkey request")
	}
	private, err := p.passkey()
	if err != nil {
		return nil, err
	}
	id := credentialOf(private)
	if asked.RelyingPartID != relyingParty || !slices.ContainsFunc(asked.AllowCredentials, func(c types.AllowedCredential) bool { return bytes.Equal(c.ID, id) }) {
		return nil, errors.New("the owner's passkey is not among those asked for")
	}
	client, err := json.Marshal(clientData{Type: "webauthn.get", Challenge: asked.Challenge, Origin: "https://web." + relyingParty})
	if err != nil {
		return nil, err
	}
	party := sha256.Sum256([]byte(relyingParty))
	data := append(party[:], 5, 0, 0, 0, 0) // present and verified; no counter
	digest := signedDigest(data, client)
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign with the passkey: %w", err)
	}
	name, err := jsonbytes.UnpaddedURLBytes(id).MarshalJSON()
	if err != nil {
		return nil, err
	}
	return json.Marshal(types.WebAuthnResponse{
		ID: string(bytes.Trim(name, `"`)), RawID: id, Type: "public-key",
		Response: types.WebAuthnResponseData{ClientDataJSON: client, AuthenticatorData: data, Signature: signature},
	})
}

// clientData is what a browser has the authenticator sign.
type clientData struct {
	Type      string                     `json:"type"`
	Challenge jsonbytes.UnpaddedURLBytes `json:"challenge"`
	Origin    string                     `json:"origin"`
}

// checkAssertion makes sure that the owner's passkey has signed the challenge.
func checkAssertion(private *ecdsa.PrivateKey, challenge, assertion []byte) error {
	var given types.WebAuthnResponse
	var client clientData
	if json.Unmarshal(assertion, &given) != nil || json.Unmarshal(given.Response.ClientDataJSON, &client) != nil {
		return errors.New("the passkey's answer cannot be read")
	}
	if !bytes.Equal(given.RawID, credentialOf(private)) {
		return errors.New("this is not the owner's passkey")
	}
	digest := signedDigest(given.Response.AuthenticatorData, given.Response.ClientDataJSON)
	if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], given.Response.Signature) {
		return errors.New("the passkey's signature is wrong")
	}
	if client.Type != "webauthn.get" || !bytes.Equal(client.Challenge, challenge) {
		return errors.New("the passkey has signed something else")
	}
	return nil
}

// signedDigest is what an authenticator signs.
func signedDigest(data, client []byte) [32]byte {
	hash := sha256.Sum256(client)
	return sha256.Sum256(slices.Concat(data, hash[:]))
}

func (p *Phone) needsPasskey() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.NeedsPasskey
}

// passkey is the owner's passkey.
func (p *Phone) passkey() (*ecdsa.PrivateKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Passkey == nil {
		return nil, errNoPasskey
	}
	read, err := x509.ParsePKCS8PrivateKey(p.state.Passkey)
	if err != nil {
		return nil, fmt.Errorf("read the passkey: %w", err)
	}
	private, is := read.(*ecdsa.PrivateKey)
	if !is {
		return nil, errNoPasskey
	}
	return private, nil
}

// credentialOf is by which name a passkey is known.
func credentialOf(private *ecdsa.PrivateKey) []byte {
	public, err := private.PublicKey.Bytes()
	if err != nil {
		panic(err) // keys on P-256 always encode
	}
	hash := sha256.Sum256(public)
	return hash[:16]
}

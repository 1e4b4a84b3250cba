package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How a webhook knows its callers.
const (
	AuthNone     = "none" // the id is the secret
	AuthBearer   = "bearer"
	AuthBasic    = "basic"    // secrets are user:password
	AuthStandard = "standard" // Standard Webhooks; secrets are whsec_ and base64
	AuthGitHub   = "github"   // X-Hub-Signature-256
	AuthStripe   = "stripe"   // Stripe-Signature
	AuthHMAC     = "hmac"     // HMAC-SHA256 of the body, hex or base64, in a header of one's own
)

const (
	signatureAge = 5 * time.Minute // a signed time may be so far from ours
	mostClaims   = 16              // signatures of one request that are looked at
)

// secretPrefix marks secrets of Standard Webhooks.
const secretPrefix = "whsec_"

// SignStandard is the webhook-signature of a body by the rules of Standard Webhooks. The
// headers webhook-id and webhook-timestamp (seconds) have to carry id and at.
func SignStandard(secret []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signedBefore(id, strconv.FormatInt(at.Unix(), 10))))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// StandardSecret is the key in a secret that is written as whsec_ and base64.
func StandardSecret(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || len(key) == 0 {
		return nil, errors.New("a secret of Standard Webhooks is whsec_ and base64")
	}
	return key, nil
}

func signedBefore(id, at string) string { return id + "." + at + "." }

// proof is what a request shows of who sent it. The body's raw bytes are written to it
// as they come; holds answers after the last one.
type proof struct {
	signed bool        // somebody who knows a secret, not just the address
	known  bool        // holds whatever the body is
	macs   []hash.Hash // one for each live secret
	claims [][]byte    // signatures that the request has
}

// newProof reads what the headers of a request show. What they alone prove wrong is an
// error already.
func newProof(t Target, h http.Header, now time.Time) (*proof, error) {
	switch t.Auth {
	case AuthNone, "":
		return &proof{known: true}, nil
	case AuthBearer:
		return knownBy(t, h, "Bearer", readBearer)
	case AuthBasic:
		return knownBy(t, h, "Basic", readBasic)
	case AuthStandard:
		return standardProof(t, h, now)
	case AuthGitHub:
		return plainProof(t, h.Get("X-Hub-Signature-256"))
	case AuthStripe:
		return stripeProof(t, h, now)
	case AuthHMAC:
		return plainProof(t, h.Get(t.Header))
	}
	return nil, unauthorized("This webhook asks for a signature of a kind that is not known here")
}

// Write takes the next bytes of the body.
func (p *proof) Write(b []byte) (int, error) {
	for _, mac := range p.macs {
		mac.Write(b)
	}
	return len(b), nil
}

// holds compares every signature with every secret, so that the time it takes says
// nothing of which was right.
func (p *proof) holds() bool {
	right := 0
	for _, mac := range p.macs {
		sum := mac.Sum(nil)
		for _, claim := range p.claims {
			right |= subtle.ConstantTimeCompare(sum, claim)
		}
	}
	return p.known || right == 1
}

// knownBy is a proof that needs no body.
func knownBy(t Target, h http.Header, scheme string, read func(http.Header) (string, bool)) (*proof, error) {
	given, found := read(h)
	if !found || !oneOf(t.Secrets, given) {
		p := unauthorized("The Authorization header is missing or wrong")
		p.challenge = scheme + ` realm="webhook"`
		return nil, p
	}
	return &proof{known: true, signed: true}, nil
}

// oneOf compares with every secret in a time that does not depend on their contents.
func oneOf(secrets []string, given string) bool {
	sum, right := sha256.Sum256([]byte(given)), 0
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		right |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return right == 1
}

func readBearer(h http.Header) (string, bool) {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func readBasic(h http.Header) (string, bool) {
	user, password, found := (&http.Request{Header: h}).BasicAuth()
	return user + ":" + password, found
}

// standardProof follows Standard Webhooks: the body is signed together with its id and
// its time.
func standardProof(t Target, h http.Header, now time.Time) (*proof, error) {
	id, at := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	if id == "" {
		return nil, unauthorized("The webhook-id header is missing")
	}
	if err := checkTime(at, now); err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, secret := range t.Secrets {
		if key, err := StandardSecret(secret); err == nil {
			keys = append(keys, key)
		}
	}
	var claims [][]byte
	for one := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		version, text, _ := strings.Cut(one, ",")
		if claim, err := base64.StdEncoding.DecodeString(text); err == nil && version == "v1" {
			claims = append(claims, claim)
		}
	}
	return bodyProof(keys, claims, signedBefore(id, at))
}

// stripeProof reads t=…,v1=…,v1=….
func stripeProof(t Target, h http.Header, now time.Time) (*proof, error) {
	at, claims := "", [][]byte(nil)
	for one := range strings.SplitSeq(h.Get("Stripe-Signature"), ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch name {
		case "t":
			at = text
		case "v1":
			if claim, err := hex.DecodeString(text); err == nil {
				claims = append(claims, claim)
			}
		}
	}
	if err := checkTime(at, now); err != nil {
		return nil, err
	}
	return bodyProof(keysOf(t), claims, at+".")
}

// plainProof is of the body alone.
func plainProof(t Target, claim string) (*proof, error) {
	return bodyProof(keysOf(t), readClaim(claim), "")
}

// readClaim reads a signature in hex or base64, with or without sha256= before it.
func readClaim(text string) [][]byte {
	text = strings.TrimSpace(text)
	if len(text) > 7 && strings.EqualFold(text[:7], "sha256=") {
		text = text[7:]
	}
	if claim, err := hex.DecodeString(text); err == nil && len(claim) == sha256.Size {
		return [][]byte{claim}
	}
	text = strings.TrimRight(text, "=")
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if claim, err := alphabet.DecodeString(text); err == nil && len(claim) == sha256.Size {
			return [][]byte{claim}
		}
	}
	return nil
}

func keysOf(t Target) (keys [][]byte) {
	for _, secret := range t.Secrets {
		if secret != "" {
			keys = append(keys, []byte(secret))
		}
	}
	return keys
}

// bodyProof waits for the body, whose signature begins with before.
func bodyProof(keys, claims [][]byte, before string) (*proof, error) {
	if len(claims) == 0 {
		return nil, unauthorized("The signature is missing or cannot be read")
	}
	p := &proof{signed: true, claims: claims[:min(len(claims), mostClaims)]}
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(before))
		p.macs = append(p.macs, mac)
	}
	return p, nil
}

// checkTime refuses what was signed long ago, and so could be somebody's recording.
func checkTime(text string, now time.Time) error {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return unauthorized("The time of the signature is missing or cannot be read")
	}
	if away := now.Sub(time.Unix(seconds, 0)); away > signatureAge || away < -signatureAge {
		return unauthorized("The signature is more than five minutes from now; look at the sender's clock")
	}
	return nil
}

package webhook

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func hexHMAC(key, text string) string { return hex.EncodeToString(sumHMAC(key, text)) }

func sumHMAC(key, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// secretA and secretB are live secrets of Standard Webhooks.
var (
	secretA = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the first secret of this test 01"))
	secretB = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the second secret of this test 2"))
	secretC = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret that was withdrawn 3333"))
)

func signedStandard(t testing.TB, secret, id string, at time.Time, body string) []string {
	t.Helper()
	key, err := StandardSecret(secret)
	noError(t, err)
	return []string{"Webhook-Id: " + id, fmt.Sprint("Webhook-Timestamp: ", at.Unix()), "Webhook-Signature: " + SignStandard(key, id, at, []byte(body))}
}

func TestEverySignatureOpensItsWebhook(t *testing.T) {
	const body = `{"id":"evt_1"}`
	at := fmt.Sprint(time.Now().Unix())
	sum := sumHMAC("k2", body)
	for name, c := range map[string]struct {
		target  Target
		headers []string
	}{
		"none":                      {Target{}, nil},
		"bearer":                    {Target{Auth: AuthBearer, Secrets: []string{"k1", "k2"}}, []string{"Authorization: bearer k2"}},
		"basic":                     {Target{Auth: AuthBasic, Secrets: []string{"me:pa:ss"}}, []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("me:pa:ss"))}},
		"standard":                  {Target{Auth: AuthStandard, Secrets: []string{secretA}}, signedStandard(t, secretA, "m", time.Now(), body)},
		"standard, second secret":   {Target{Auth: AuthStandard, Secrets: []string{secretA, secretB}}, signedStandard(t, secretB, "m", time.Now(), body)},
		"standard, five minutes":    {Target{Auth: AuthStandard, Secrets: []string{secretA}}, signedStandard(t, secretA, "m", time.Now().Add(-299*time.Second), body)},
		"standard, first secret":    {Target{Auth: AuthStandard, Secrets: []string{secretA, secretB}}, signedStandard(t, secretA, "m", time.Now(), body)},
		"bearer, first secret":      {Target{Auth: AuthBearer, Secrets: []string{"k1", "k2"}}, []string{"Authorization: Bearer k1"}},
		"github":                    {Target{Auth: AuthGitHub, Secrets: []string{"k1", "k2"}}, []string{"X-Hub-Signature-256: sha256=" + hexHMAC("k2", body)}},
		"stripe":                    {Target{Auth: AuthStripe, Secrets: []string{"k1", "k2"}}, []string{"Stripe-Signature: t=" + at + ",v0=00,v1=" + strings.Repeat("0", 64) + ",v1=" + hexHMAC("k2", at+"."+body)}},
		"hmac, hex":                 {Target{Auth: AuthHMAC, Header: "x-sign", Secrets: []string{"k2"}}, []string{"X-Sign: " + hex.EncodeToString(sum)}},
		"hmac, HEX with its name":   {Target{Auth: AuthHMAC, Header: "X-Sign", Secrets: []string{"k2"}}, []string{"X-Sign: SHA256=" + strings.ToUpper(hex.EncodeToString(sum))}},
		"hmac, base64":              {Target{Auth: AuthHMAC, Header: "X-Sign", Secrets: []string{"k2"}}, []string{"X-Sign: " + base64.StdEncoding.EncodeToString(sum)}},
		"hmac, base64 for URLs":     {Target{Auth: AuthHMAC, Header: "X-Sign", Secrets: []string{"k2"}}, []string{"X-Sign: sha256=" + base64.RawURLEncoding.EncodeToString(sum)}},
		"standard, two signatures":  {Target{Auth: AuthStandard, Secrets: []string{secretA}}, twoSignatures(t, body)},
		"standard, without whsec_":  {Target{Auth: AuthStandard, Secrets: []string{strings.TrimPrefix(secretA, "whsec_")}}, signedStandard(t, secretA, "m", time.Now(), body)},
		"standard, beside a broken": {Target{Auth: AuthStandard, Secrets: []string{"whsec_?", secretA}}, signedStandard(t, secretA, "m", time.Now(), body)},
	} {
		t.Run(name, func(t *testing.T) {
			c.target.ID = "w"
			b := newBooth(t, Options{}, c.target)
			if h := b.post("/webhook/w", body, c.headers...); h.status != http.StatusAccepted {
				t.Errorf("answered %d: %s", h.status, h.body)
			}
			d := b.desk.last()
			for header := range d.Headers {
				if strings.Contains(header, "sign") || header == "authorization" {
					t.Errorf("the desk got %s", header)
				}
			}
			if c.target.Auth == "" {
				return
			}
			if h := b.post("/webhook/w", body); h.status != http.StatusUnauthorized {
				t.Errorf("without a signature it answered %d", h.status)
			}
			if strings.HasPrefix(c.target.Auth, "b") {
				return
			}
			if h := b.post("/webhook/w", body+" ", c.headers...); h.status != http.StatusUnauthorized {
				t.Errorf("with one more byte it answered %d", h.status)
			}
		})
	}
}

func twoSignatures(t *testing.T, body string) []string {
	headers := signedStandard(t, secretA, "m", time.Now(), body)
	headers[2] = strings.Replace(headers[2], "v1,", "v1a,ed25519 v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32))+" v1,", 1) + " v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	return headers
}

func TestWrongSignaturesOpenNothing(t *testing.T) {
	const body = `{}`
	now := time.Now()
	at, old := fmt.Sprint(now.Unix()), fmt.Sprint(now.Add(-301*time.Second).Unix())
	early := fmt.Sprint(now.Add(310 * time.Second).Unix())
	other := signedStandard(t, secretA, "m", now, body)
	other[0] = "Webhook-Id: n"
	for name, c := range map[string]struct {
		target  Target
		headers []string
	}{
		"no secrets":                    {Target{Auth: AuthBearer}, []string{"Authorization: Bearer "}},
		"empty secret":                  {Target{Auth: AuthBearer, Secrets: []string{""}}, []string{"Authorization: Bearer "}},
		"no secret of GitHub":           {Target{Auth: AuthGitHub, Secrets: []string{""}}, []string{"X-Hub-Signature-256: sha256=" + hexHMAC("", body)}},
		"no secret at all":              {Target{Auth: AuthHMAC, Header: "X-S"}, []string{"X-S: " + hexHMAC("", body)}},
		"unknown kind":                  {Target{Auth: "mtls", Secrets: []string{"k"}}, []string{"Authorization: Bearer k"}},
		"another scheme":                {Target{Auth: AuthBearer, Secrets: []string{"k"}}, []string{"Authorization: Basic k"}},
		"empty basic":                   {Target{Auth: AuthBasic, Secrets: []string{"a:b"}}, []string{"Authorization: Basic Og=="}},
		"withdrawn secret":              {Target{Auth: AuthStandard, Secrets: []string{secretA, secretB}}, signedStandard(t, secretC, "m", now, body)},
		"too old":                       {Target{Auth: AuthStandard, Secrets: []string{secretA}}, signedStandard(t, secretA, "m", now.Add(-301*time.Second), body)},
		"too new":                       {Target{Auth: AuthStandard, Secrets: []string{secretA}}, signedStandard(t, secretA, "m", now.Add(310*time.Second), body)},
		"another id":                    {Target{Auth: AuthStandard, Secrets: []string{secretA}}, other},
		"no time":                       {Target{Auth: AuthStandard, Secrets: []string{secretA}}, []string{other[0], other[2]}},
		"secret that cannot be read":    {Target{Auth: AuthStandard, Secrets: []string{"whsec_?"}}, signedStandard(t, secretA, "m", now, body)},
		"Stripe's too old":              {Target{Auth: AuthStripe, Secrets: []string{"k"}}, []string{"Stripe-Signature: t=" + old + ",v1=" + hexHMAC("k", old+"."+body)}},
		"Stripe's too new":              {Target{Auth: AuthStripe, Secrets: []string{"k"}}, []string{"Stripe-Signature: t=" + early + ",v1=" + hexHMAC("k", early+"."+body)}},
		"Stripe's with another time":    {Target{Auth: AuthStripe, Secrets: []string{"k"}}, []string{"Stripe-Signature: t=" + at + ",v1=" + hexHMAC("k", old+"."+body)}},
		"Stripe's older scheme":         {Target{Auth: AuthStripe, Secrets: []string{"k"}}, []string{"Stripe-Signature: t=" + at + ",v0=" + hexHMAC("k", at+"."+body)}},
		"GitHub's old SHA-1":            {Target{Auth: AuthGitHub, Secrets: []string{"k"}}, []string{"X-Hub-Signature: sha1=00"}},
		"half a signature":              {Target{Auth: AuthGitHub, Secrets: []string{"k"}}, []string{"X-Hub-Signature-256: sha256=" + hexHMAC("k", body)[:32]}},
		"a signature of another header": {Target{Auth: AuthHMAC, Header: "X-S", Secrets: []string{"k"}}, []string{"X-T: " + hexHMAC("k", body)}},
	} {
		c.target.ID = "w"
		b := newBooth(t, Options{}, c.target)
		h := b.post("/webhook/w", body, c.headers...)
		if h.status != http.StatusUnauthorized || b.desk.count() != 0 {
			t.Errorf("%s: answered %d: %s", name, h.status, h.body)
		}
		if challenge := h.header.Get("WWW-Authenticate"); strings.HasPrefix(c.target.Auth, "b") != (challenge != "") {
			t.Errorf("%s: WWW-Authenticate is %q", name, challenge)
		}
	}
}

func TestSignatureIsGoodForFiveMinutesToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{}, Target{ID: "w", Auth: AuthStandard, Secrets: []string{secretA}})
		headers := signedStandard(t, secretA, "m", time.Now(), "{}")
		time.Sleep(signatureAge)
		if h := b.post("/webhook/w", "{}", headers...); h.status != http.StatusAccepted {
			t.Errorf("after five minutes it answered %d", h.status)
		}
		time.Sleep(time.Second)
		if h := b.post("/webhook/w", "{}", headers...); h.status != http.StatusUnauthorized {
			t.Errorf("a second later it answered %d", h.status)
		}
	})
}

func TestUploadsAreSignedOverTheirRawBytes(t *testing.T) {
	b := newBooth(t, Options{}, Target{ID: "w", Auth: AuthHMAC, Header: "X-S", Secrets: []string{"k"}})
	var form bytes.Buffer
	form.WriteString("this stands before the parts\r\n")
	w := multipart.NewWriter(&form)
	noError(t, w.WriteField("note", "hello"))
	part, err := w.CreateFormFile("file", "a.bin")
	noError(t, err)
	part.Write(bytes.Repeat([]byte("frontdesk"), 30_000))
	noError(t, w.Close())
	form.WriteString("and this behind them" + strings.Repeat(".", 10_000))
	raw, kind := form.String(), "Content-Type: "+w.FormDataContentType()
	send := func(body, kind string) heard {
		return b.call(http.MethodPost, "/webhook/w", strings.NewReader(body), kind, "X-S: "+hexHMAC("k", raw))
	}
	if h := send(raw, kind); h.status != http.StatusAccepted || len(b.desk.files[0]) != 270_000 {
		t.Errorf("answered %d: %s", h.status, h.body)
	}
	if h := send(raw[:len(raw)-1]+"!", kind); h.status != http.StatusUnauthorized {
		t.Errorf("with another last byte it answered %d", h.status)
	}
	if h := send(raw, "Content-Type: image/png"); h.status != http.StatusAccepted {
		t.Errorf("as one file it answered %d: %s", h.status, h.body)
	}
	if h := send("x"+raw[1:], "Content-Type: image/png"); h.status != http.StatusUnauthorized {
		t.Errorf("as another file it answered %d", h.status)
	}
	b.wantNothingLeft()
}

// Go's library of Standard Webhooks, both ways.
func TestStandardWebhooksAgreesWithItsOwnLibrary(t *testing.T) {
	theirs, err := standardwebhooks.NewWebhook(secretA)
	noError(t, err)
	key, err := StandardSecret(secretA)
	noError(t, err)
	now := time.Now()
	for n, body := range []string{"", "{}", `{"text":"Grüße, 世界"}`, strings.Repeat("x", 100_000), "\x00\xff"} {
		id := fmt.Sprint("msg_", n)
		want, err := theirs.Sign(id, now, []byte(body))
		noError(t, err)
		got := SignStandard(key, id, now, []byte(body))
		if got != want {
			t.Errorf("%d bytes: %s, theirs is %s", len(body), got, want)
		}
		h := http.Header{}
		setHeaders(h, signedStandard(t, secretA, id, now, body))
		noError(t, theirs.Verify([]byte(body), h))
		if p, err := newProof(Target{Auth: AuthStandard, Secrets: []string{secretA}}, h, now); err != nil || !proves(p, body) {
			t.Errorf("%d bytes: theirs is refused: %v", len(body), err)
		}
	}
}

func proves(p *proof, body string) bool {
	p.Write([]byte(body))
	return p.holds()
}

// npm's library of Standard Webhooks, both ways: testdata/standard.js signs a body, says
// so, and then says whether it believes ours.
func TestStandardWebhooksAgreesWithNode(t *testing.T) {
	const body = `{"text":"Grüße, 世界"}`
	now := time.Now()
	ours := http.Header{}
	setHeaders(ours, signedStandard(t, secretA, "msg_ours", now, body))
	given, err := json.Marshal(map[string]any{
		"secret": secretA, "body": body, "headers": map[string]string{
			"webhook-id": ours.Get("Webhook-Id"), "webhook-timestamp": ours.Get("Webhook-Timestamp"), "webhook-signature": ours.Get("Webhook-Signature"),
		},
	})
	noError(t, err)
	var said struct {
		Believes, BelievesForged bool
		Signature                string
		Timestamp                int64
	}
	line := oracle(t, "standard.js", string(given))
	noError(t, json.NewDecoder(bufio.NewReader(strings.NewReader(line))).Decode(&said))
	if !said.Believes || said.BelievesForged {
		t.Errorf("it says %s", line)
	}
	b := newBooth(t, Options{}, Target{ID: "w", Auth: AuthStandard, Secrets: []string{secretB, secretA}})
	headers := []string{"Webhook-Id: msg_theirs", fmt.Sprint("Webhook-Timestamp: ", said.Timestamp), "Webhook-Signature: " + said.Signature}
	if h := b.post("/webhook/w", body, headers...); h.status != http.StatusAccepted || b.desk.last().Key != "msg_theirs" {
		t.Errorf("theirs answered %d: %s", h.status, h.body)
	}
	if h := b.post("/webhook/w", body+" ", headers...); h.status != http.StatusUnauthorized {
		t.Errorf("theirs with another body answered %d", h.status)
	}
}

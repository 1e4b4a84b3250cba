package webhook

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzBody: whatever comes as text has an answer below 500, and what is accepted can be
// written as JSON that Postgres takes.
func FuzzBody(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind, body string) {
		b := newBooth(t, Options{})
		h := b.call(http.MethodPost, "/webhook/open", strings.NewReader(body), "Content-Type: "+strings.Map(printable, kind))
		wantSane(t, b, h)
	})
}

// FuzzMultipart: forms, of which all stays within its bounds.
func FuzzMultipart(f *testing.F) {
	f.Fuzz(func(t *testing.T, body string) {
		b := newBooth(t, Options{Limits: Limits{File: 1000, Upload: 2000, Text: 1000, Parts: 10, Files: 3}})
		h := b.call(http.MethodPost, "/webhook/open", strings.NewReader(body), "Content-Type: multipart/form-data; boundary=x")
		wantSane(t, b, h)
		total := 0
		for n, f := range b.desk.last().Files {
			if total += len(b.desk.files[n]); int64(len(b.desk.files[n])) != f.Bytes || f.Bytes > 1000 || strings.ContainsAny(f.Label, "/\\\"\x00") {
				t.Errorf("a file of %d bytes is %+v", len(b.desk.files[n]), f)
			}
		}
		if total > 2000 || len(b.desk.files) > 3 {
			t.Errorf("%d bytes in %d files", total, len(b.desk.files))
		}
	})
}

// FuzzSignature: no header but the right one proves anything.
func FuzzSignature(f *testing.F) {
	f.Fuzz(func(t *testing.T, auth, first, second, third, body string) {
		h := http.Header{
			"Authorization": {first}, "Webhook-Id": {second}, "Webhook-Timestamp": {third}, "Webhook-Signature": {first},
			"X-Hub-Signature-256": {first}, "Stripe-Signature": {first}, "X-S": {first},
		}
		if auth == AuthNone || auth == "" {
			return
		}
		p, err := newProof(Target{Auth: auth, Header: "X-S", Secrets: []string{secretA, ""}}, h, time.Unix(1_700_000_000, 0))
		if err == nil && proves(p, body) && !strings.Contains(first, strings.TrimPrefix(secretA, "whsec_")) {
			t.Errorf("%s is opened by %q", auth, first)
		}
	})
}

// wantSane checks what must be so whatever came.
func wantSane(t *testing.T, b *booth, h heard) {
	t.Helper()
	if h.status >= 500 {
		t.Errorf("answered %d: %s", h.status, h.body)
	}
	if (h.status == http.StatusAccepted) != (b.desk.count() == 1) {
		t.Errorf("answered %d with %d executions", h.status, b.desk.count())
	}
	text, err := json.Marshal(b.desk.last().Body)
	if err != nil || !utf8.Valid(text) || bytes.Contains(bytes.ReplaceAll(text, []byte(`\\`), nil), []byte(`\u0000`)) {
		t.Errorf("became %v: %q", err, text)
	}
	b.wantNothingLeft()
}

func printable(r rune) rune {
	if r < ' ' || r == 127 {
		return -1
	}
	return r
}

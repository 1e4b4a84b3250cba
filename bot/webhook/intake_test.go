package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestAcceptedDeliveryIsToldWithItsLinks(t *testing.T) {
	b := newBooth(t, Options{})
	h := b.post("/webhook/open/orders/new?a=1&a=2&b=x%00y", `{"id":7,"name":"Zo\u0000ë"}`, "X-Shop: 17", "Cookie: a=b", "Authorization: Bearer secret", "X-Api-Key: k")
	if h.status != http.StatusAccepted || h.header.Get("Location") != "/api/v1/executions/1" || h.header.Get("Content-Type") != "application/json" || h.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %d %v", h.status, h.header)
	}
	want := `{"execution_id":1,"status":"queued","queue":{"position":1},"test":false,` +
		`"links":{"self":"/api/v1/executions/1","events":"/api/v1/executions/1/events","cancel":"/api/v1/executions/1/cancel"}}`
	if strings.TrimSpace(h.body) != want {
		t.Errorf("answered %s, want %s", h.body, want)
	}
	d := b.desk.last()
	if got := fmt.Sprint(d.Webhook, d.Method, d.Path, d.Query, d.Body, d.Test, d.Key); got != "openPOST/orders/newmap[a:[1 2] b:xy] map[id:7 name:Zoë]" {
		t.Errorf("the desk got %s", got)
	}
	if d.Headers["x-shop"] != "17" || d.Headers["cookie"] != nil || d.Headers["authorization"] != nil || d.Headers["x-api-key"] != nil {
		t.Errorf("the desk got headers %v", d.Headers)
	}
	b.wantNothingLeft()
}

func TestSecretsOfCallersAreNotKept(t *testing.T) {
	b := newBooth(t, Options{}, Target{ID: "open", Auth: AuthHMAC, Header: "X-Proof", Secrets: []string{"key"}})
	secret := []string{
		"X-Gitlab-Token", "X-Telegram-Bot-Api-Secret-Token", "X-Shopify-Access-Token", "Api-Key", "Apikey", "X-Auth-Token", "Authorization",
		"X-Forwarded-Authorization", "Proxy-Authorization", "Cookie", "X-Session-Id", "X-Amz-Credential", "X-Password", "Stripe-Signature", "X-Hub-Signature-256",
	}
	kept := []string{"Idempotency-Key", "X-Idempotency-Key", "Webhook-Id", "X-Github-Delivery", "X-Author", "X-Shop"}
	lines := []string{"X-Proof: " + hexHMAC("key", "{}")}
	for _, name := range slices.Concat(secret, kept) {
		lines = append(lines, name+": hidden")
	}
	h := b.post("/webhook/open?token=hidden&access%5FTOKEN=hidden&to%00ken=hidden&apiKey=hidden&key=hidden&page=2&keyword=tea&author=Ana", "{}", lines...)
	if h.status != http.StatusAccepted {
		t.Fatalf("answered %d: %s", h.status, h.body)
	}
	d := b.desk.last()
	if got := fmt.Sprint(d.Query); got != "map[author:Ana keyword:tea page:2]" {
		t.Errorf("the desk got the query %s", got)
	}
	for _, name := range append(secret, "X-Proof") {
		if d.Headers[strings.ToLower(name)] != nil {
			t.Errorf("%s is kept", name)
		}
	}
	for _, name := range kept {
		if d.Headers[strings.ToLower(name)] != "hidden" {
			t.Errorf("%s is not kept", name)
		}
	}
}

// A token may be another one when the delivery comes again.
func TestSecretsInTheAddressAreNoPartOfADelivery(t *testing.T) {
	b := newBooth(t, Options{})
	b.post("/webhook/open?token=first&page=2", "{}", "Idempotency-Key: 7")
	if h := b.post("/webhook/open?token=second&page=2", "{}", "Idempotency-Key: 7"); h.status != http.StatusOK || h.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("with another token the same delivery was answered %d: %s", h.status, h.body)
	}
	if h := b.post("/webhook/open?token=first&page=3", "{}", "Idempotency-Key: 7"); h.status != http.StatusUnprocessableEntity {
		t.Errorf("another delivery was answered %d: %s", h.status, h.body)
	}
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	b := newBooth(t, Options{}, Target{ID: "open", Dedupe: "trigger.body.id"})
	for n, id := range []string{"9007199254740992", "9007199254740993", "17.10", "-0.5", "123456789012345678901234567890"} {
		h := b.post("/webhook/open", `{"id": `+id+`}`)
		body, _ := json.Marshal(b.desk.last().Body)
		if h.status != http.StatusAccepted || b.desk.count() != n+1 || b.desk.last().Key != id || string(body) != `{"id":`+id+`}` {
			t.Errorf("%s was answered %d; its key is %s, its body %s", id, h.status, b.desk.last().Key, body)
		}
	}
	if h := b.post("/webhook/open", `{"id": 9007199254740993}`); h.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same delivery was answered %d: %s", h.status, h.body)
	}
}

// Postgres keeps 1e-9999 with ten thousand digits, and refuses 1e-99999.
func TestNumbersBeyondReasonAreShort(t *testing.T) {
	b := newBooth(t, Options{})
	for number, want := range map[string]string{
		"1e-9999": "0", "1.5e3": "1500", "1E300": "1e+300", "0." + strings.Repeat("3", 20_000): "0.3333333333333333", "1" + strings.Repeat("0", 300): "1e+300",
	} {
		if h := b.post("/webhook/open", `{"list": [`+number+`]}`); h.status != http.StatusAccepted {
			t.Errorf("%.20s was answered %d: %s", number, h.status, h.body)
		}
		if body, _ := json.Marshal(b.desk.last().Body); string(body) != `{"list":[`+want+`]}` {
			t.Errorf("%.20s became %.100s, want %s", number, body, want)
		}
	}
	for _, number := range []string{"1e309", "-1e309", strings.Repeat("9", 400)} {
		b.post("/webhook/open", `{"list": [{"a": `+number+`}]}`).wantProblem(t, http.StatusBadRequest, "malformed_body")
	}
	b.wantNothingLeft()
}

// L25.
func TestEveryMethodStartsAnExecution(t *testing.T) {
	b := newBooth(t, Options{})
	for n, method := range methods {
		if h := b.call(method, "/webhook/open", http.NoBody); h.status != http.StatusAccepted || b.desk.last().Method != method || b.desk.count() != n+1 {
			t.Errorf("%s answered %d", method, h.status)
		}
	}
	if h := b.call("PROPFIND", "/webhook/open", http.NoBody); h.status != http.StatusMethodNotAllowed || h.header.Get("Allow") != "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS" {
		t.Errorf("PROPFIND answered %d, allows %q", h.status, h.header.Get("Allow"))
	}
}

// L25.
func TestWhoeverOnlyLooksStartsNothing(t *testing.T) {
	b := newBooth(t, Options{}, open, Target{ID: "post", Methods: []string{http.MethodPost}})
	for _, c := range []struct{ method, path, header string }{
		{http.MethodHead, "/webhook/open", ""},
		{http.MethodOptions, "/webhook/open", ""},
		{http.MethodHead, "/webhook/open?test=true", ""},
		{http.MethodGet, "/webhook/open", "User-Agent: WhatsApp/2.23.20.0 A"},
		{http.MethodGet, "/webhook/open/deep", "User-Agent: facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"},
		{http.MethodGet, "/webhook/open", "User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
		{http.MethodGet, "/webhook/open", "User-Agent: TelegramBot (like TwitterBot)"},
		{http.MethodGet, "/webhook/open", "User-Agent: Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"},
		{http.MethodGet, "/webhook/open", "Sec-Purpose: prefetch;prerender"},
		{http.MethodGet, "/webhook/post", "User-Agent: LinkedInBot/1.0"},
	} {
		h := b.call(c.method, c.path, http.NoBody, c.header)
		if h.status != http.StatusNoContent || h.body != "" || h.header.Get("Allow") == "" {
			t.Errorf("%v answered %d", c, h.status)
		}
	}
	if h := b.call(http.MethodHead, "/webhook/open", http.NoBody); h.header.Get("RateLimit") == "" {
		t.Error("204 says nothing of the limit")
	}
	if b.desk.count() != 0 {
		t.Errorf("%d executions, want none", b.desk.count())
	}
	for _, header := range []string{"User-Agent: Slackbot 1.0 (+https://api.slack.com/robots)", "User-Agent: curl/8.5.0", "User-Agent: facebookexternalua"} {
		if h := b.call(http.MethodPost, "/webhook/open", http.NoBody, header); h.status != http.StatusAccepted {
			t.Errorf("%s answered %d", header, h.status)
		}
	}
}

// The order of checks: each request is wrong in every later way too.
func TestChecksComeInTheirOrder(t *testing.T) {
	strict := Target{ID: "strict", Methods: []string{http.MethodPost, http.MethodPut}, Auth: AuthGitHub, Secrets: []string{"key"}}
	b := newBooth(t, Options{}, strict, Target{ID: "gone", Gone: true, Methods: []string{http.MethodPut}})
	b.desk.refusal = &Refusal{Status: http.StatusServiceUnavailable, Code: "queue_full", Detail: "10,000 wait", RetryAfter: 1500 * time.Millisecond}
	wrong := "X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64)
	good := "X-Hub-Signature-256: sha256=" + hexHMAC("key", `{"a":1}`)
	malformed := "X-Hub-Signature-256: sha256=" + hexHMAC("key", `{"a":1`)
	for _, c := range []struct {
		method, path, body, header string
		status                     int
		code                       string
	}{
		{http.MethodDelete, "/webhook/nobody", "{", "", http.StatusNotFound, "no_such_webhook"},
		{http.MethodDelete, "/webhook/", "{", "", http.StatusNotFound, "no_such_webhook"},
		{http.MethodDelete, "/webhook/gone", "{", "", http.StatusGone, "webhook_deleted"},
		{http.MethodDelete, "/webhook/strict", strings.Repeat(" ", 1<<20+1), "", http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPost, "/webhook/strict", strings.Repeat(" ", 1<<20+1), "", http.StatusRequestEntityTooLarge, "body_too_large"},
		{http.MethodPost, "/webhook/strict", `{"a":1}`, "", http.StatusUnauthorized, "unauthorized"},
		{http.MethodPost, "/webhook/strict", `{"a":1`, wrong, http.StatusUnauthorized, "unauthorized"},
		{http.MethodPost, "/webhook/strict", `{"a":1`, malformed, http.StatusBadRequest, "malformed_body"},
		{http.MethodPost, "/webhook/strict", `{"a":1}`, good, http.StatusServiceUnavailable, "queue_full"},
	} {
		h := b.call(c.method, c.path, strings.NewReader(c.body), "Content-Type: application/json", c.header)
		h.wantProblem(t, c.status, c.code)
		if h.header.Get("RateLimit") == "" {
			t.Errorf("%d says nothing of the limit", h.status)
		}
	}
	b.desk.targets["strict"] = Target{ID: "strict"}
	h := b.post("/webhook/strict", `{"a":1}`)
	if h.wantProblem(t, http.StatusServiceUnavailable, "queue_full"); h.header.Get("Retry-After") != "2" {
		t.Errorf("a full queue says Retry-After %q, want 2", h.header.Get("Retry-After"))
	}
	if b.desk.count() != 0 {
		t.Errorf("%d executions", b.desk.count())
	}
	b.wantNothingLeft()
}

func TestWrongBodyIsNamedByPointers(t *testing.T) {
	b := newBooth(t, Options{})
	b.desk.refusal = &Refusal{Status: http.StatusUnprocessableEntity, Code: "bad_input", Detail: "The body is not as the flow wants it", Errors: []string{"/body/id: is missing"}}
	h := b.post("/webhook/open", `{}`)
	h.wantProblem(t, http.StatusUnprocessableEntity, "bad_input")
	if got := fmt.Sprint(h.json(t)["errors"]); got != "[/body/id: is missing]" {
		t.Errorf("errors are %s", got)
	}
}

func TestDatabaseAwayIsSaidWithoutItsWords(t *testing.T) {
	var log bytes.Buffer
	b := newBooth(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	b.desk.refusal = errors.New("dial 10.0.0.5: refused")
	h := b.post("/webhook/open", `{"secret":"sesame"}`)
	h.wantProblem(t, http.StatusServiceUnavailable, "unavailable")
	if h.header.Get("Retry-After") == "" || strings.Contains(h.body, "10.0.0.5") || h.header.Get("X-Request-Id") != h.json(t)["request_id"] {
		t.Errorf("answered %v %s", h.header, h.body)
	}
	if !strings.Contains(log.String(), "10.0.0.5") || !strings.Contains(log.String(), h.json(t)["reference"].(string)) || strings.Contains(log.String(), "sesame") {
		t.Errorf("the log says %s", log.String())
	}
	b.desk.away = errors.New("away")
	b.call(http.MethodGet, "/webhook/open", http.NoBody).wantProblem(t, http.StatusServiceUnavailable, "unavailable")
}

func TestSameWebhookIDTwentyTimesAtOnceIsOneExecution(t *testing.T) {
	b := newBooth(t, Options{})
	var accepted, replayed atomic.Int64
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			h := b.post("/webhook/open", `{"id":1}`, "Webhook-Id: msg_1")
			switch {
			case h.status == http.StatusAccepted && h.header.Get("Idempotency-Replayed") == "":
				accepted.Add(1)
			case h.status == http.StatusOK && h.header.Get("Idempotency-Replayed") == "true" && h.header.Get("Location") == "/api/v1/executions/1":
				replayed.Add(1)
			}
		})
	}
	asking.Wait()
	if accepted.Load() != 1 || replayed.Load() != 19 || b.desk.count() != 1 {
		t.Errorf("%d accepted, %d replayed, %d executions; want 1, 19 and 1", accepted.Load(), replayed.Load(), b.desk.count())
	}
	b.post("/webhook/open", `{"id":2}`, "Webhook-Id: msg_1").wantProblem(t, http.StatusUnprocessableEntity, "delivery_reused")
	if h := b.post("/webhook/open?test=true", `{"id":1}`, "Webhook-Id: msg_1", "Prefer: wait=0"); h.status != http.StatusAccepted || b.desk.last().Key != "" {
		t.Errorf("a test of the same delivery answered %d: %s; want a new one", h.status, h.body)
	}
}

func TestDeliveryIsNamedByTheFirstOfItsNames(t *testing.T) {
	b := newBooth(t, Options{Limits: Limits{Rate: 1000}},
		open, Target{ID: "path", Dedupe: "trigger.body.order.0.id"}, Target{ID: "header", Dedupe: "trigger.headers.x-event"}, Target{ID: "query", Dedupe: "trigger.query.n"})
	headers := []string{"Webhook-Id: w", "Idempotency-Key: i", "X-GitHub-Delivery: g"}
	for _, c := range []struct {
		path, body string
		headers    []string
		want       string
	}{
		{"/webhook/path", `{"order":[{"id":17}]}`, headers, "17"},
		{"/webhook/path", `{"order":[{"id":"a\u0000b"}]}`, headers, "ab"},
		{"/webhook/path", `{"order":[{"id":{"x":true}}]}`, headers, `{"x":true}`},
		{"/webhook/path", `{"order":[]}`, headers, "w"},
		{"/webhook/header", `{}`, append([]string{"X-Event: e"}, headers...), "e"},
		{"/webhook/query?n=5", `{}`, headers, "5"},
		{"/webhook/open", `{"id":"evt_1"}`, headers, "w"},
		{"/webhook/open", `{"id":"evt_1"}`, headers[1:], "i"},
		{"/webhook/open", `{"id":"evt_1"}`, headers[2:], "g"},
		{"/webhook/open", `{"id":"evt_1"}`, nil, ""},
	} {
		b.post(c.path, c.body, c.headers...)
		if got := b.desk.last().Key; got != c.want {
			t.Errorf("%s %s is named %q, want %q", c.path, c.body, got, c.want)
		}
	}
	b.post("/webhook/open", `{}`, "Idempotency-Key: "+strings.Repeat("k", 5000))
	if got := b.desk.last().Key; !strings.HasPrefix(got, "sha256:") || len(got) > mostKey {
		t.Errorf("a long name became %d bytes", len(got))
	}
}

func TestStripesEventCountsOnceThoughItsBodyChanges(t *testing.T) {
	b := newBooth(t, Options{}, Target{ID: "pay", Auth: AuthStripe, Secrets: []string{"whsec_x"}})
	for n := range 2 {
		body, at := fmt.Sprintf(`{"id":"evt_1","pending_webhooks":%d}`, n), fmt.Sprint(time.Now().Unix())
		h := b.post("/webhook/pay", body, "Stripe-Signature: t="+at+",v1="+hexHMAC("whsec_x", at+"."+body))
		if h.status >= 300 || b.desk.last().Key != "evt_1" || b.desk.last().Headers["stripe-signature"] != nil {
			t.Errorf("delivery %d answered %d: %s", n, h.status, h.body)
		}
	}
	if b.desk.count() != 1 {
		t.Errorf("%d executions, want 1", b.desk.count())
	}
}

func TestFormSentAgainWithAnotherBoundaryIsTheSame(t *testing.T) {
	b := newBooth(t, Options{})
	form := func(boundary, content string) string {
		return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\n" + content + "\r\n--" + boundary + "--\r\n"
	}
	send := func(boundary, content string) heard {
		return b.call(http.MethodPost, "/webhook/open", strings.NewReader(form(boundary, content)), "Content-Type: multipart/form-data; boundary="+boundary, "Idempotency-Key: k")
	}
	if h := send("one", "content"); h.status != http.StatusAccepted {
		t.Fatalf("answered %d: %s", h.status, h.body)
	}
	if h := send("two", "content"); h.status != http.StatusOK {
		t.Errorf("with another boundary it answered %d: %s", h.status, h.body)
	}
	if h := send("two", "other"); h.status != http.StatusUnprocessableEntity {
		t.Errorf("with another file it answered %d: %s", h.status, h.body)
	}
}

func TestSyncCallerGetsTheFlowsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{}, open, Target{ID: "sync", Sync: true})
		for n, c := range []struct {
			path, prefer, applied string
			receipt               Receipt
			status                int
			body                  string
		}{
			{"/webhook/sync", "", "", Receipt{Status: "completed", Answer: &Answer{Status: http.StatusCreated, Body: []byte(`{"id":7}`)}}, http.StatusCreated, `{"id":7}`},
			{"/webhook/sync", "", "", Receipt{Status: "completed", Answer: &Answer{Status: http.StatusTeapot, Body: []byte(`"tea"`)}}, http.StatusTeapot, `"tea"`},
			{"/webhook/sync", "", "", Receipt{Status: "completed", Answer: &Answer{Status: http.StatusNoContent}}, http.StatusNoContent, ""},
			{"/webhook/sync", "", "", Receipt{Status: "failed", Failure: "It is away"}, http.StatusOK, `"status":"failed","test":false,"failure":"It is away"`},
			{"/webhook/open", "Prefer: wait=5", "wait=5", Receipt{Status: "completed"}, http.StatusOK, `"status":"completed"`},
			{"/webhook/open", "Prefer: return=minimal, wait=600", "wait=25", Receipt{Status: "completed"}, http.StatusOK, `"status":"completed"`},
			{"/webhook/open?test=true", "", "", Receipt{Status: "completed", Test: true}, http.StatusOK, `"test":true`},
		} {
			go func() {
				time.Sleep(time.Second)
				b.desk.end(int64(n+1), c.receipt)
			}()
			h := b.call(http.MethodPost, c.path, http.NoBody, c.prefer)
			if h.status != c.status || !strings.Contains(h.body, c.body) || h.header.Get("Preference-Applied") != c.applied {
				t.Errorf("%s %s answered %d %s, applied %q", c.path, c.prefer, h.status, h.body, h.header.Get("Preference-Applied"))
			}
		}
	})
}

func TestWaitEndsAndTheExecutionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{}, open, Target{ID: "sync", Sync: true})
		for _, c := range []struct {
			path, prefer, applied string
			waits                 time.Duration
		}{
			{"/webhook/open", "", "", 0},
			{"/webhook/open", "Prefer: wait=3", "wait=3", 3 * time.Second},
			{"/webhook/open", "Prefer: wait=60", "wait=25", 25 * time.Second},
			{"/webhook/open", "Prefer: wait=99999999999999999999", "", 0},
			{"/webhook/sync", "", "", 25 * time.Second},
			{"/webhook/sync", "Prefer: wait=2", "wait=2", 2 * time.Second},
			{"/webhook/sync", "Prefer: respond-async", "respond-async", 0},
			{"/webhook/sync", "Prefer: respond-async, wait=4", "wait=4", 4 * time.Second},
			{"/webhook/open?test=true", "", "", 10 * time.Second},
			{"/webhook/sync?test=true", "Prefer: wait=20", "wait=10", 10 * time.Second},
		} {
			begin := time.Now()
			h := b.call(http.MethodPost, c.path, http.NoBody, c.prefer)
			if h.status != http.StatusAccepted || time.Since(begin) != c.waits || h.header.Get("Preference-Applied") != c.applied || h.json(t)["status"] != "queued" {
				t.Errorf("%s %s answered %d after %s, applied %q; want 202 after %s, %q", c.path, c.prefer, h.status, time.Since(begin), h.header.Get("Preference-Applied"), c.waits, c.applied)
			}
		}
	})
}

func TestDeliveryAgainGetsTheStoredAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{}, Target{ID: "sync", Sync: true})
		go func() {
			h := b.post("/webhook/sync", `{}`, "Idempotency-Key: k")
			if h.status != http.StatusOK || h.body != "[1]\n" || h.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("the first got %d %s", h.status, h.body)
			}
		}()
		synctest.Wait()
		h := b.post("/webhook/sync", `{}`, "Idempotency-Key: k")
		if h.wantProblem(t, http.StatusConflict, "in_flight"); h.header.Get("Retry-After") == "" {
			t.Error("a delivery in flight does not say when to come again")
		}
		if h := b.post("/webhook/sync", `{}`, "Idempotency-Key: k", "Prefer: respond-async"); h.status != http.StatusOK || h.json(t)["status"] != "queued" {
			t.Errorf("asked not to wait it answered %d %s", h.status, h.body)
		}
		done := Receipt{Status: "completed", Ended: true, Answer: &Answer{Status: http.StatusOK, Body: []byte("[1]")}}
		b.desk.end(1, done)
		synctest.Wait()
		b.desk.result = &done
		if h := b.post("/webhook/sync", `{}`, "Idempotency-Key: k"); h.status != http.StatusOK || h.body != "[1]\n" || h.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("again it answered %d %s", h.status, h.body)
		}
		if b.desk.count() != 1 {
			t.Errorf("%d executions, want 1", b.desk.count())
		}
	})
}

func TestOnlyWhoIsSignedInTestsWithEffects(t *testing.T) {
	b := newBooth(t, Options{SignedIn: func(r *http.Request) bool { return r.Header.Get("Cookie") == "session=1" }})
	b.desk.result = &Receipt{Status: "completed", Ended: true}
	for range 100 {
		b.call(http.MethodGet, "/webhook/open?test=live", http.NoBody).wantProblem(t, http.StatusUnauthorized, "unauthorized")
	}
	b.call(http.MethodGet, "/webhook/open?test=live", http.NoBody).wantProblem(t, http.StatusTooManyRequests, "rate_limited")
	b.Intake.addresses = newLimiter[netip.Addr](mostKeys)
	for _, c := range []struct {
		query, cookie, site string
		want                string
	}{
		{"?test=true", "", "", "simulated"},
		{"?test=TRUE", "", "", "simulated"},
		{"?test=true", "Cookie: session=1", "", "live"},
		{"?test=live", "Cookie: session=1", "Sec-Fetch-Site: same-origin", "live"},
		{"?test=true", "Cookie: session=1", "Sec-Fetch-Site: cross-site", "simulated"},
		{"?test=live", "Cookie: session=1", "Sec-Fetch-Site: cross-site", "401"},
		{"?test=live", "", "", "401"},
		{"?test=maybe", "", "", ""}, // the sender's own
	} {
		h := b.call(http.MethodGet, "/webhook/open"+c.query, http.NoBody, c.cookie, c.site)
		got := b.desk.last().Test
		if h.status == http.StatusUnauthorized {
			got = "401"
		}
		if got != c.want {
			t.Errorf("%v became %q, want %q", c, got, c.want)
		}
	}
}

func TestCallerWhoLeavesCancelsNothing(t *testing.T) {
	b := newBooth(t, Options{}, Target{ID: "open", Sync: true})
	b.desk.entered, b.desk.leave = make(chan struct{}), make(chan struct{})
	server := serve(t, b)
	ctx, leave := context.WithCancel(t.Context())
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/webhook/open", strings.NewReader("{}"))
	noError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(q)
		done <- err
	}()
	wait(t, b.desk.entered)
	leave()
	if err := wait(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	close(b.desk.leave)
	noError(t, b.Close(t.Context()))
	if b.desk.count() != 1 {
		t.Errorf("%d executions, want 1", b.desk.count())
	}
}

func TestCallersBeyondThoseWhoMayWaitAreToldWhereToLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{Limits: Limits{Waiters: 1}}, Target{ID: "open", Sync: true})
		done := make(chan heard, 1)
		go func() { done <- b.call(http.MethodGet, "/webhook/open", http.NoBody) }()
		synctest.Wait()
		if s := b.Stats(); s.Waiting != 1 || s.Requests != 1 {
			t.Errorf("the gauges say %+v", s)
		}
		began := time.Now()
		if h := b.call(http.MethodGet, "/webhook/open", http.NoBody); h.status != http.StatusAccepted || time.Since(began) != 0 {
			t.Errorf("the second was answered %d after %s", h.status, time.Since(began))
		}
		b.desk.end(1, Receipt{Status: "completed"})
		if h := <-done; h.status != http.StatusOK {
			t.Errorf("the first was answered %d", h.status)
		}
		if s := b.Stats(); s.Waiting != 0 || s.Requests != 0 {
			t.Errorf("the gauges say %+v", s)
		}
	})
}

// The server's own times end neither a slow upload nor a wait.
func TestServersTimesEndNothing(t *testing.T) {
	t.Parallel()
	b := newBooth(t, Options{}, Target{ID: "open", Sync: true})
	server := httptest.NewUnstartedServer(b)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 5*time.Second, 5*time.Second
	server.Start()
	defer server.Close()
	for n, slow := range []bool{true, false} {
		var body io.Reader = http.NoBody
		if slow {
			r, w := io.Pipe()
			go func() {
				w.Write([]byte("slow"))
				time.Sleep(5500 * time.Millisecond)
				w.Write([]byte("ly"))
				w.Close()
			}()
			body = r
		}
		go func() {
			for b.Stats().Waiting == 0 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(5500 * time.Millisecond)
			b.desk.end(int64(n+1), Receipt{Status: "completed"})
		}()
		answer, err := http.Post(server.URL+"/webhook/open", "image/png", body)
		noError(t, err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("slow: %t, it answered %s", slow, answer.Status)
		}
	}
}

func TestCloseAnswersWaitersAndLeaksNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, Options{}, Target{ID: "open", Sync: true})
		began := time.Now()
		answers := make(chan heard, 3)
		for range 3 {
			go func() { answers <- b.call(http.MethodGet, "/webhook/open", http.NoBody) }()
		}
		synctest.Wait()
		noError(t, b.Close(t.Context()))
		for range 3 {
			if h := <-answers; h.status != http.StatusAccepted {
				t.Errorf("who waited got %d", h.status)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("closing took %s", took)
		}
		h := b.call(http.MethodGet, "/webhook/open", http.NoBody)
		if h.wantProblem(t, http.StatusServiceUnavailable, "draining"); h.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
		noError(t, b.Close(t.Context()))
	})
	goleak.VerifyNone(t, before)
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	b := newBooth(t, Options{})
	b.desk.entered, b.desk.leave = make(chan struct{}), make(chan struct{})
	done := make(chan heard, 1)
	go func() { done <- b.call(http.MethodGet, "/webhook/open", http.NoBody) }()
	wait(t, b.desk.entered)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); err == nil {
		t.Error("it said that nothing is under way")
	}
	close(b.desk.leave)
	noError(t, b.Close(t.Context()))
	if h := wait(t, done); h.status != http.StatusAccepted {
		t.Errorf("the request under way got %d", h.status)
	}
}

func TestResultsAreCountedUnderBoundedNames(t *testing.T) {
	var counted tally
	for n := range 1000 {
		counted.count(fmt.Sprint("code_", n))
	}
	all := counted.all()
	if len(all) != mostCodes+1 || all["other"] != 1000-mostCodes {
		t.Errorf("%d codes, %d under other", len(all), all["other"])
	}
	if !slices.Contains([]uint64{1}, all["code_0"]) {
		t.Errorf("the first is counted %d times", all["code_0"])
	}
}

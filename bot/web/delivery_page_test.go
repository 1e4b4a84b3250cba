package web_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot/webhook"
	"frontdesk/store"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// heard is a delivery as it came.
type heard struct {
	header http.Header
	body   []byte
}

// listener is somebody else's system. It answers with status, and keeps what came.
type listener struct {
	*httptest.Server

	status atomic.Int64

	mu  sync.Mutex
	got []heard // guarded by mu
}

func newListener(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.status.Store(http.StatusOK)
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, heard{r.Header, body})
		if l.status.Load() == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "600")
		}
		w.WriteHeader(int(l.status.Load()))
	}))
	t.Cleanup(l.Close)
	return l
}

// verifies says whether a delivery that came is signed by a secret, as receivers find out.
func (l *listener) verifies(t *testing.T, i int, secret string) bool {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	return v.Verify(l.got[i].body, l.got[i].header) == nil
}

// ids are the webhook-ids of what came.
func (l *listener) ids() (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.got {
		ids = append(ids, one.header.Get("webhook-id"))
	}
	return ids
}

// delivering has the house deliver what happens from now on.
func (h *house) delivering() *webhook.Deliverer {
	h.t.Helper()
	d := webhook.NewDeliverer(webhook.DelivererOptions{Store: h.store, HTTP: http.DefaultClient, Process: "web"})
	must(h.t, d.Start(h.t.Context()))
	h.t.Cleanup(func() { must(h.t, d.Close(context.Background())) })
	return d
}

// written stores a message of a customer.
func (h *house) written(account int64, waID string) {
	h.t.Helper()
	_, err := h.store.Receive(h.t.Context(), store.Inbound{
		AccountID: account, Phone: "12025550123", Chat: "12025550123@s.whatsapp.net", WaID: waID, Kind: "text", Body: "hello", SentAt: time.Now(),
	})
	must(h.t, err)
}

var madeSecret = regexp.MustCompile(`id="made-secret"[^>]*value="(whsec_[^"]+)"`)

// shownSecret is the secret that a page shows.
func shownSecret(t *testing.T, page string) string {
	t.Helper()
	found := madeSecret.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page shows no secret: %s", page)
	}
	return strings.ReplaceAll(found[1], "&#43;", "+")
}

func TestDeliveryIsSeenToArriveToFailAndToComeAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c, receiver := h.signedIn(), newListener(t)
	contains(t, h.page(c, "/deliveries", http.StatusOK), "Nobody is told yet.")
	h.post(c, "/deliveries", http.StatusOK, "url", receiver.URL+"/hook?key=sesame", "label", "Shop", "events", "message.*")
	h.delivering()
	const page = "/deliveries/1"
	contains(t, h.page(c, page, http.StatusOK), "None yet", "Hears of messages, of all accounts.", "Nothing waits.")

	h.written(account, "A")
	shown := h.eventually(c, page, "The receiver answered 200 ·")
	contains(t, shown, "message.received", `class="badge good">delivered`, `href="/conversations/1"`, ">#1<", `hx-get="`+page+`/live"`, `data-room="all"`)

	receiver.status.Store(http.StatusInternalServerError)
	h.written(account, "B")
	h.eventually(c, page, "Nothing has arrived since")
	shown = h.eventually(c, page, "failed: the receiver answered 500. The next try is at")
	contains(t, shown, "After five days of that it is switched off.", `class="badge warn">waiting`, `class="badge warn">failing`, "1 delivery waits.")
	contains(t, h.page(c, "/deliveries", http.StatusOK), "Nothing has arrived since", "1 delivery waits.")
	h.written(account, "C")
	h.eventually(c, page, "It waits for an earlier one of the same conversation.")

	receiver.status.Store(http.StatusOK)
	must(t, h.store.Skew(t.Context(), 10*time.Minute)) // whichever try comes next is due
	h.eventually(c, page, "The receiver answered 200, after ")
	h.eventually(c, page, "Nothing waits.")
	shown = h.eventually(c, page, `class="badge good">on`)
	lacks(t, shown, "Nothing has arrived since", "failing")
	contains(t, shown, page+"/again/1")
	before := receiver.ids()
	if to := h.post(c, page+"/again/1?status=delivered", http.StatusSeeOther); to != page+"?status=delivered#deliveries" {
		t.Errorf("it leads to %q", to)
	}
	h.eventually(c, page+"/live", "Nothing waits.")
	if got := receiver.ids(); len(got) != len(before)+1 || got[len(got)-1] != got[0] {
		t.Errorf("the receiver got %v, then %v", before, got)
	}
	to := h.post(c, page+"/again", http.StatusSeeOther, "since", time.Now().Add(-time.Minute).Format("2006-01-02T15:04"))
	contains(t, h.page(c, to, http.StatusOK), "3 deliveries go out once more.")
	h.eventually(c, page+"/live", "Nothing waits.")
	if got := receiver.ids(); len(got) != len(before)+4 {
		t.Errorf("the receiver got %v, then %v", before, got)
	}
}

func TestReceiverThatIsGoneIsSwitchedOffByItselfAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c, receiver := h.signedIn(), newListener(t)
	h.post(c, "/deliveries", http.StatusOK, "url", receiver.URL, "label", "Shop", "events", "message.*")
	d := h.delivering()
	receiver.status.Store(http.StatusGone)
	h.written(account, "A")
	d.Wake()
	shown := h.eventually(c, "/deliveries/1", "Switched off by itself: its receiver answered 410, it is gone.")
	contains(t, shown, "<b>Next step:</b> mend the receiver", "Given up, as the receiver wants no more. One try failed: the receiver answered 410", "Nothing waits; 1 was given up.", `class="badge bad">given up`, "Switch it on first.", "Switch on")
	lacks(t, shown, "Deliver again</button>")
	contains(t, h.page(c, "/deliveries", http.StatusOK), "Switched off by itself", "Next step:")
	contains(t, h.page(c, "/accounts", http.StatusOK), `href="/deliveries/1">Outgoing webhook 1 (Shop) was switched off`, `href="/deliveries">Tell other systems`)
	lacks(t, h.page(h.as(store.RoleAgent), "/accounts", http.StatusOK), `href="/deliveries`)
	contains(t, h.post(c, "/deliveries/1/again", http.StatusConflict, "since", "2026-01-02T03:04"), "switched off; switch it on first")
	h.post(c, "/deliveries/1/again/1", http.StatusConflict)

	receiver.status.Store(http.StatusOK)
	h.post(c, "/deliveries/1/on", http.StatusSeeOther)
	contains(t, h.page(c, "/deliveries/1?status=dead", http.StatusOK), `action="/deliveries/1/again/1?status=dead"`)
	h.post(c, "/deliveries/1/again/1?status=dead", http.StatusSeeOther)
	h.eventually(c, "/deliveries/1", "The receiver answered 200 ·")
	lacks(t, h.page(c, "/deliveries/1", http.StatusOK), "Switched off by itself", "given up.")
}

func TestReceiverThatAskedToBeLeftAloneIsNamedWithTheTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c, receiver := h.signedIn(), newListener(t)
	h.post(c, "/deliveries", http.StatusOK, "url", receiver.URL, "events", "message.*")
	h.delivering()
	receiver.status.Store(http.StatusServiceUnavailable)
	h.written(account, "A")
	contains(t, h.eventually(c, "/deliveries/1", "The receiver asked to be left alone until <time"), "One try failed: the receiver answered 503. The next try is at <time")
	h.post(c, "/deliveries/1/off", http.StatusSeeOther)
	lacks(t, h.page(c, "/deliveries/1", http.StatusOK), "left alone")
	contains(t, h.page(c, "/deliveries/1", http.StatusOK), "Given up when the webhook was switched off. One try failed: the receiver answered 503 · <time")
}

func TestSigningSecretIsShownOnceAndTheOldOneSignsUntilItIsForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c, receiver := h.signedIn(), newListener(t)
	made := h.post(c, "/deliveries", http.StatusOK, "url", receiver.URL, "events", "message.*")
	contains(t, made, "shown this once", "webhook-signature", "webhook-timestamp", "Standard Webhooks", "copy.js")
	first := shownSecret(t, made)
	lacks(t, h.page(c, "/deliveries", http.StatusOK), first, "made-secret")

	rotated := h.post(c, "/deliveries/1/rotate", http.StatusOK)
	second := shownSecret(t, rotated)
	contains(t, rotated, "Forget the old secret")
	lacks(t, h.page(c, "/deliveries/1", http.StatusOK), second, first)
	h.delivering()
	h.written(account, "A")
	h.eventually(c, "/deliveries/1", "The receiver answered 200 ·")
	h.post(c, "/deliveries/1/forget", http.StatusSeeOther)
	lacks(t, h.page(c, "/deliveries/1", http.StatusOK), "Forget the old secret")
	h.post(c, "/deliveries/1/again/1", http.StatusSeeOther)
	h.eventually(c, "/deliveries/1", "Nothing waits.")
	for i, want := range []map[string]bool{{first: true, second: true}, {first: false, second: true}} {
		for secret, good := range want {
			if signed := receiver.verifies(t, i, secret); signed != good {
				t.Errorf("delivery %d is signed by the newer secret (%t): %t, want %t", i+1, secret == second, signed, good)
			}
		}
	}
}

func TestSubscriptionFormKeepsWhatWasTypedAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.paired("12025550111")
	c := h.signedIn()
	for says, fields := range map[string][]string{
		"must look like https://":          {"url", "shop.example", "events", "*"},
		"must begin with https":            {"url", "http://shop.example/hook", "events", "*"},
		"must not carry a password":        {"url", "https://me:sesame@shop.example/hook", "events", "*"},
		"name 1 to 50 events":              {"url", "https://shop.example/hook"},
		"is not an event; they look like":  {"url", "https://shop.example/hook", "types", "message.received, Shout!"},
		"there is no account with this id": {"url", "https://shop.example/hook", "events", "*", "account", "77"},
		"there is no account with this":    {"url", "https://shop.example/hook", "events", "*", "account", "me"},
		"the label is longer than 200":     {"url", "https://shop.example/hook", "events", "*", "label", "Typed with care" + strings.Repeat("x", 200)},
	} {
		if fields[len(fields)-2] != "label" {
			fields = append(fields, "label", "Typed with care")
		}
		page := h.post(c, "/deliveries", http.StatusUnprocessableEntity, fields...)
		contains(t, page, says, `role="alert"`, "Typed with care", strings.NewReplacer("&", "&amp;").Replace(fields[1]))
		if fields[2] == "events" {
			contains(t, page, `value="*" checked`)
		}
	}
	if all, err := h.store.Subscriptions(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%d subscriptions were made: %v", len(all), err)
	}
}

func TestSubscriptionIsChangedSwitchedOffAndOnAndRemoved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c := h.signedIn()
	a := h.visit(c, http.MethodPost, "/deliveries", "url=https://shop.example/hook%3Fkey=sesame&events=message.*&events=execution.*&types=step.failed,+message.*%0Aaccount.qr")
	contains(t, a.body, "Hears of messages, executions of flows, step.failed and account.qr, of all accounts.", ">shop.example</a>")
	lacks(t, a.body, "sesame") // an address may hold a key
	const page = "/deliveries/1"
	contains(t, h.page(c, page, http.StatusOK), "https://shop.example/hook?key=sesame", `value="message.*" checked`, `value="execution.*" checked`, `value="step.failed, account.qr"`)
	contains(t, h.post(c, page, http.StatusUnprocessableEntity, "url", "https://shop.example/hook", "label", "Typed with care"), "name 1 to 50 events", "Typed with care", "<details open>")
	to := h.post(c, page, http.StatusSeeOther, "url", "https://shop.example/other", "label", "Shop", "events", "*", "account", fmt.Sprint(account))
	contains(t, h.page(c, to, http.StatusOK), "Saved.", "<h1>Shop</h1>", "Hears of everything, of Front desk.", fmt.Sprintf(`data-room="account:%d"`, account))

	h.post(c, page+"/off", http.StatusSeeOther)
	shown := h.page(c, page, http.StatusOK)
	contains(t, shown, "It is told of nothing while it is off.", "Switch on", "Switch it on first.")
	lacks(t, shown, "Switched off by itself", page+"/off")
	contains(t, h.page(c, "/deliveries/live", http.StatusOK), "It is told of nothing while it is off.", `hx-get="/deliveries/live"`)
	h.post(c, page+"/on", http.StatusSeeOther)
	stored, err := h.store.Subscription(t.Context(), 1)
	must(t, err)
	if !stored.IsActive || stored.URL != "https://shop.example/other" || stored.Label != "Shop" || *stored.AccountID != account {
		t.Errorf("stored %+v", stored)
	}
	contains(t, h.post(c, page+"/again", http.StatusUnprocessableEntity, "since", "yesterday"), "Choose a day and a time.", `value="yesterday"`)
	to = h.post(c, page+"/again", http.StatusSeeOther, "since", "2026-01-02T03:04:05")
	contains(t, h.page(c, to, http.StatusOK), "Nothing that happened since then is kept here")
	h.post(c, page+"/sideways", http.StatusNotFound)
	if to := h.post(c, page+"/remove", http.StatusSeeOther); to != "/deliveries" {
		t.Errorf("removing leads to %q", to)
	}
	h.page(c, page, http.StatusNotFound)
	h.post(c, page+"/remove", http.StatusNotFound)
}

func TestDeliveriesAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	c := h.signedIn()
	for _, label := range []string{"Shop", "Other"} {
		h.post(c, "/deliveries", http.StatusOK, "url", "https://shop.example/hook", "label", label, "events", "message.*")
	}
	must(t, h.store.OpenDeliveries(t.Context()))
	for i := range 60 {
		h.written(account, fmt.Sprint("A", i))
	}
	for end := time.Now().Add(time.Minute); ; {
		found, err := h.store.Deliveries(t.Context(), 0, "", store.Page{Limit: 200})
		must(t, err)
		if len(found) == 120 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d deliveries", len(found))
		}
		_, err = h.store.DispatchDeliveries(t.Context(), 500)
		must(t, err)
	}
	numbers := regexp.MustCompile(`>#(\d+)</span>`)
	shown := func(page string) (all []string) {
		for _, found := range numbers.FindAllStringSubmatch(page, -1) {
			all = append(all, found[1])
		}
		return all
	}
	newest := h.page(c, "/deliveries/1", http.StatusOK)
	if got := shown(newest); len(got) != 50 || got[0] != "60" || got[49] != "11" {
		t.Fatalf("the page shows %v", got)
	}
	contains(t, newest, "60 deliveries wait.")
	older := regexp.MustCompile(`href="(/deliveries/1\?after=\d+)">Older`).FindStringSubmatch(newest)
	if older == nil {
		t.Fatal("there is no older page")
	}
	rest := h.page(c, older[1], http.StatusOK)
	if got := shown(rest); len(got) != 10 || got[0] != "10" || got[9] != "1" {
		t.Errorf("the older page shows %v", got)
	}
	contains(t, rest, `hx-get="`+strings.Replace(older[1], "/1?", "/1/live?", 1)+`"`)

	h.post(c, "/deliveries/1/off", http.StatusSeeOther)
	for query, want := range map[string]int{"?status=dead": 50, "?status=waiting": 0, "?status=delivered": 0, "?status=nonsense": 50} {
		if got := shown(h.page(c, "/deliveries/1"+query, http.StatusOK)); len(got) != want {
			t.Errorf("%q shows %d, want %d", query, len(got), want)
		}
	}
	contains(t, h.page(c, "/deliveries/1?status=dead", http.StatusOK), "Given up when the webhook was switched off ·", `aria-current="true">Given up`, "status=dead\">Older")
	h.page(c, "/deliveries/1?after=nonsense", http.StatusUnprocessableEntity)
	found, err := h.store.Deliveries(t.Context(), 2, "", store.Page{Limit: 1})
	must(t, err)
	h.post(c, "/deliveries/1/on", http.StatusSeeOther)
	h.post(c, fmt.Sprint("/deliveries/1/again/", found[0].ID), http.StatusNotFound) // of another one
	h.post(c, "/deliveries/1/again/x", http.StatusNotFound)
}

func TestOnlyAdminsSeeDeliveries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, admin := h.signedIn(), h.as(store.RoleAdmin)
	h.post(admin, "/deliveries", http.StatusOK, "url", "https://shop.example/hook", "events", "*")
	contains(t, h.page(admin, "/flows", http.StatusOK), `href="/deliveries"`)
	contains(t, h.page(owner, "/deliveries", http.StatusOK), "shop.example", `href="/flows" aria-current="true"`)
	for _, c := range []*http.Client{h.as(store.RoleViewer), h.as(store.RoleAgent)} {
		lacks(t, h.page(c, "/flows", http.StatusOK), `href="/deliveries"`)
		for _, path := range []string{"/deliveries", "/deliveries/live", "/deliveries/1", "/deliveries/1/live"} {
			h.page(c, path, http.StatusForbidden)
		}
		for _, path := range []string{"/deliveries", "/deliveries/1", "/deliveries/1/off", "/deliveries/1/again", "/deliveries/1/again/1", "/deliveries/1/rotate", "/deliveries/1/remove"} {
			h.post(c, path, http.StatusForbidden)
		}
	}
	if a := h.visit(browser(t), http.MethodGet, "/deliveries", ""); a.header.Get("Location") != "/sign-in" {
		t.Errorf("a stranger got %d", a.status)
	}
}

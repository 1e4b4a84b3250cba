package webhook_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/webhook"
	"frontdesk/providers"
	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestReceiverVerifiesWithTheOfficialLibrary(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	c, first := h.subscribe(r, "message.*")
	h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	got := r.wait(1)[0]
	got.verify(t, first)
	if got.header.Get("User-Agent") != "frontdesk" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers: %v", got.header)
	}

	second, err := h.RotateSubscriptionSecret(t.Context(), c.ID, "")
	must(t, err)
	h.write("77770000001", "B", "hello")
	got = r.wait(2)[1]
	got.verify(t, first)
	got.verify(t, second)

	must(t, h.ForgetOldSubscriptionSecret(t.Context(), c.ID))
	h.write("77770000001", "C", "hello")
	got = r.wait(3)[2]
	got.verify(t, second)
	old, err := standardwebhooks.NewWebhook(first)
	must(t, err)
	if old.Verify(got.text, got.header) == nil {
		t.Error("the forgotten secret still signs")
	}
}

func TestBodyHasTheEventAndTheMessageInFamiliarShape(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "message.*")
	h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	got := r.wait(1)[0].body
	payload, _ := got["payload"].(map[string]any)
	for path, want := range map[string]any{
		"type": "message.received", "event": "message", "session": fmt.Sprint(h.account), "test": false, "seq": 0.0, "epoch": 0.0,
		"payload.id": "false_77770000001@c.us_A", "payload.from": "77770000001@c.us", "payload.to": "12025550111@c.us", "payload.fromMe": false,
		"payload.body": "hello", "payload.hasMedia": false, "payload.media": nil, "payload.ack": 1.0, "payload.ackName": "SERVER",
	} {
		name, inner := strings.CutPrefix(path, "payload.")
		value := got[name]
		if inner {
			value = payload[name]
		}
		if value != want {
			t.Errorf("%s is %v, want %v", path, value, want)
		}
	}
	if delivery, _ := got["delivery"].(map[string]any); delivery["seq"] != 1.0 {
		t.Errorf("delivery: %v", got["delivery"])
	}
}

func TestFileOfAMessageIsAnAddressOfTheAPI(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "message.*")
	h.write("77770000001", "A", "look")
	h.exec(`with f as (insert into file (name, label, mime, bytes, sha256) values ('x', 'invoice.pdf', 'application/pdf', 1, '') returning id)
		insert into media (message_id, account_id, state, reference, file_id) select m.id, $1, 'stored', '', f.id from message m, f`, h.account)
	h.deliver(h.Store)
	payload, _ := r.wait(1)[0].body["payload"].(map[string]any)
	media, _ := payload["media"].(map[string]any)
	if payload["hasMedia"] != true || media["url"] != "https://desk.example.org/api/v1/files/1" || media["mimetype"] != "application/pdf" || media["filename"] != "invoice.pdf" {
		t.Errorf("payload: %v", payload)
	}
}

func TestStepOfAnExecutionStandsBesideItsData(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "step.*")
	h.deliver(h.Store)
	h.exec(`insert into event (type, execution_id, epoch, seq, test, data)
		values ('step.completed', 17, 2, 5, true, '{"step": {"id": "ask"}, "took": 3}')`)
	got := r.wait(1)[0].body
	if step, _ := got["step"].(map[string]any); step["id"] != "ask" {
		t.Errorf("step: %v", got["step"])
	}
	data, _ := got["data"].(map[string]any)
	if got["id"] != "17:5" || got["execution_id"] != 17.0 || got["epoch"] != 2.0 || got["test"] != true || len(data) != 1 || got["payload"] != nil {
		t.Errorf("body: %v", got)
	}
}

func TestFailedDeliveryFollowsTheScheduleAndDies(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(int, http.ResponseWriter) int { return http.StatusInternalServerError })
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	waits := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for i, wait := range waits {
		row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == i+1 })
		if after := row.DueAt.Sub(*row.TriedAt); after < wait || after > wait+wait/10+2*time.Second {
			t.Errorf("after %d failures it waits %v, want %v and up to a tenth more", i+1, after, wait)
		}
		h.skew(time.Until(row.DueAt) + time.Second)
		d.Wake()
	}
	row := h.await(c, "is dead", func(row store.Delivery) bool { return row.Status == "dead" })
	if row.Reason != "tries" || row.Tries != 10 || row.Answered != 500 || !strings.Contains(row.Failure, "500") {
		t.Errorf("it died so: %+v", row)
	}
	ids := map[string]bool{}
	for _, got := range r.wait(10) {
		ids[got.header.Get("webhook-id")] = true
	}
	if len(ids) != 1 {
		t.Errorf("ten tries had %d ids", len(ids))
	}
	h.until("all is counted", func() bool { s := d.Stats(); return s.Failed == 10 && s.Dead == 1 && s.Arrived == 0 })
}

func TestConversationKeepsItsOrderUntilTheThirdFailure(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(n int, _ http.ResponseWriter) int {
		if n <= 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	for _, id := range []string{"A", "B", "C"} {
		h.write("77770000001", id, id)
	}
	for i := range 3 {
		row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == i+1 })
		if i < 2 {
			h.skew(time.Until(row.DueAt) + time.Second)
			d.Wake()
		}
	}
	var words []string
	for _, got := range r.wait(5) {
		words = append(words, got.words())
	}
	if got := strings.Join(words, ""); got != "AAABC" {
		t.Errorf("the receiver read %s, want AAABC", got)
	}
}

func TestMessagesOfOneConversationArriveInOrder(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "message.received")
	h.deliver(h.Store)
	var want, words []string
	for i := range 30 {
		want = append(want, fmt.Sprint(i))
		h.write("77770000001", fmt.Sprint("A", i), fmt.Sprint(i))
	}
	for _, got := range r.wait(30) {
		words = append(words, got.words())
	}
	if !slices.Equal(words, want) {
		t.Errorf("the receiver read %v", words)
	}
}

// A process that dies after the receiver has answered and before that is written down
// leaves only its claim.
func TestDeliveryThatWasNotMarkedComesAgainWithItsId(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "message.received")
	d := h.deliver(&forgetful{Store: h.Store, times: 1})
	h.write("77770000001", "A", "hello")
	first := r.wait(1)[0]
	h.until("the try has ended", func() bool { return d.Stats().UnderWay == 0 })
	h.skew(31 * time.Second)
	d.Wake()
	if again := r.wait(2)[1]; again.header.Get("webhook-id") != first.header.Get("webhook-id") {
		t.Errorf("it came again as %s, not %s", again.header.Get("webhook-id"), first.header.Get("webhook-id"))
	}
}

func TestTwoProcessesDeliverEachOnce(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "*")
	h.deliver(h.Store)
	h.deliver(h.Store)
	const events = 300
	h.exec(`insert into event (type, execution_id) select 'x', n % 40 from generate_series(1, $1) as n`, events)
	seen := map[string]int{}
	for _, got := range r.wait(events) {
		seen[got.header.Get("webhook-id")]++
	}
	h.untilDelivered(events)
	if n := len(r.all()); len(seen) != events || n != events {
		t.Errorf("%d of %d events in %d requests", len(seen), events, n)
	}
}

func TestDeadLettersAndEverythingSinceAreReplayed(t *testing.T) {
	h := newHouse(t)
	well := false
	r := h.receiver(func(int, http.ResponseWriter) int {
		if well {
			return http.StatusNoContent
		}
		return http.StatusInternalServerError
	})
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	start, err := h.Now(t.Context())
	must(t, err)
	h.write("77770000001", "A", "hello")
	h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	h.exec(`update delivery set tries = 9, due_at = clock()`)
	d.Wake()
	dead := h.await(c, "is dead", func(row store.Delivery) bool { return row.Status == "dead" })
	r.mu.Lock()
	well = true
	r.mu.Unlock()
	must(t, h.ReplayDelivery(t.Context(), dead.ID))
	d.Wake()
	h.untilDelivered(1)
	if n, err := h.ReplayDeliveries(t.Context(), c.ID, start); err != nil || n != 1 {
		t.Fatalf("%d replayed, %v", n, err)
	}
	d.Wake()
	for i, got := range r.wait(4) {
		if id := got.header.Get("webhook-id"); id != fmt.Sprint("msg_", dead.ID) {
			t.Errorf("try %d has the id %s", i+1, id)
		}
	}
}

func TestGoneReceiverIsSwitchedOffAloud(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(int, http.ResponseWriter) int { return http.StatusGone })
	c, _ := h.subscribe(r, "message.received")
	h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	h.await(c, "is dead", func(row store.Delivery) bool { return row.Reason == "gone" })
	h.until("it is said", func() bool { return strings.Contains(h.log.String(), `msg="Outgoing webhook was switched off"`) })
	off, err := h.Subscription(t.Context(), c.ID)
	must(t, err)
	open, err := h.Alerts(t.Context(), false, store.Page{Limit: 10})
	must(t, err)
	if off.IsActive || len(open) != 1 {
		t.Errorf("active: %v, alerts: %+v", off.IsActive, open)
	}
}

func TestFiveDaysOfFailuresSwitchOffAloud(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(int, http.ResponseWriter) int { return http.StatusBadGateway })
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	h.skew(5*24*time.Hour - time.Minute)
	d.Wake()
	h.await(c, "is marked again", func(row store.Delivery) bool { return row.Tries == 2 })
	h.skew(5*24*time.Hour + 10*time.Minute)
	d.Wake()
	h.until("it is said", func() bool { return strings.Contains(h.log.String(), "nothing has arrived there for 5 days") })
	if off, err := h.Subscription(t.Context(), c.ID); err != nil || off.IsActive {
		t.Errorf("active: %v, %v", off.IsActive, err)
	}
}

func TestRedirectIsAFailure(t *testing.T) {
	h := newHouse(t)
	target := h.receiver(nil)
	r := h.receiver(func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Location", target.URL)
		return http.StatusTemporaryRedirect
	})
	c, _ := h.subscribe(r, "message.received")
	h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	if row.Answered != http.StatusTemporaryRedirect || !strings.Contains(row.Failure, "redirect") || len(target.all()) != 0 {
		t.Errorf("a redirect: %+v, followed %d times", row, len(target.all()))
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	h := newHouse(t)
	h.client = providers.Guarded(nil)
	r := h.receiver(nil)
	c, _ := h.subscribe(r, "message.received")
	h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	if len(r.all()) != 0 || row.Answered != 0 || !strings.Contains(row.Failure, "cannot be reached") {
		t.Errorf("a private address: %+v, called %d times", row, len(r.all()))
	}
}

func TestHangingReceiversDoNotDelayOthers(t *testing.T) {
	h := newHouse(t)
	release := make(chan struct{})
	defer close(release)
	for range 3 {
		hangs := h.receiver(func(int, http.ResponseWriter) int { <-release; return http.StatusOK })
		hangs.mu = nil // they all hang at once
		h.subscribe(hangs, "*")
	}
	r := h.receiver(nil)
	h.subscribe(r, "*")
	d := h.deliver(h.Store, func(o *webhook.DelivererOptions) { o.Try = 10 * time.Minute })
	h.exec(`insert into event (type, execution_id) select 'x', n from generate_series(1, 100) as n`)
	r.wait(100)
	h.until("all but those that hang have ended", func() bool { return d.Stats().UnderWay == 12 })
	if s := d.Stats(); s.Failed != 0 {
		t.Errorf("the others had to wait for %d tries that hung", s.Failed)
	}
}

func TestBusyReceiverIsLeftAlone(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Retry-After", "120")
		return http.StatusServiceUnavailable
	})
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	if wait := row.DueAt.Sub(*row.TriedAt); wait < 2*time.Minute || wait > 3*time.Minute {
		t.Errorf("it waits %v, want the two minutes that were asked for", wait)
	}
	h.write("77770000002", "B", "hello")
	h.until("the second is made", func() bool { return d.Stats().Dispatched == 2 })
	for range 3 {
		d.Wake()
		time.Sleep(20 * time.Millisecond)
	}
	if n := len(r.all()); n != 1 {
		t.Errorf("a receiver that asked for rest was called %d times", n)
	}
	h.skew(3 * time.Minute)
	d.Wake()
	r.wait(2)
}

func TestCloseCutsOffAndTheNextStartDelivers(t *testing.T) {
	h := newHouse(t)
	release := make(chan struct{})
	r := h.receiver(func(n int, _ http.ResponseWriter) int {
		if n == 1 {
			<-release
		}
		return http.StatusOK
	})
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	h.write("77770000001", "A", "hello")
	first := r.wait(1)[0]
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, d.Close(within))
	must(t, d.Close(within))
	close(release)
	if row := h.await(c, "is free", func(row store.Delivery) bool { return row.Status == "waiting" }); row.Tries != 0 {
		t.Errorf("being cut off counted as a failure: %+v", row)
	}
	h.deliver(h.Store)
	if again := r.wait(2)[1]; again.header.Get("webhook-id") != first.header.Get("webhook-id") {
		t.Error("it came again under another id")
	}
	h.untilDelivered(1)
}

// L32.
func TestCloseLeavesNothingRunning(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	h.subscribe(r, "message.received")
	before := goleak.IgnoreCurrent()
	h.write("77770000001", "A", "hello")
	way := &http.Transport{}
	d := webhook.NewDeliverer(webhook.DelivererOptions{Store: h.Store, HTTP: &http.Client{Transport: way}, Process: "p"})
	must(t, d.Close(t.Context()))
	must(t, d.Start(t.Context()))
	r.wait(1)
	must(t, d.Close(t.Context()))
	way.CloseIdleConnections()
	r.CloseClientConnections()
	h.until("all goroutines have ended", func() bool {
		return goleak.Find(before, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
			goleak.IgnoreAnyFunction("github.com/jackc/puddle/v2.(*Pool[...]).initResourceValue")) == nil
	})
}

func TestErasedMessageHasNoBody(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(func(n int, _ http.ResponseWriter) int {
		if n == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	c, _ := h.subscribe(r, "message.received")
	d := h.deliver(h.Store)
	h.write("77770000001", "A", "my secret")
	h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	h.exec(`delete from message`)
	h.skew(time.Minute)
	d.Wake()
	got := r.wait(2)
	if !bytes.Contains(got[0].text, []byte("my secret")) {
		t.Error("the first try had no words")
	}
	if bytes.Contains(got[1].text, []byte("secret")) || got[1].body["payload"] != nil || got[1].body["type"] != "message.received" {
		t.Errorf("after the message was erased: %s", got[1].text)
	}
	if strings.Contains(h.log.String(), "secret") {
		t.Error("the log holds words of a customer")
	}
}

func TestPanicOfOneDeliveryIsAFailure(t *testing.T) {
	h := newHouse(t)
	r := h.receiver(nil)
	c, _ := h.subscribe(r, "message.received")
	h.deliver(&broken{h.Store})
	h.write("77770000001", "A", "hello")
	row := h.await(c, "is marked", func(row store.Delivery) bool { return row.Tries == 1 })
	if !strings.Contains(row.Failure, "the log has more") || !strings.Contains(h.log.String(), "no way") {
		t.Errorf("a panic: %+v", row)
	}
}

// house is an installation with one account; customers write to it.
type house struct {
	*store.Store

	t       *testing.T
	db      *pgx.Conn // to look behind the store
	account int64
	client  *http.Client
	log     *logbook
	skewed  time.Duration
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dsn := pgtest.Database(t)
	s, err := store.Open(t.Context(), store.Options{DSN: dsn, Keyring: store.NewKeyring()})
	must(t, err)
	t.Cleanup(s.Close)
	must(t, s.Migrate(t.Context(), func(context.Context, *sql.DB) error { return nil }))
	db, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	t.Cleanup(func() { db.Close(context.Background()) })
	_, err = db.Exec(t.Context(), `set search_path to frontdesk`)
	must(t, err)
	a, err := s.AddAccount(t.Context(), store.KindWhatsApp, "Shop", 100)
	must(t, err)
	must(t, s.SetIdentity(t.Context(), a.ID, "12025550111:1@s.whatsapp.net", "12025550111", ""))
	must(t, s.OpenDeliveries(t.Context()))
	return &house{
		Store: s, t: t, db: db, account: a.ID, log: &logbook{},
		client: providers.Guarded([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}),
	}
}

func (h *house) exec(statement string, args ...any) {
	h.t.Helper()
	_, err := h.db.Exec(h.t.Context(), statement, args...)
	must(h.t, err)
}

// write stores a message of a customer.
func (h *house) write(number, waID, text string) {
	h.t.Helper()
	_, err := h.Receive(h.t.Context(), store.Inbound{
		AccountID: h.account, Phone: number, Chat: number + "@s.whatsapp.net", WaID: waID, Kind: "text", Body: text, SentAt: time.Now(),
	})
	must(h.t, err)
}

func (h *house) subscribe(r *receiver, events ...string) (store.Subscription, string) {
	h.t.Helper()
	c, secret, err := h.AddSubscription(h.t.Context(), store.Subscription{URL: r.URL + "/hook?key=1", Events: events, Label: "shop"}, "")
	must(h.t, err)
	return c, secret
}

// deliver starts a deliverer as one more process.
func (h *house) deliver(s records, change ...func(*webhook.DelivererOptions)) *webhook.Deliverer {
	h.t.Helper()
	o := webhook.DelivererOptions{
		Store: s, HTTP: h.client, Process: store.NewMessageID(), PublicURL: "https://desk.example.org",
		Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	d := webhook.NewDeliverer(o)
	must(h.t, d.Start(h.t.Context()))
	h.t.Cleanup(func() { must(h.t, d.Close(context.Background())) })
	return d
}

// records is what a deliverer reads and writes.
type records interface {
	OpenDeliveries(ctx context.Context) error
	DispatchDeliveries(ctx context.Context, limit int) (store.Dispatch, error)
	ClaimDeliveries(ctx context.Context, c store.DeliveryClaim) ([]store.ClaimedDelivery, error)
	DeliverySecrets(c store.ClaimedDelivery) ([]string, error)
	DeliveryArrived(ctx context.Context, c store.ClaimedDelivery, status int) error
	DeliveryFailed(ctx context.Context, c store.ClaimedDelivery, f store.DeliveryFailure) (store.DeliveryFate, error)
	ReleaseDeliveries(ctx context.Context, process string, ids []int64) error
	AdvanceDeliveries(ctx context.Context) error
	DropDeliveries(ctx context.Context, limit int) (int, error)
}

// skew moves the business clock ahead by d from now.
func (h *house) skew(d time.Duration) {
	h.t.Helper()
	h.skewed = max(h.skewed, d)
	must(h.t, h.Skew(h.t.Context(), h.skewed))
}

// await is the oldest delivery of a subscription once it is as wanted.
func (h *house) await(c store.Subscription, what string, wanted func(store.Delivery) bool) (row store.Delivery) {
	h.t.Helper()
	h.until("the delivery "+what, func() bool {
		rows, err := h.Deliveries(h.t.Context(), c.ID, "", store.Page{Limit: 100})
		must(h.t, err)
		if len(rows) == 0 {
			return false
		}
		row = rows[len(rows)-1]
		return wanted(row)
	})
	return row
}

func (h *house) untilDelivered(n int) {
	h.t.Helper()
	h.until(fmt.Sprint(n, " are marked as delivered"), func() bool {
		rows, err := h.Deliveries(h.t.Context(), 0, "delivered", store.Page{Limit: 1000})
		must(h.t, err)
		return len(rows) == n
	})
}

func (h *house) until(what string, true func() bool) {
	h.t.Helper()
	until(h.t, what, true)
}

func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}

// receiver is somebody's own service. What answer says, with the number of the request
// from 1, is its status.
type receiver struct {
	*httptest.Server

	t   *testing.T
	mu  *sync.Mutex // held while answer runs; nil: it runs beside others
	got []request   // guarded by seen
	see sync.Mutex
}

type request struct {
	header http.Header
	text   []byte
	body   map[string]any
}

func (h *house) receiver(answer func(n int, w http.ResponseWriter) int) *receiver {
	r := &receiver{t: h.t, mu: &sync.Mutex{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		n := r.keep(q)
		status := http.StatusOK
		if answer != nil {
			if r.mu != nil {
				r.mu.Lock()
				defer r.mu.Unlock()
			}
			status = answer(n, w)
		}
		w.WriteHeader(status)
	}))
	h.t.Cleanup(r.Close)
	return r
}

func (r *receiver) keep(q *http.Request) int {
	text, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Error(err)
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		r.t.Error(err)
	}
	r.see.Lock()
	defer r.see.Unlock()
	r.got = append(r.got, request{q.Header, text, body})
	return len(r.got)
}

func (r *receiver) all() []request {
	r.see.Lock()
	defer r.see.Unlock()
	return slices.Clone(r.got)
}

// wait is what came once there are n.
func (r *receiver) wait(n int) []request {
	r.t.Helper()
	until(r.t, fmt.Sprintf("the receiver has %d requests", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

func (q request) verify(t *testing.T, secret string) {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	if err := w.Verify(q.text, q.header); err != nil {
		t.Error(err)
	}
}

func (q request) words() string {
	payload, _ := q.body["payload"].(map[string]any)
	return fmt.Sprint(payload["body"])
}

// forgetful cannot write down what arrived, for a while.
type forgetful struct {
	*store.Store

	mu    sync.Mutex
	times int
}

func (f *forgetful) DeliveryArrived(ctx context.Context, c store.ClaimedDelivery, status int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times--; f.times >= 0 {
		return errors.New("killed")
	}
	return f.Store.DeliveryArrived(ctx, c, status)
}

type broken struct{ *store.Store }

func (broken) DeliverySecrets(store.ClaimedDelivery) ([]string, error) { panic("no way") }

// logbook keeps a log for reading.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

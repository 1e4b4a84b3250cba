package bot_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"go.mau.fi/whatsmeow"
)

// rootKey is shared by every loopback WhatsApp of these tests: whatsmeow trusts
// one root per process.
var rootKey [32]byte

func TestMain(m *testing.M) {
	_, _ = rand.Read(rootKey[:])
	probe, err := wasim.New(wasim.Options{RootKey: rootKey})
	if err != nil {
		panic(err)
	}
	bot.Trust(probe.CertKey())
	whatsmeow.KeepAliveIntervalMin, whatsmeow.KeepAliveIntervalMax, whatsmeow.KeepAliveResponseDeadline = 3*time.Second, 4*time.Second, 2*time.Second
	os.Exit(pgtest.Main(m))
}

// world is a WhatsApp, a database and the managers that stand between them.
type world struct {
	t     testing.TB
	store *store.Store
	wa    *wasim.Server
	files store.Files
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{DSN: pgtest.Database(t), Keyring: store.NewKeyring()})
	must(t, err)
	t.Cleanup(s.Close)
	must(t, s.Migrate(ctx, bot.Upgrade))
	wa, err := wasim.New(wasim.Options{RootKey: rootKey, Log: testLog(t, "wasim")})
	must(t, err)
	must(t, wa.Start(ctx))
	t.Cleanup(func() { must(t, wa.Close(context.Background())) })
	files, err := store.OpenFiles(t.TempDir())
	must(t, err)
	return &world{t: t, store: s, wa: wa, files: files}
}

// testLog shows what happened when a test fails; everything if FRONTDESK_TEST_LOG is set.
func testLog(t testing.TB, of string) *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("FRONTDESK_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})).With("of", of)
}

// manager starts a manager over records, which is the store itself or a faulty one.
func (w *world) manager(id string, change ...func(*bot.Options)) *bot.Manager {
	w.t.Helper()
	client, err := wasim.HTTPClient(w.wa.URL())
	must(w.t, err)
	o := bot.Options{
		Store: w.store, DB: w.store.WhatsApp(), HTTP: client, Log: testLog(w.t, id),
		Process: store.Process{ID: id, Kind: store.KindWhatsApp, Cap: 100}, Files: w.files,
	}
	for _, c := range change {
		c(&o)
	}
	m := bot.New(o)
	must(w.t, m.Start(w.t.Context()))
	w.t.Cleanup(func() { must(w.t, m.Close(context.Background())) })
	return m
}

// pair adds an account and has the phone with that number scan its code. It may
// send as much as it can; see paced.
func (w *world) pair(phone string) int64 {
	w.t.Helper()
	a, err := w.store.AddAccount(w.t.Context(), store.KindWhatsApp, "Front desk", 100)
	must(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	must(w.t, w.wa.Phone(phone).Scan(ctx, w.code(a.ID)))
	w.awaitStatus(a.ID, store.StatusConnected)
	w.paced(a.ID, 0, 0)
	return a.ID
}

// paced lets an account send so much in a rate window: in all, and to one person.
func (w *world) paced(account int64, all, person int) {
	w.t.Helper()
	chats := 10_000
	_, err := w.store.ChangeAccount(w.t.Context(), account, store.AccountChange{PaceAccount: &all, PaceRecipient: &person, NewChatsPerDay: &chats})
	must(w.t, err)
}

// code is the code that the account shows now.
func (w *world) code(account int64) string {
	w.t.Helper()
	var code string
	eventually(w.t, "a code to scan", func() bool {
		p, err := w.store.WantPairing(w.t.Context(), account, time.Minute)
		must(w.t, err)
		code = p.Code
		return p.Fresh
	})
	return code
}

func (w *world) awaitStatus(account int64, status store.Status) store.Account {
	w.t.Helper()
	var a store.Account
	eventually(w.t, "status "+string(status), func() bool {
		var err error
		a, err = w.store.Account(w.t.Context(), account)
		must(w.t, err)
		return a.Status == status
	})
	return a
}

// write has a customer write n numbered messages.
func (w *world) write(customer, phone string, from, n int) {
	w.t.Helper()
	for i := from; i < from+n; i++ {
		_, err := w.wa.Customer(customer).Send(w.t.Context(), phone, fmt.Sprint("message ", i))
		must(w.t, err)
	}
}

// awaitReceived waits until the only conversation with that customer holds n
// messages, and returns their texts in order.
func (w *world) awaitReceived(account int64, n int) []string {
	w.t.Helper()
	var texts []string
	eventually(w.t, fmt.Sprint(n, " messages stored"), func() bool {
		texts = nil
		for _, c := range w.conversations(account) {
			lines, err := w.store.History(w.t.Context(), c.ID, c.LastSeq, 5000)
			must(w.t, err)
			for _, l := range lines {
				if l.Direction == "in" && l.Kind != store.KindUnreadable {
					texts = append(texts, l.Body)
				}
			}
		}
		return len(texts) >= n
	})
	return texts
}

func (w *world) conversations(account int64) []store.ConversationSummary {
	w.t.Helper()
	found, err := w.store.Conversations(w.t.Context(), account, 0, store.Page{Limit: 1000})
	must(w.t, err)
	return found
}

// queue puts n numbered messages to a customer on their way.
func (w *world) queue(m *bot.Manager, account int64, customer string, from, n int) {
	w.t.Helper()
	contact, err := w.store.ResolveContact(w.t.Context(), customer, "", "")
	must(w.t, err)
	var o store.Outbound
	for i := from; i < from+n; i++ {
		o, _, err = w.store.Queue(w.t.Context(), store.Parcel{
			AccountID: account, ContactID: contact, Chat: customer + "@s.whatsapp.net", Origin: "api", Body: fmt.Sprint("answer ", i),
		})
		must(w.t, err)
	}
	m.Send(account, o.ConversationID)
}

// awaitAnswers waits until the customer sees n answers and returns them in order.
func (w *world) awaitAnswers(customer, phone string, n int) []wasim.Message {
	w.t.Helper()
	c, over := w.wa.Customer(customer), time.After(2*time.Minute)
	for {
		changed := c.Changed()
		seen := slices.DeleteFunc(c.Messages(phone), func(m wasim.Message) bool { return m.FromCustomer })
		if len(seen) >= n {
			return seen
		}
		select {
		case <-changed:
		case <-over:
			w.t.Fatalf("%s has seen %d of %d answers: %v", customer, len(seen), n, w.wa.Stats())
		}
	}
}

// numbered fails unless texts are what, from and onwards, in order and once.
func numbered(t testing.TB, texts []string, what string, from int) {
	t.Helper()
	for i, text := range texts {
		if want := fmt.Sprint(what, " ", from+i); text != want {
			t.Fatalf("at place %d of %d there is %q, not %q", i, len(texts), text, want)
		}
	}
}

func bodies(messages []wasim.Message) []string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.Text
	}
	return texts
}

// eventually waits for a condition that other goroutines or processes bring about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

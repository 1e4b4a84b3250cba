package wasim_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/wasim"
	"frontdesk/store/pglocal/pgtest"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// The numbers of these tests.
const (
	desk  = "12025550111"
	alice = "12025550122"
	bob   = "12025550123"
)

// rootKey is shared by all servers that a client connects to: whatsmeow trusts one
// root per process.
var rootKey [32]byte

func TestMain(m *testing.M) {
	_, _ = rand.Read(rootKey[:])
	probe, err := wasim.New(wasim.Options{RootKey: rootKey})
	if err != nil {
		panic(err)
	}
	whatsmeow.WACertPubKey = probe.CertKey()
	os.Exit(pgtest.Main(m))
}

// device is a bare whatsmeow client and all events it has seen.
type device struct {
	*whatsmeow.Client

	t    *testing.T
	mu   sync.Mutex
	seen []any
	more chan struct{} // closed at the next event
}

// newDevice is a client of s that is not linked yet, but shows its codes.
func newDevice(t *testing.T, s *wasim.Server) *device {
	t.Helper()
	db, err := sql.Open("pgx", pgtest.Database(t))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	container := sqlstore.NewWithDB(db, "postgres", waLog.Noop)
	must(t, container.Upgrade(t.Context()))
	d := &device{Client: whatsmeow.NewClient(container.NewDevice(), testLog(t)), t: t, more: make(chan struct{})}
	over, err := wasim.HTTPClient(s.URL())
	must(t, err)
	d.SetPreLoginHTTPClient(over)
	d.SetWebsocketHTTPClient(over)
	d.SetMediaHTTPClient(over)
	d.AddEventHandler(d.note)
	must(t, d.Connect())
	t.Cleanup(d.Disconnect)
	return d
}

// linked is a client of s that the desk's phone has scanned.
func linked(t *testing.T, s *wasim.Server) *device {
	t.Helper()
	d := newDevice(t, s)
	must(t, s.Phone(desk).Scan(t.Context(), await(d, func(*events.QR) bool { return true }).Codes[0]))
	await(d, func(*events.Connected) bool { return true })
	await(d, func(*events.AppStateSyncComplete) bool { return true })
	return d
}

// testLog shows what the client says if FRONTDESK_TEST_LOG is set.
func testLog(t *testing.T) waLog.Logger {
	if os.Getenv("FRONTDESK_TEST_LOG") == "" {
		return waLog.Noop
	}
	return waLog.Stdout(t.Name(), "DEBUG", false)
}

func (d *device) note(event any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, event)
	close(d.more)
	d.more = make(chan struct{})
}

// await is the first event of its type that fits, whether it came already or not.
func await[T any](d *device, fits func(T) bool) T {
	d.t.Helper()
	late := time.After(time.Minute)
	for {
		d.mu.Lock()
		seen, more := d.seen, d.more
		d.mu.Unlock()
		for _, event := range seen {
			if e, is := event.(T); is && fits(e) {
				return e
			}
		}
		select {
		case <-more:
		case <-late:
			var wanted T
			d.t.Fatalf("no %T that fits came", wanted)
		}
	}
}

// message awaits the customer's message with that id.
func (d *device) message(id string) *events.Message {
	d.t.Helper()
	return await(d, func(m *events.Message) bool { return m.Info.ID == id })
}

// say writes text to a chat.
func (d *device) say(to types.JID, text string) (string, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	sent, err := d.SendMessage(ctx, to, &waE2E.Message{Conversation: &text})
	return sent.ID, err
}

// shown awaits a bubble of the customer's chat with the desk that fits.
func shown(t *testing.T, c *wasim.Customer, fits func(wasim.Message) bool) wasim.Message {
	t.Helper()
	late := time.After(time.Minute)
	for {
		changed := c.Changed()
		for _, m := range c.Messages(desk) {
			if fits(m) {
				return m
			}
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no such bubble among %+v", c.Messages(desk))
		}
	}
}

func number(of string) types.JID { return types.NewJID(of, types.DefaultUserServer) }
func hidden(of string) types.JID { return types.NewJID("8"+of, types.HiddenUserServer) }

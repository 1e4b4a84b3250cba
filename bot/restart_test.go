package bot_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"

	"github.com/coder/websocket"
)

func TestAccountsSurviveARestartOfTheLoopbackWhatsApp(t *testing.T) {
	t.Parallel()
	for name, crashed := range map[string]bool{"closed": false, "crashed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			must(t, w.wa.Close(context.Background()))
			o := wasim.Options{RootKey: rootKey, StateFile: filepath.Join(t.TempDir(), "state"), Log: testLog(t, "wasim")}
			w.reopen(&o)
			m := w.manager("a")
			account := w.pair(desk)
			w.write(customer, desk, 1, 3)
			w.awaitReceived(account, 3)
			w.queue(m, account, customer, 1, 3)
			w.awaitAnswers(customer, desk, 3)

			behind := w.stateOf(o.StateFile, 3)
			w.write(customer, desk, 4, 2)
			w.awaitReceived(account, 5)
			must(t, w.wa.Close(t.Context()))
			if crashed {
				must(t, os.WriteFile(o.StateFile, behind, 0o600)) // as if the last writes had never reached the disk
			}
			w.reopen(&o)
			eventually(t, "the account to come back", w.wa.Phone(desk).Connected)
			w.write(customer, desk, 6, 3)
			numbered(t, w.awaitReceived(account, 8), "message", 1)
			w.queue(m, account, customer, 4, 3)
			numbered(t, bodies(w.awaitAnswers(customer, desk, 6)), "answer", 1)
		})
	}
}

// whatsmeow waits 20 s for the answer to its handshake, even when it was told to
// stop: a rolling update that meets a slow WhatsApp would leave its accounts to
// nobody until the leases expire.
func TestStopDoesNotWaitForAHandshakeThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	must(t, m.Close(t.Context()))

	greeted := make(chan struct{}, 10)
	mute := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		conn, err := websocket.Accept(out, in, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		if _, _, err := conn.Read(in.Context()); err == nil {
			greeted <- struct{}{}
			<-conn.CloseRead(in.Context()).Done()
		}
	}))
	defer mute.Close()
	client, err := wasim.HTTPClient("ws" + strings.TrimPrefix(mute.URL, "http") + "/ws/chat")
	must(t, err)
	m = w.manager("b", func(o *bot.Options) { o.HTTP = client })
	<-greeted
	closed := make(chan error, 1)
	go func() { closed <- m.Close(context.Background()) }()
	select {
	case err := <-closed:
		must(t, err)
	case <-time.After(18 * time.Second): // whatsmeow itself gives up after 20
		t.Fatal("the manager waits for the handshake")
	}
	w.manager("c")
	w.write(customer, desk, 1, 1)
	numbered(t, w.awaitReceived(account, 1), "message", 1)
}

// reopen starts a server at the address that o remembers, or at any.
func (w *world) reopen(o *wasim.Options) {
	w.t.Helper()
	var err error
	w.wa, err = wasim.New(*o)
	must(w.t, err)
	must(w.t, w.wa.Start(context.Background()))
	opened := w.wa
	w.t.Cleanup(func() { must(w.t, opened.Close(context.Background())) })
	o.Listen = strings.TrimSuffix(strings.TrimPrefix(w.wa.URL(), "ws://"), "/ws/chat")
}

// stateOf is the state file once it holds n answers.
func (w *world) stateOf(path string, n int) []byte {
	w.t.Helper()
	var text []byte
	eventually(w.t, "the state file", func() bool {
		var err error
		text, err = os.ReadFile(path)
		must(w.t, err)
		return strings.Count(string(text), `"text":"answer `) >= n
	})
	return text
}

package flow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/providers"
	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"github.com/jackc/pgx/v5/pgxpool"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// house is a database with one account, other services on loopback, and engines.
type house struct {
	t       *testing.T
	store   *store.Store
	sql     *pgxpool.Pool
	dsn     string
	account int64
	engine  *flow.Engine
	service *service
	model   *model
	log     *logbook
	between *forgetful // stands before the store; nil: nothing does
}

func newHouse(t *testing.T, change func(*flow.Options)) *house {
	t.Helper()
	dsn := pgtest.Database(t)
	h := &house{t: t, dsn: dsn, service: newService(t), model: &model{}, log: &logbook{}}
	s, err := store.Open(t.Context(), store.Options{DSN: dsn, Keyring: store.NewKeyring()})
	h.must(err)
	t.Cleanup(s.Close)
	h.store = s
	h.must(s.Migrate(t.Context(), func(context.Context, *sql.DB) error { return nil }))
	config, err := pgxpool.ParseConfig(dsn)
	h.must(err)
	config.ConnConfig.RuntimeParams["search_path"] = "frontdesk"
	h.sql, err = pgxpool.NewWithConfig(t.Context(), config)
	h.must(err)
	t.Cleanup(h.sql.Close)
	a, err := s.AddAccount(t.Context(), store.KindSandbox, "Shop", 100)
	h.must(err)
	h.account = a.ID
	h.engine = h.start("first", change)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// start runs an engine, as a process of that name has one.
func (h *house) start(name string, change func(*flow.Options)) *flow.Engine {
	h.t.Helper()
	p := store.Process{ID: name, Kind: store.KindWhatsApp, Cap: 100}
	_, err := h.store.RenewLeases(h.t.Context(), p, time.Hour)
	h.must(err)
	o := flow.Options{
		Store: h.store, Process: p, AI: h.model, HTTP: http.DefaultClient, Files: memory{}, Lease: time.Hour,
		Log: slog.New(slog.NewTextHandler(h.log, nil)),
	}
	if h.between != nil {
		o.Store = h.between
	}
	if change != nil {
		change(&o)
	}
	e := flow.New(o)
	h.must(e.Start(h.t.Context()))
	h.t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

// put stores a flow with the given steps, which a webhook starts.
func (h *house) put(name, steps string) store.Flow {
	h.t.Helper()
	return h.define(fmt.Sprintf(`{"name": %q, "account": %d, "trigger": {"type": "webhook"}, "contact": "{{trigger.body.phone}}", "steps": [%s]}`,
		name, h.account, strings.ReplaceAll(steps, "SERVICE", h.service.URL)))
}

func (h *house) define(text string) store.Flow {
	h.t.Helper()
	d, err := flow.Check([]byte(text))
	h.must(err)
	f, err := h.store.PutFlow(h.t.Context(), d.Name, json.RawMessage(text), "test")
	h.must(err)
	return f
}

// accept starts a flow with a body.
func (h *house) accept(f store.Flow, body map[string]any, change func(*flow.Start)) store.Execution {
	h.t.Helper()
	s := flow.Start{Flow: f.ID, Trigger: map[string]any{"type": "webhook", "body": body}}
	if change != nil {
		change(&s)
	}
	x, _, err := h.engine.Accept(h.t.Context(), s)
	h.must(err)
	return x
}

// person is a body that says whom a delivery is about.
func person(n int) map[string]any {
	return map[string]any{"phone": fmt.Sprintf("+1202555%04d", n), "name": "Ana"}
}

// ended waits for an execution's end.
func (h *house) ended(x store.Execution) store.Execution {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	x, err := h.engine.Await(ctx, x.ID)
	h.must(err)
	if !x.Ended() {
		h.t.Fatalf("execution %d is still %s", x.ID, x.Status)
	}
	return x
}

// becomes waits until an execution is in a state.
func (h *house) becomes(x store.Execution, status string) store.Execution {
	h.t.Helper()
	h.eventually("execution is "+status, func() bool {
		var err error
		x, err = h.store.Execution(h.t.Context(), x.ID)
		h.must(err)
		return x.Status == status
	})
	return x
}

func (h *house) eventually(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not so after a minute: %s", what)
		}
	}
}

func (h *house) count(query string, args ...any) (n int) {
	h.t.Helper()
	h.must(h.sql.QueryRow(h.t.Context(), query, args...).Scan(&n))
	return n
}

// results are what the steps came to, by name.
func (h *house) results(x store.Execution) map[string]map[string]any {
	h.t.Helper()
	steps, err := h.store.ExecutionSteps(h.t.Context(), x.ID)
	h.must(err)
	all := map[string]map[string]any{}
	for _, s := range steps {
		var result map[string]any
		h.must(json.Unmarshal(s.Result, &result))
		result["status of step"] = s.Status
		all[s.Name] = result
	}
	return all
}

// service is another system. Calls of /hold wait until they are let go.
type service struct {
	*httptest.Server

	mu    sync.Mutex
	calls []*http.Request // guarded by mu
	hold  chan struct{}
	holds int // calls that are held; guarded by mu
	fails int // calls that are still answered 500; guarded by mu

	says string // to /list
}

func newService(t *testing.T) *service {
	s := &service{hold: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r)
	failing := s.fails > 0
	if failing {
		s.fails--
	}
	s.mu.Unlock()
	if failing {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if r.URL.Path == "/hold" {
		s.held(1)
		defer s.held(-1)
		select {
		case <-s.hold:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/list" {
		fmt.Fprint(w, s.says)
		return
	}
	fmt.Fprintf(w, `{"stock": 3, "path": %q}`, r.URL.Path)
}

func (s *service) held(change int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds += change
	return s.holds
}

func (s *service) seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.calls...)
}

// model is a provider that says what it is told to.
type model struct {
	mu    sync.Mutex
	says  string              // "": it fails; guarded by mu
	asked []providers.Request // guarded by mu

	attempts []providers.Attempt      // of its answers
	writes   func(progress func(int)) // before it answers; nil: nothing is heard of it
}

func (m *model) Chat(_ context.Context, q providers.Request) (providers.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, q)
	if m.says == "" {
		return providers.Answer{}, errors.New("nobody is there")
	}
	if m.writes != nil {
		m.writes(q.Progress)
	}
	return providers.Answer{Text: m.says, Provider: "test", Model: "m", Attempts: m.attempts}, nil
}

// memory is a place for files that forgets them.
type memory struct{ store.Files }

// logbook keeps what was logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) holds(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

// forgetful is a store that does not write down what some steps came to, as if the
// process had died before.
type forgetful struct {
	*store.Store

	mu    sync.Mutex
	times int // guarded by mu
}

func (f *forgetful) SettleStep(ctx context.Context, x *store.Execution, o store.ExecutionStep, ran time.Duration, events ...store.StepEvent) error {
	f.mu.Lock()
	forgets := f.times > 0
	f.times--
	f.mu.Unlock()
	if forgets {
		return errors.New("the connection broke")
	}
	return f.Store.SettleStep(ctx, x, o, ran, events...)
}

package live

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(crowdEnv); job != "" {
		if err := crowd(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is a database in which things happen.
type house struct {
	t     testing.TB
	store *store.Store
	pool  *pgxpool.Pool
	dsn   string
	flow  store.Flow
}

func newHouse(t testing.TB) *house {
	t.Helper()
	d := &house{t: t, dsn: pgtest.Database(t)}
	d.store = d.connect()
	must(t, d.store.Migrate(context.Background(), func(context.Context, *sql.DB) error { return nil }))
	c, err := pgxpool.ParseConfig(d.dsn)
	must(t, err)
	c.ConnConfig.RuntimeParams["search_path"] = "frontdesk"
	d.pool, err = pgxpool.NewWithConfig(context.Background(), c)
	must(t, err)
	t.Cleanup(d.pool.Close)
	d.flow, err = d.store.PutFlow(context.Background(), "order", json.RawMessage(`{}`), "test")
	must(t, err)
	return d
}

func (d *house) connect() *store.Store {
	d.t.Helper()
	s, err := store.Open(context.Background(), store.Options{DSN: d.dsn, Keyring: store.NewKeyring()})
	must(d.t, err)
	d.t.Cleanup(s.Close)
	return s
}

// execution adds one; its first event says that it is queued.
func (d *house) execution() int64 {
	d.t.Helper()
	x, _, err := d.store.AddExecution(context.Background(), store.NewExecution{FlowID: d.flow.ID, Version: d.flow.Version, Trigger: json.RawMessage(`{}`)})
	must(d.t, err)
	return x.ID
}

// happen adds n events of a type to an execution, as a statement about it would.
func (d *house) happen(id int64, kind string, n int, data string) {
	d.t.Helper()
	_, err := d.pool.Exec(context.Background(), `
		with x as (
		  update execution set event_seq = event_seq + $2, epoch = 1,
		    status = case when $3 like 'execution.%' then substr($3, 11) else status end,
		    finished_at = case when $3 in ('execution.completed', 'execution.failed') then clock() end
		  where id = $1 returning *)
		insert into event (type, execution_id, flow_id, epoch, seq, data)
		select $3, x.id, x.flow_id, 1, x.event_seq - $2 + n, $4 from x, generate_series(1, $2::int) as n`, id, n, kind, data)
	must(d.t, err)
}

// noted adds events that belong to no execution.
func (d *house) noted(account int64, n int, data string) {
	d.t.Helper()
	_, err := d.pool.Exec(context.Background(), `
		insert into event (type, account_id, data) select 'account.status', $1, $3::jsonb || jsonb_build_object('n', n) from generate_series(1, $2::int) as n`, account, n, data)
	must(d.t, err)
}

// open is a hub over the house, behind a server.
func (d *house) open(o Options) (*Hub, *httptest.Server) {
	d.t.Helper()
	if o.Store == nil {
		o.Store = d.store
	}
	if o.Poll == 0 {
		o.Poll = 20 * time.Millisecond
	}
	h := New(o)
	must(d.t, h.Start(context.Background()))
	server := httptest.NewUnstartedServer(doors(h))
	server.Listener = tight{server.Listener}
	server.Start()
	d.t.Cleanup(func() {
		within, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = h.Close(within)
		server.Close()
	})
	return h, server
}

// tight is a listener whose connections hold little, so that not reading is felt soon.
type tight struct{ net.Listener }

func (l tight) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(32 << 10)
	}
	return conn, err
}

// doors mounts a hub. Who asks with ?who=guest may see executions only; ?token= is what
// they were let in with.
func doors(h *Hub) http.Handler {
	visitor := func(r *http.Request) (v Visitor) {
		guest := r.URL.Query().Get("who") == "guest"
		v.May = func(_ context.Context, room Room) bool { return !guest || room.Kind == execution }
		if token := r.URL.Query().Get("token"); token != "" {
			v.Pass = store.TokenPass(token)
		}
		return v
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) { h.ServeEvents(w, r, visitor(r)) })
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) { h.ServeSocket(w, r, visitor(r)) })
	return mux
}

// said is a frame as a client sees it.
type said struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Place       string          `json:"place"`
	Room        string          `json:"room"`
	ExecutionID int64           `json:"execution_id"`
	AccountID   int64           `json:"account_id"`
	Flow        string          `json:"flow"`
	Epoch       int64           `json:"epoch"`
	Seq         int64           `json:"seq"`
	Recovered   bool            `json:"recovered"`
	Snapshot    *snapshot       `json:"snapshot"`
	From        any             `json:"from"`
	To          any             `json:"to"`
	Code        string          `json:"code"`
	Message     string          `json:"message"`
	Step        map[string]any  `json:"step"`
	Data        json.RawMessage `json:"data"`
	Truncated   bool            `json:"truncated"`
	Link        string          `json:"link"`
	Reconnect   int             `json:"reconnect_after_ms"`

	sseID string
	event string // of server-sent events
	text  string
}

func read(t testing.TB, text []byte) said {
	t.Helper()
	var s said
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%q is no frame: %v", text, err)
	}
	s.text = string(text)
	return s
}

// short is what a test compares: the type, with the seq or the range.
func (s said) short() string {
	switch {
	case s.Type == "gap":
		return fmt.Sprintf("gap %v-%v", s.From, s.To)
	case s.Type == "subscribed" || s.Seq == 0:
		return s.Type
	}
	return fmt.Sprintf("%d", s.Seq)
}

// phone is a raw WebSocket client.
type phone struct {
	t  testing.TB
	ws *websocket.Conn
}

func call(t testing.TB, server *httptest.Server, query string) *phone {
	t.Helper()
	ws, answer, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(server.URL, "http")+"/ws"+query, nil)
	if err != nil {
		t.Fatalf("dial: %v, %+v", err, answer)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { ws.CloseNow() })
	return &phone{t, ws}
}

func (p *phone) say(text string, args ...any) {
	p.t.Helper()
	must(p.t, p.ws.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, text, args...)))
}

const patience = time.Minute // of a test that waits for what must come

func (p *phone) next() said {
	p.t.Helper()
	within, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, text, err := p.ws.Read(within)
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return read(p.t, text)
}

// hears wants exactly these frames next.
func (p *phone) hears(want ...string) []said {
	p.t.Helper()
	return hears(p.t, p.next, want)
}

// ends wants the connection closed, and returns what came before.
func (p *phone) ends(code websocket.StatusCode) []said {
	p.t.Helper()
	within, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var before []said
	for {
		_, text, err := p.ws.Read(within)
		if err == nil {
			before = append(before, read(p.t, text))
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			p.t.Fatalf("closed with %d (%v) instead of %d", got, err, code)
		}
		return before
	}
}

// silent wants nothing but the answer to a ping.
func (p *phone) silent() {
	p.t.Helper()
	p.say(`{"op":"ping"}`)
	p.hears("pong")
}

func hears(t testing.TB, next func() said, want []string) []said {
	t.Helper()
	var frames []said
	var got []string
	for range want {
		s := next()
		frames, got = append(frames, s), append(got, s.short())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("heard %q instead of %q", got, want)
	}
	return frames
}

// numbers are the seqs from first to last as short says them.
func numbers(first, last int) []string {
	var n []string
	for ; first <= last; first++ {
		n = append(n, fmt.Sprint(first))
	}
	return n
}

// radio is a raw client of server-sent events.
type radio struct {
	t     testing.TB
	lines *bufio.Reader
	body  interface{ Close() error }
}

func listen(t testing.TB, server *httptest.Server, query, lastID string) *radio {
	t.Helper()
	answer := ask200(t, server, query, lastID)
	return &radio{t, bufio.NewReader(answer.Body), answer.Body}
}

func ask200(t testing.TB, server *httptest.Server, query, lastID string) *http.Response {
	t.Helper()
	within, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(within, http.MethodGet, server.URL+"/api/v1/events"+query, nil)
	must(t, err)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := server.Client().Do(r)
	must(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %s", answer.Status)
	}
	return answer
}

func (r *radio) next() said {
	r.t.Helper()
	var s said
	var id, event string
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			r.t.Fatalf("read: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			s = read(r.t, []byte(value))
		case "":
			if s.text != "" {
				s.sseID, s.event = id, event
				return s
			}
		}
	}
}

func (r *radio) hears(want ...string) []said {
	r.t.Helper()
	return hears(r.t, r.next, want)
}

// eventually waits for what must become true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// shelf is a store in memory, for tests of time.
type shelf struct {
	mu         sync.Mutex
	events     []store.Event
	executions map[int64]store.Execution
	takes      time.Duration // to tell the steps of an execution
	ended      []store.Pass
	checks     int
	away       error
}

func newShelf() *shelf { return &shelf{executions: map[int64]store.Execution{}} }

// add has something happen to an execution.
func (s *shelf) add(id int64, kind string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.executions[id]
	x.ID = id
	for range n {
		x.EventSeq++
		if ended(kind) {
			now := time.Now()
			x.FinishedAt = &now
		}
		at := int64(len(s.events) + 1)
		s.events = append(s.events, store.Event{ID: at, XID: at, Type: kind, ExecutionID: &id, Seq: x.EventSeq, At: time.Now()})
	}
	s.executions[id] = x
}

func (s *shelf) pick(limit int, fits func(store.Event) bool) []store.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []store.Event
	for _, e := range s.events {
		if len(found) < limit && fits(e) {
			found = append(found, e)
		}
	}
	return found
}

func (s *shelf) EventsAfter(_ context.Context, p store.Place, limit int) ([]store.Event, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.pick(limit, func(e store.Event) bool { return compare(e.Place(), p) > 0 }), nil
}

func (s *shelf) EventsBetween(_ context.Context, f store.EventFilter, after, upTo store.Place, limit int) ([]store.Event, error) {
	return s.pick(limit, func(e store.Event) bool {
		return compare(e.Place(), after) > 0 && compare(e.Place(), upTo) <= 0 && (f.All || slices.Contains(f.Executions, *e.ExecutionID))
	}), nil
}

func (s *shelf) EventsKeptSince(_ context.Context, p store.Place) (bool, error) {
	return len(s.pick(1, func(e store.Event) bool { return compare(e.Place(), p) <= 0 })) > 0, nil
}

func (s *shelf) EventsOf(_ context.Context, execution, after int64, limit int) ([]store.Event, error) {
	return s.pick(limit, func(e store.Event) bool { return *e.ExecutionID == execution && e.Seq > after }), nil
}

func (s *shelf) LatestPlace(context.Context) (store.Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Place{XID: int64(len(s.events))}, nil
}

func (s *shelf) Execution(_ context.Context, id int64) (store.Execution, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, known := s.executions[id]
	if !known {
		return x, store.ErrNotFound
	}
	return x, nil
}

func (s *shelf) ExecutionSteps(context.Context, int64) ([]store.ExecutionStep, error) {
	time.Sleep(s.takes)
	return nil, s.fails()
}

func (s *shelf) EndedPasses(_ context.Context, passes []store.Pass) ([]store.Pass, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	return slices.DeleteFunc(passes, func(p store.Pass) bool { return !slices.Contains(s.ended, p) }), nil
}

// revoke ends a pass, and returns how often passes were asked for.
func (s *shelf) revoke(p store.Pass) (checks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, p)
	return s.checks
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

func (s *shelf) fails() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

// ear is a client without a connection, whose wire is the test.
type ear struct {
	mu   sync.Mutex
	got  []string
	end  reason
	done chan struct{}
}

func (e *ear) send(_ context.Context, frames []*frame) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range frames {
		var s said
		if err := json.Unmarshal(f.text, &s); err != nil {
			return err
		}
		e.got = append(e.got, s.short())
	}
	return nil
}

func (e *ear) beat(context.Context) error { return nil }

func (e *ear) close(_ context.Context, why reason) {
	e.end = why
	close(e.done)
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := e.got
	e.got = nil
	return got
}

// attend joins a client to rooms.
func attend(t testing.TB, h *Hub, rooms ...Room) (*ear, *client) {
	t.Helper()
	return enter(t, h, store.Pass{}, since{}, rooms...)
}

// comeBack joins a client that was there before to rooms.
func comeBack(t testing.TB, h *Hub, from since, rooms ...Room) (*ear, *client) {
	t.Helper()
	return enter(t, h, store.Pass{}, from, rooms...)
}

// enter joins a client that has a pass to rooms.
func enter(t testing.TB, h *Hub, pass store.Pass, from since, rooms ...Room) (*ear, *client) {
	t.Helper()
	ctx, c := h.admit(context.Background(), httptest.NewRecorder(), pass)
	e := &ear{done: make(chan struct{})}
	go func() {
		defer h.leave(ctx, c)
		c.write(ctx, e, time.Hour)
	}()
	must(t, h.join(ctx, c, rooms, from))
	return e, c
}

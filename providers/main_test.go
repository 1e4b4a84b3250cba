package providers

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a registry over rows, with a loopback that it may reach.
func start(t testing.TB, rows ...store.Provider) (*Registry, *shelf) {
	t.Helper()
	return startWith(t, usualPatience, rows...)
}

// startImpatient is start for tests that wait for a silence.
func startImpatient(t testing.TB, rows ...store.Provider) (*Registry, *shelf) {
	t.Helper()
	return startWith(t, patience{first: 3 * time.Second, reasoning: time.Minute, stall: 3 * time.Second, usage: 200 * time.Millisecond}, rows...)
}

func startWith(t testing.TB, p patience, rows ...store.Provider) (*Registry, *shelf) {
	t.Helper()
	s := newShelf(rows...)
	r := New(Options{Store: s, Log: s.logger(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	r.patience = p
	begin(t, r)
	return r, s
}

func begin(t testing.TB, r *Registry) {
	t.Helper()
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

var question = Request{Conversation: 7, Messages: []Message{
	{Role: RoleSystem, Text: "You are a florist."}, {Role: RoleUser, Text: "Do you sell tulips?"},
}}

// way is the classes of attempts with their providers: "a:network a:network b:ok".
func way(attempts []Attempt) string {
	var steps []string
	for _, a := range attempts {
		steps = append(steps, a.Provider+":"+string(a.Class))
	}
	return strings.Join(steps, " ")
}

// shelf is the database as the registry knows it, in memory.
type shelf struct {
	mu       sync.Mutex
	rows     []store.Provider
	keys     map[int64]string
	booked   map[int64]store.Usage
	held     map[string]store.Usage
	paused   []int64
	enabled  []int64
	loads    int
	broken   error
	attempts []store.ProviderAttempt
	lines    strings.Builder
}

func newShelf(rows ...store.Provider) *shelf {
	s := &shelf{keys: map[int64]string{}, booked: map[int64]store.Usage{}, held: map[string]store.Usage{}}
	for i, p := range rows {
		s.rows = append(s.rows, complete(p, int64(i+1)))
	}
	return s
}

// complete fills p as the store would.
func complete(p store.Provider, id int64) store.Provider {
	if p.ID == 0 {
		p.ID = id
	}
	if p.Capabilities == nil {
		p.Capabilities = []string{store.CanStream}
	}
	if p.Model == "" {
		p.Model = "model"
	}
	if p.ContextTokens == 0 {
		p.ContextTokens = 128_000
	}
	p.Active, p.Weight, p.TimeoutMs, p.MaxOutputTokens = true, max(p.Weight, 1), 60_000, 1024
	return p
}

func (s *shelf) change(f func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *shelf) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

func (s *shelf) ActiveProviders(_ context.Context, limit int) ([]store.Provider, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	rows := slices.Clone(s.rows)
	slices.SortStableFunc(rows, func(a, b store.Provider) int { return b.Priority - a.Priority })
	return rows[:min(limit, len(rows))], len(rows), s.broken
}

func (s *shelf) Provider(_ context.Context, id int64) (store.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.rows {
		if p.ID == id {
			return p, nil
		}
	}
	return store.Provider{}, store.ErrNotFound
}

func (s *shelf) ProviderKey(p store.Provider) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[p.ID] == "sealed elsewhere" {
		return "", store.ErrSealed
	}
	return s.keys[p.ID], nil
}

func (s *shelf) DisableProvider(_ context.Context, id int64, _, _ time.Duration, _ string) error {
	s.change(func(s *shelf) { s.paused = append(s.paused, id) })
	return nil
}

func (s *shelf) EnableProvider(_ context.Context, id int64) error {
	s.change(func(s *shelf) { s.enabled = append(s.enabled, id) })
	return nil
}

func (s *shelf) ReserveQuota(_ context.Context, id, tokens, _ int64) (store.Reservation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.rows, func(p store.Provider) bool { return p.ID == id })
	limit, used := s.rows[i].RequestLimit, s.booked[id].Requests+int64(len(s.held))
	if limit != nil && used >= *limit {
		return store.Reservation{}, store.ErrOverQuota
	}
	key := time.Now().String() + string(rune(len(s.held)))
	s.held[key] = store.Usage{ProviderID: id, PromptTokens: tokens}
	fill := 0.0
	if limit != nil {
		fill = float64(used+1) / float64(*limit)
	}
	return store.Reservation{ID: key, Day: time.Unix(0, 0), Fill: fill}, nil
}

func (s *shelf) SettleQuota(_ context.Context, key string, u store.Usage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[key]; !ok {
		return errors.New("settled without a reservation")
	}
	delete(s.held, key)
	s.add(u)
	return nil
}

func (s *shelf) BookUsage(_ context.Context, calls []store.Usage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range calls {
		s.add(u)
	}
	return nil
}

func (s *shelf) add(u store.Usage) {
	sum := s.booked[u.ProviderID]
	sum.Requests += u.Requests
	sum.PromptTokens += u.PromptTokens
	sum.CompletionTokens += u.CompletionTokens
	if u.Cost != nil {
		sum.Cost = new(orZero(sum.Cost) + *u.Cost)
	}
	s.booked[u.ProviderID] = sum
}

func (s *shelf) SweepReservations(context.Context, time.Duration) (int, error) { return 0, nil }
func (s *shelf) NoteAttempts(_ context.Context, attempts []store.ProviderAttempt) error {
	s.change(func(s *shelf) { s.attempts = append(s.attempts, attempts...) })
	return nil
}
func (s *shelf) ForgetAttempts(context.Context) error                 { return nil }
func (s *shelf) UsageToday(context.Context) ([]store.DayUsage, error) { return nil, nil }

// books are what was booked for the provider with this id, once r has written
// everything.
func (s *shelf) books(t testing.TB, r *Registry, id int64) store.Usage {
	t.Helper()
	if err := r.book(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.booked[id]
}

func (s *shelf) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// Write takes a line of the log.
func (s *shelf) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.Write(line)
}

func (s *shelf) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

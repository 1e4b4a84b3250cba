package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
)

func TestReserveNeverPassesTheRequestLimit(t *testing.T) {
	const limit, processes, goroutines, tries = 100, 8, 8, 4
	s, dsn := open(t)
	p := addProvider(t, s, store.Provider{RequestLimit: new(int64(limit))})
	var granted, refused atomic.Int64
	var asking sync.WaitGroup
	for range processes {
		other := connect(t, dsn)
		for range goroutines {
			asking.Go(func() {
				for range tries {
					r, err := other.ReserveQuota(t.Context(), p.ID, 10, 0)
					switch {
					case err == nil:
						granted.Add(1)
						if err := other.SettleQuota(t.Context(), r.ID, store.Usage{Requests: 1, PromptTokens: 3, CompletionTokens: 4}); err != nil {
							t.Errorf("settle: %v", err)
						}
					case errors.Is(err, store.ErrOverQuota):
						refused.Add(1)
					default:
						t.Errorf("reserve: %v", err)
					}
				}
			})
		}
	}
	asking.Wait()
	if granted.Load() != limit || refused.Load() != processes*goroutines*tries-limit {
		t.Errorf("granted %d and refused %d, want exactly %d granted", granted.Load(), refused.Load(), limit)
	}
	u := today(t, s, p.ID)
	if u.Requests != limit || u.Tokens != 7*limit || u.ReservedTokens != 0 {
		t.Errorf("books say %d requests, %d tokens, %d reserved; want %d, %d, 0", u.Requests, u.Tokens, u.ReservedTokens, limit, 7*limit)
	}
}

func TestReserveNeverPassesTokensAndCost(t *testing.T) {
	const processes, goroutines, tries = 8, 8, 4
	for name, p := range map[string]store.Provider{
		"tokens": {TokenLimit: new(int64(1000))},
		"cost":   {CostLimit: new(int64(500)), InputPrice: new(int64(1)), OutputPrice: new(int64(1))},
	} {
		t.Run(name, func(t *testing.T) {
			s, dsn := open(t)
			p := addProvider(t, s, p)
			var asking sync.WaitGroup
			for range processes {
				other := connect(t, dsn)
				for range goroutines {
					asking.Go(func() {
						for range tries {
							_, err := other.ReserveQuota(t.Context(), p.ID, 30, 15)
							if err != nil && !errors.Is(err, store.ErrOverQuota) {
								t.Errorf("reserve: %v", err)
							}
						}
					})
				}
			}
			asking.Wait()
			u := today(t, s, p.ID)
			if u.Requests != 33 || u.ReservedTokens != 33*30 || u.ReservedCost != 33*15 {
				t.Errorf("reserved %d requests, %d tokens, %d micros; want 33, 990, 495", u.Requests, u.ReservedTokens, u.ReservedCost)
			}
		})
	}
}

func TestLimitOfZeroAllowsNothing(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{CostLimit: new(int64(0)), InputPrice: new(int64(0)), OutputPrice: new(int64(0))})
	if _, err := s.ReserveQuota(t.Context(), p.ID, 1, 0); !errors.Is(err, store.ErrOverQuota) {
		t.Errorf("reserve under a limit of 0: %v, want ErrOverQuota", err)
	}
}

func TestReserveRefusesPausedAndInactive(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	must(t, s.DisableProvider(t.Context(), p.ID, time.Hour, 24*time.Hour, "no credit"))
	if _, err := s.ReserveQuota(t.Context(), p.ID, 1, 0); !errors.Is(err, store.ErrOverQuota) {
		t.Errorf("reserve while paused: %v, want ErrOverQuota", err)
	}
	must(t, s.Skew(t.Context(), 61*time.Minute))
	if _, err := s.ReserveQuota(t.Context(), p.ID, 1, 0); err != nil {
		t.Errorf("reserve after the pause: %v", err)
	}
}

func TestSettleTwiceBooksOnce(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	r := reserve(t, s, p.ID, 100, 0)
	for range 2 {
		must(t, s.SettleQuota(t.Context(), r.ID, store.Usage{Requests: 1, PromptTokens: 20, CompletionTokens: 5, Cost: new(int64(7))}))
	}
	u := today(t, s, p.ID)
	if u.Requests != 1 || u.PromptTokens != 20 || u.CompletionTokens != 5 || u.Tokens != 25 || *u.Cost != 7 || u.ReservedTokens != 0 {
		t.Errorf("books after two settlements: %+v", u)
	}
}

func TestSettleGivesBackRequestNeverSent(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{RequestLimit: new(int64(1))})
	r := reserve(t, s, p.ID, 100, 0)
	must(t, s.SettleQuota(t.Context(), r.ID, store.Usage{}))
	reserve(t, s, p.ID, 100, 0)
}

func TestMidnightStartsAtZero(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{RequestLimit: new(int64(1)), ResetTZ: "Pacific/Auckland"})
	before := reserve(t, s, p.ID, 10, 0)
	if _, err := s.ReserveQuota(t.Context(), p.ID, 10, 0); !errors.Is(err, store.ErrOverQuota) {
		t.Fatalf("second reservation of the day: %v, want ErrOverQuota", err)
	}
	must(t, s.Skew(t.Context(), 24*time.Hour))
	after := reserve(t, s, p.ID, 10, 0)
	if got := after.Day.Sub(before.Day); got != 24*time.Hour {
		t.Errorf("the next day came %v after the first", got)
	}
	must(t, s.SettleQuota(t.Context(), before.ID, store.Usage{Requests: 1, PromptTokens: 9})) // belongs to yesterday
	if u := today(t, s, p.ID); u.Tokens != 0 {
		t.Errorf("today's books hold %d tokens of yesterday", u.Tokens)
	}
	history, err := s.UsageHistory(t.Context(), p.ID, 7)
	must(t, err)
	if len(history) != 2 || history[1].Tokens != 9 {
		t.Errorf("history %+v, want yesterday's 9 tokens last", history)
	}
}

func TestDayBeginsInTheProvidersZone(t *testing.T) {
	s, _ := open(t)
	east := addProvider(t, s, store.Provider{Name: "east", ResetTZ: "Pacific/Kiritimati"}) // UTC+14
	west := addProvider(t, s, store.Provider{Name: "west", ResetTZ: "Pacific/Pago_Pago"})  // UTC-11
	if !reserve(t, s, east.ID, 1, 0).Day.After(reserve(t, s, west.ID, 1, 0).Day) {
		t.Error("25 hours apart, and yet the same day")
	}
}

// noon moves the clock to noon, as a day may end within any test, and returns by how
// much.
func noon(t *testing.T, s *store.Store) time.Duration {
	t.Helper()
	by := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour))
	must(t, s.Skew(t.Context(), by))
	return by
}

func TestSweepBooksEstimateAndLateSettleCorrectsIt(t *testing.T) {
	s, _ := open(t)
	begin := noon(t, s)
	p := addProvider(t, s, store.Provider{CostLimit: new(int64(1000)), InputPrice: new(int64(1)), OutputPrice: new(int64(1))})
	r := reserve(t, s, p.ID, 100, 50)
	if n, err := s.SweepReservations(t.Context(), 150*time.Second); err != nil || n != 0 {
		t.Fatalf("swept %d young reservations, %v", n, err)
	}
	must(t, s.Skew(t.Context(), begin+151*time.Second))
	if n, err := s.SweepReservations(t.Context(), 150*time.Second); err != nil || n != 1 {
		t.Fatalf("swept %d, %v; want 1", n, err)
	}
	u := today(t, s, p.ID)
	if u.Tokens != 100 || *u.Cost != 50 || u.ReservedTokens != 0 || u.ReservedCost != 0 {
		t.Errorf("books after the sweep: %+v, want the estimate", u)
	}
	if n, _ := s.SweepReservations(t.Context(), 150*time.Second); n != 0 {
		t.Errorf("swept %d a second time", n)
	}
	must(t, s.SettleQuota(t.Context(), r.ID, store.Usage{Requests: 1, PromptTokens: 30, CompletionTokens: 2, Cost: new(int64(12))}))
	u = today(t, s, p.ID)
	if u.Requests != 1 || u.Tokens != 32 || u.PromptTokens != 30 || *u.Cost != 12 || u.ReservedTokens != 0 {
		t.Errorf("books after a late settlement: %+v, want what it really took", u)
	}
}

func TestBookUsageLeavesUnknownCostUnknown(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	call := store.Usage{ProviderID: p.ID, Requests: 1, PromptTokens: 2, CompletionTokens: 3}
	must(t, s.BookUsage(t.Context(), []store.Usage{call, call, {ProviderID: p.ID + 1000, Requests: 1}}))
	if u := today(t, s, p.ID); u.Requests != 2 || u.Tokens != 10 || u.Cost != nil {
		t.Errorf("books: %+v, want 2 requests, 10 tokens, no cost", u)
	}
	call.Cost, call.InputPrice = new(int64(4)), new(int64(9))
	must(t, s.BookUsage(t.Context(), []store.Usage{call}))
	if u := today(t, s, p.ID); u.Cost == nil || *u.Cost != 4 {
		t.Errorf("books: %+v, want a cost of 4", u)
	}
}

// BenchmarkReserveAndSettle is the books of a call with a quota, on a Postgres that
// flushes to its disk: goal at most 1.5 ms.
func BenchmarkReserveAndSettle(b *testing.B) {
	s, _ := open(b)
	p, err := s.AddProvider(b.Context(), store.Provider{
		Name: "limited", BaseURL: "https://example.org/v1", Model: "m", Active: true, RequestLimit: new(int64(1 << 40)), TokenLimit: new(int64(1 << 40)),
	})
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.ReserveQuota(b.Context(), p.ID, 200, 0)
		must(b, err)
		must(b, s.SettleQuota(b.Context(), r.ID, store.Usage{Requests: 1, PromptTokens: 90, CompletionTokens: 50}))
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
	b.ReportMetric(1.5, "ms-goal")
	b.ReportMetric(0, "ns/op")
}

func reserve(t *testing.T, s *store.Store, provider, tokens, cost int64) store.Reservation {
	t.Helper()
	r, err := s.ReserveQuota(t.Context(), provider, tokens, cost)
	if err != nil {
		t.Fatalf("reserve: %v", err)
	}
	return r
}

func today(t *testing.T, s *store.Store, provider int64) store.DayUsage {
	t.Helper()
	all, err := s.UsageToday(t.Context())
	must(t, err)
	for _, u := range all {
		if u.ProviderID == provider {
			return u
		}
	}
	t.Fatalf("no usage row for provider %d", provider)
	return store.DayUsage{}
}

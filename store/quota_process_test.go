package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
)

// quotaEnv makes a process of this test spend a provider's quota instead:
// "tries provider dsn".
const quotaEnv = "FRONTDESK_TEST_SPEND"

// spend has 8 goroutines reserve and settle so many calls each, and prints how many
// were granted. With 0 tries it reserves one call, says so, and never settles it.
func spend(job string) error {
	var tries int
	var provider int64
	if _, err := fmt.Sscan(job, &tries, &provider); err != nil {
		return err
	}
	dsn := strings.SplitN(job, " ", 3)[2]
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{DSN: dsn, Keyring: ring})
	if err != nil {
		return err
	}
	if tries == 0 {
		_, err := s.ReserveQuota(ctx, provider, 100, 50)
		fmt.Println("reserved")
		time.Sleep(time.Minute) // it is killed before
		return err
	}
	var granted atomic.Int64
	var failed error
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range tries {
				r, err := s.ReserveQuota(ctx, provider, 10, 20)
				if errors.Is(err, store.ErrOverQuota) {
					continue
				}
				if err == nil {
					granted.Add(1)
					err = s.SettleQuota(ctx, r.ID, store.Usage{Requests: 1, PromptTokens: 3, CompletionTokens: 4, Cost: new(int64(11))})
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	asking.Wait()
	fmt.Println(granted.Load())
	return failed
}

// spender starts a process that spends.
func spender(t *testing.T, tries int, provider int64, dsn string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), quotaEnv+"="+fmt.Sprint(tries, " ", provider, " ", dsn))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	return c, bufio.NewScanner(out)
}

func TestEightProcessesSpendAQuotaExactly(t *testing.T) {
	const limit, processes, tries = 2500, 8, 100 // 6,400 calls are tried
	s, dsn := open(t)
	p := addProvider(t, s, store.Provider{RequestLimit: new(int64(limit)), CostLimit: new(int64(1 << 40)), InputPrice: new(int64(1)), OutputPrice: new(int64(2))})
	var spending sync.WaitGroup
	var granted atomic.Int64
	for range processes {
		spending.Go(func() {
			c, said := spender(t, tries, p.ID, dsn)
			if said.Scan() {
				n, _ := strconv.ParseInt(said.Text(), 10, 64)
				granted.Add(n)
			}
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	spending.Wait()
	u := today(t, s, p.ID)
	if granted.Load() != limit || u.Requests != limit || u.Tokens != 7*limit || u.Cost == nil || *u.Cost != 11*limit || u.ReservedTokens != 0 || u.ReservedCost != 0 {
		t.Errorf("granted %d; books: %+v; want %d calls, %d tokens, cost %d, nothing reserved", granted.Load(), u, limit, 7*limit, 11*limit)
	}
}

func TestProcessKilledInACallLeaksNothingAfterTheSweep(t *testing.T) {
	s, dsn := open(t)
	begin := noon(t, s)
	p := addProvider(t, s, store.Provider{RequestLimit: new(int64(2)), CostLimit: new(int64(1000)), InputPrice: new(int64(1)), OutputPrice: new(int64(1))})
	c, said := spender(t, 0, p.ID, dsn)
	if !said.Scan() || said.Text() != "reserved" {
		t.Fatalf("the process said %q", said.Text())
	}
	must(t, c.Process.Kill())
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended with %v", err)
	}
	if u := today(t, s, p.ID); u.ReservedTokens != 100 || u.Requests != 1 {
		t.Fatalf("before the sweep: %+v", u)
	}
	must(t, s.Skew(t.Context(), begin+151*time.Second))
	if n, err := s.SweepReservations(t.Context(), 150*time.Second); err != nil || n != 1 {
		t.Fatalf("swept %d, %v", n, err)
	}
	if u := today(t, s, p.ID); u.ReservedTokens != 0 || u.ReservedCost != 0 || u.Tokens != 100 || *u.Cost != 50 || u.Requests != 1 {
		t.Errorf("after the sweep: %+v, want the estimate booked and nothing reserved", u)
	}
	reserve(t, s, p.ID, 100, 50)
}

func TestDaysOf23And25HoursAreOneDayEach(t *testing.T) {
	for name, c := range map[string]struct{ begins, still, next string }{
		"25 hours": {"2027-11-07T04:30:00Z", "2027-11-08T04:30:00Z", "2027-11-08T05:30:00Z"}, // New York leaves summer time at 6:00 UTC
		"23 hours": {"2027-03-14T05:30:00Z", "2027-03-15T03:30:00Z", "2027-03-15T04:30:00Z"}, // and begins it at 7:00
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t)
			p := addProvider(t, s, store.Provider{RequestLimit: new(int64(1)), ResetTZ: "America/New_York"})
			at := func(moment string) {
				t.Helper()
				then, err := time.Parse(time.RFC3339, moment)
				must(t, err)
				must(t, s.Skew(t.Context(), time.Until(then)))
			}
			at(c.begins)
			reserve(t, s, p.ID, 1, 0)
			at(c.still)
			if _, err := s.ReserveQuota(t.Context(), p.ID, 1, 0); !errors.Is(err, store.ErrOverQuota) {
				t.Errorf("late on the same day: %v, want ErrOverQuota", err)
			}
			at(c.next)
			reserve(t, s, p.ID, 1, 0)
		})
	}
}

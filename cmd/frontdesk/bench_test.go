package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pairMany links n accounts and returns their phones; the first is phone.
func (r *rig) pairMany(n int) []string {
	r.t.Helper()
	phones := make([]string, n)
	turn := make(chan struct{}, 4)
	var pairing sync.WaitGroup
	r.api(http.MethodGet, "/api/v1/accounts", nil, nil) // makes the token
	for i := range n {
		phones[i] = fmt.Sprint(12025551000 + i)
		turn <- struct{}{}
		pairing.Go(func() {
			r.pair(phones[i])
			<-turn
		})
	}
	pairing.Wait()
	eventually(r.t, time.Minute, "all accounts to connect", func() bool {
		for _, p := range phones {
			if !r.wa.Phone(p).Connected() {
				return false
			}
		}
		return true
	})
	return phones
}

// resident is the memory of the process in MiB, as the system counts it.
func (r *rig) resident() float64 {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.child.Process.Pid))
	must(r.t, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	must(r.t, err)
	return float64(kib) / 1024
}

// BenchmarkHundredAccounts is the memory of frontdesk alone, without Postgres, and
// the way back after a restart: goals 64 MiB with 100 idle accounts, 150 MiB after
// a burst of 6,000 messages, and 2 s until all are connected again.
func BenchmarkHundredAccounts(b *testing.B) {
	for b.Loop() {
		r := newRig(b, nil)
		r.start()
		r.provider(r.ai, "first", 10)
		b.ReportMetric(r.resident(), "MiB-empty")
		phones := r.pairMany(100)
		for i := range phones {
			r.quick(int64(i+1), 0)
		}
		time.Sleep(5 * time.Second)
		b.ReportMetric(r.resident(), "MiB-just-paired")
		code, _ := r.stop()
		if code != 0 {
			b.Fatalf("exit code %d", code)
		}
		launched := time.Now()
		r.start()
		back := r.comeBack(launched, len(phones))
		b.ReportMetric(back.sinceLaunch.Seconds(), "s-all-back-since-launch")
		b.ReportMetric(back.sinceFirst.Seconds(), "s-first-to-last-login")
		b.ReportMetric(float64(back.perSecond), "most-logins-in-a-second")
		time.Sleep(30 * time.Second)
		b.ReportMetric(r.resident(), "MiB-100-accounts-idle")
		r.burst(b, phones, 60)
		b.ReportMetric(r.resident(), "MiB-after-6000-messages")
		b.ReportMetric(0, "ns/op")
	}
}

// comeback is how accounts connected after a restart.
type comeback struct {
	sinceLaunch, sinceFirst time.Duration
	perSecond               int // most logins in any second
}

// comeBack waits until n accounts have logged in since launched.
func (r *rig) comeBack(launched time.Time, n int) comeback {
	r.t.Helper()
	var logins []time.Time
	eventually(r.t, time.Minute, "all accounts to connect", func() bool {
		logins = slices.DeleteFunc(r.wa.Logins(), func(at time.Time) bool { return at.Before(launched) })
		return len(logins) >= n
	})
	slices.SortFunc(logins, time.Time.Compare)
	c := comeback{sinceLaunch: logins[n-1].Sub(launched), sinceFirst: logins[n-1].Sub(logins[0])}
	for i, from := range logins {
		within := slices.IndexFunc(logins[i:], func(at time.Time) bool { return at.Sub(from) > time.Second })
		if within < 0 {
			within = len(logins) - i
		}
		c.perSecond = max(c.perSecond, within)
	}
	return c
}

// burst has one customer of each account write n messages, as fast as they come,
// and waits for all answers.
func (r *rig) burst(b *testing.B, phones []string, n int) {
	b.Helper()
	var writing sync.WaitGroup
	crowds := make([]*crowd, len(phones))
	for i, number := range phones {
		crowds[i] = newCrowd(r, number, 1)
		crowds[i].first += int64(i)
		writing.Go(func() { crowds[i].write(n, 0) })
	}
	writing.Wait()
	for _, c := range crowds {
		if got := c.await(2 * time.Minute); !got.clean() {
			b.Fatal(got)
		}
	}
}

// delaying measures what a load of single messages goes through.
type delaying struct {
	mu        sync.Mutex
	delivered map[string]time.Time // by message id: when it reached the socket
}

func (f *delaying) note(_, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.delivered == nil {
		f.delivered = map[string]time.Time{}
	}
	f.delivered[id] = time.Now()
}

// delays are the times from a message's arrival at the socket to the answer on
// the customer's phone, sorted. Only messages with an answer of their own count.
func (f *delaying) delays(c *crowd) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []time.Duration
	for i := range c.size {
		var asked time.Time
		for _, m := range c.r.wa.Customer(c.number(i)).Messages(c.account) {
			if m.FromCustomer {
				asked = f.delivered[m.ID]
			} else if !asked.IsZero() {
				all = append(all, m.At.Sub(asked))
				asked = time.Time{}
			}
		}
	}
	slices.Sort(all)
	return all
}

// steady has the crowd write at a rate, customer after customer.
func (c *crowd) steady(rate float64, n int) {
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for m := range n {
		<-tick.C
		i := m % c.size
		c.written[i]++
		if _, err := c.r.wa.Customer(c.number(i)).Send(deadline(c.r.t, time.Minute), c.account, strconv.Itoa(c.written[i])); err != nil {
			c.r.t.Fatal(err)
		}
	}
}

// BenchmarkAddedLatency is what frontdesk adds to the AI's time at 20 messages a
// second: goal p50 5 ms, p99 25 ms. The endpoint answers at once.
func BenchmarkAddedLatency(b *testing.B) {
	for b.Loop() {
		var f delaying
		r, c := benchCrowd(b, &f, 40)
		c.steady(20, 80) // first contacts
		f.delivered = nil
		calls, took := r.ai.calls.Load(), r.ai.took.Load()
		c.steady(20, 600)
		got := c.await(30 * time.Second)
		delays := f.delays(c)
		ai := time.Duration((r.ai.took.Load() - took) / max(1, r.ai.calls.Load()-calls))
		if !got.clean() || len(delays) < 500 {
			b.Fatal(got, len(delays))
		}
		b.ReportMetric(milliseconds(delays[len(delays)/2]), "p50-ms")
		b.ReportMetric(milliseconds(delays[len(delays)*99/100]), "p99-ms")
		b.ReportMetric(milliseconds(ai), "of-that-inside-the-provider-ms")
		b.ReportMetric(r.resident(), "MiB")
		b.ReportMetric(0, "ns/op")
		r.kill()
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkHighestRate raises the rate until answers are more than two seconds
// behind, and counts what was lost, doubled or reordered on the way.
func BenchmarkHighestRate(b *testing.B) {
	for b.Loop() {
		r, c := benchCrowd(b, &delaying{}, 200)
		c.steady(50, 400)
		held := 0.0
		for _, rate := range []float64{50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400} {
			c.steady(rate, int(rate*5))
			behind := time.Now()
			got := c.await(time.Minute)
			b.Logf("%.0f messages/s: %v, last answer after %v", rate, got, time.Since(behind).Round(time.Millisecond))
			if !got.clean() {
				b.Fatal(got)
			}
			if time.Since(behind) > 2*time.Second {
				break
			}
			held = rate
		}
		b.ReportMetric(held, "messages/s-held")
		b.ReportMetric(0, "ns/op")
		r.kill()
	}
}

// benchCrowd is a running frontdesk with an account that answers at once.
func benchCrowd(b *testing.B, f *delaying, size int) (*rig, *crowd) {
	b.Helper()
	r := newRig(b, f.note)
	r.start()
	r.provider(r.ai, "first", 10)
	r.quick(r.pair(phone), 0)
	return r, newCrowd(r, phone, size)
}

func TestHundredAccountsConnectAndTheNextIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	r.api(http.MethodGet, "/api/v1/accounts", nil, nil)
	var adding sync.WaitGroup
	answers := make([]item, 101)
	status := make([]int, 101)
	for i := range answers {
		adding.Go(func() {
			status[i] = r.api(http.MethodPost, "/api/v1/accounts", map[string]string{"name": fmt.Sprint("Desk ", i)}, &answers[i])
		})
	}
	adding.Wait()
	made := slices.DeleteFunc(slices.Clone(status), func(s int) bool { return s != http.StatusCreated })
	at := slices.Index(status, http.StatusConflict)
	if len(made) != 100 || at < 0 {
		t.Fatalf("%d of 101 accounts were made at once: %v", len(made), status)
	}
	if a := answers[at]; a.Detail != "Cannot initialize account: instance limit (100) reached" {
		t.Fatalf("refused with %d: %q", status[at], a.Detail)
	}
	eventually(t, time.Minute, "the log to say so", func() bool { return strings.Contains(r.log.String(), "Instance limit reached") })
	n := 0
	turn := make(chan struct{}, 4)
	var pairing sync.WaitGroup
	for i, a := range answers {
		if status[i] != http.StatusCreated {
			continue
		}
		n++
		number := fmt.Sprint(12025551000 + n)
		turn <- struct{}{}
		pairing.Go(func() {
			defer func() { <-turn }()
			eventually(t, time.Minute, "the phone to scan a code that is still good", func() bool {
				var code item
				status := r.api(http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/qr", a.ID), nil, &code)
				phone := r.wa.Phone(number)
				return phone.Linked() || status == http.StatusOK && phone.Scan(deadline(t, time.Minute), code.Code) == nil
			})
		})
	}
	pairing.Wait()
	var all struct {
		Items []item `json:"items"`
	}
	eventually(t, time.Minute, "100 connected accounts", func() bool {
		r.api(http.MethodGet, "/api/v1/accounts", nil, &all)
		return len(slices.DeleteFunc(all.Items, func(a item) bool { return a.Status != "connected" })) == 100
	})
	if code, took := r.stop(); code != 0 || took > 10*time.Second {
		t.Fatalf("the stop took %v and gave exit code %d", took, code)
	}
}

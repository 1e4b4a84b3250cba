package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/wasim"
)

// gauge is a number of /metrics.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	var page string
	r.api(http.MethodGet, "/metrics", nil, &page)
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(r.t, err)
			return n
		}
	}
	r.t.Fatalf("there is no metric %s", name)
	return 0
}

// hour is what an account goes through in one: a lost connection and ten messages.
func (r *rig) hour(crowds []*crowd) {
	r.t.Helper()
	for _, c := range crowds {
		must(r.t, r.wa.Fault(wasim.Fault{Kind: wasim.Cut, Account: c.account}))
	}
	r.talk(crowds)
	eventually(r.t, time.Minute, "all accounts to be back", func() bool {
		for _, c := range crowds {
			if !r.wa.Phone(c.account).Connected() {
				return false
			}
		}
		return true
	})
}

// talk has every account get ten messages and answer them.
func (r *rig) talk(crowds []*crowd) {
	r.t.Helper()
	var living sync.WaitGroup
	for _, c := range crowds {
		living.Go(func() { c.write(10, 10*time.Millisecond) })
	}
	living.Wait()
	for _, c := range crowds {
		if got := c.await(2 * time.Minute); !got.clean() {
			r.t.Fatal(got)
		}
	}
}

// day lives through some hours and returns goroutines and resident memory after
// each. Before them, accounts talk that often, so that what the library keeps of
// recent messages (256 an account) is full.
func (r *rig) day(accounts, hours, before int) (goroutines, resident []float64) {
	r.t.Helper()
	var crowds []*crowd
	for i, number := range r.pairMany(accounts) {
		r.quick(int64(i+1), 0)
		c := newCrowd(r, number, 1)
		c.first += int64(i)
		crowds = append(crowds, c)
	}
	for range before {
		r.talk(crowds)
	}
	for range hours {
		r.hour(crowds)
		goroutines, resident = append(goroutines, r.gauge("go_goroutines")), append(resident, r.resident())
	}
	return goroutines, resident
}

func TestReconnectsAndTrafficLeaveNoGoroutineBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	r.provider(r.ai, "first", 10)
	goroutines, _ := r.day(3, 8, 1)
	first := goroutines[1]
	eventually(t, time.Minute, fmt.Sprintf("as few goroutines as after two hours, %v; there were %v", first, goroutines), func() bool {
		return r.gauge("go_goroutines") <= first+5
	})
}

// BenchmarkADay is 24 hours of reconnects and traffic of 12 accounts, without the
// waiting between them: memory after the second hour beside that after the last.
func BenchmarkADay(b *testing.B) {
	for b.Loop() {
		r := newRig(b, nil)
		r.start()
		r.provider(r.ai, "first", 10)
		goroutines, resident := r.day(12, 24, 27)
		last := len(goroutines) - 1
		b.Log("MiB by hour:", strings.Trim(fmt.Sprintf("%.0f", resident), "[]"))
		b.ReportMetric(resident[1], "MiB-hour-2")
		b.ReportMetric(resident[last], "MiB-hour-24")
		b.ReportMetric(goroutines[1], "goroutines-hour-2")
		b.ReportMetric(goroutines[last], "goroutines-hour-24")
		b.ReportMetric(0, "ns/op")
	}
}

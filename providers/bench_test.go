package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// Goals of providers.md, printed beside what was measured.
const (
	goalWithout  = 20   // µs of selection, classification and books; with a quota see store's BenchmarkReserveAndSettle
	goalFailover = 1000 // µs from a failure to the next call
)

// fifty are as many rows as are loaded at most, in tiers of five.
func fifty(address string) []store.Provider {
	var rows []store.Provider
	for i := range 50 {
		rows = append(rows, store.Provider{Name: fmt.Sprint("p", i), BaseURL: address, Priority: -(i / 5), Weight: 1 + i%3})
	}
	return rows
}

// BenchmarkSelection is who is asked for a chat among fifty.
func BenchmarkSelection(b *testing.B) {
	r, _ := start(b, fifty("http://127.0.0.1:1/v1")...)
	rows := r.snapshot.Load().rows
	b.ReportAllocs()
	for b.Loop() {
		t := r.newTurn(b.Context(), &chat{q: question}, 7, rows)
		if c, _, _ := t.choose(time.Now()); c == nil {
			b.Fatal("nobody is asked")
		}
	}
	perCall(b, "µs", goalWithout)
}

// BenchmarkClassification is what is made of a refusal.
func BenchmarkClassification(b *testing.B) {
	body := []byte(`{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}`)
	header := http.Header{"Retry-After": {"20"}, "X-Ratelimit-Reset-Requests": {"6m0s"}}
	b.ReportAllocs()
	for b.Loop() {
		f := &failure{err: errNoAnswer, seen: &seen{status: 429, header: header, body: body}}
		if f.classify(); f.class != ClassQuota || retryAfter(header, body, time.Now()) != 20*time.Second {
			b.Fatal(f.class)
		}
	}
	perCall(b, "µs", goalWithout)
}

// BenchmarkBooks is the place and the books of a call without a quota.
func BenchmarkBooks(b *testing.B) {
	r, _ := start(b, fifty("http://127.0.0.1:1/v1")...)
	c := r.snapshot.Load().rows[0]
	b.ReportAllocs()
	for b.Loop() {
		place, why := r.admit(b.Context(), c, c.price(100, 100), false)
		if why != "" {
			b.Fatal(why)
		}
		place.settle(b.Context(), c.price(90, 50))
	}
	perCall(b, "µs", goalWithout)
}

// BenchmarkFailoverDecision is the time between a provider's refusal and the call
// of the next one, the network of this machine included.
func BenchmarkFailoverDecision(b *testing.B) {
	var refused, asked atomic.Int64
	sick := newEndpoint(b, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":{"message":"Incorrect API key provided"}}`)
		refused.Store(time.Now().UnixNano())
	})
	well := newEndpoint(b, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(time.Now().UnixNano())
		answers("Yes, tulips.")(w, r)
	})
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		r, _ := start(b, sick.row("a", 2), well.row("b", 1))
		if _, err := r.Test(b.Context(), 2); err != nil { // its connection is open, as it would be
			b.Fatal(err)
		}
		b.StartTimer()
		if got, err := r.Chat(b.Context(), question); err != nil || got.Provider != "b" {
			b.Fatal(err)
		}
		took = append(took, time.Duration(asked.Load()-refused.Load()))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(goalFailover, "µs-goal")
}

// BenchmarkOverhead is a chat through the registry beside the same call by net/http
// alone, by turns.
func BenchmarkOverhead(b *testing.B) {
	e := newEndpoint(b, answers("Yes, tulips."))
	r, _ := start(b, e.row("a", 1))
	body, err := json.Marshal(openai.ChatCompletionRequest{Model: "model", Stream: true, MaxTokens: 1024, Messages: []openai.ChatCompletionMessage{
		{Role: "system", Content: question.Messages[0].Text}, {Role: "user", Content: question.Messages[1].Text},
	}})
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: newTransport(only([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}))}
	raw := func() {
		resp, err := client.Post(e.URL+"/v1/chat/completions", "application/json", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	var ours, theirs []time.Duration
	for b.Loop() {
		began := time.Now()
		raw()
		middle := time.Now()
		if _, err := r.Chat(b.Context(), question); err != nil {
			b.Fatal(err)
		}
		theirs, ours = append(theirs, middle.Sub(began)), append(ours, time.Since(middle))
	}
	client.CloseIdleConnections()
	slices.Sort(ours)
	slices.Sort(theirs)
	middle := len(ours) / 2
	b.ReportMetric(float64(theirs[middle].Microseconds()), "µs-raw-p50")
	b.ReportMetric(float64(ours[middle].Microseconds()), "µs-registry-p50")
	b.ReportMetric(float64((ours[middle] - theirs[middle]).Microseconds()), "µs-overhead")
	b.ReportMetric(0, "ns/op")
}

// perCall reports microseconds beside their goal.
func perCall(b *testing.B, unit string, goal float64) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N), unit)
	b.ReportMetric(goal, unit+"-goal")
	b.ReportMetric(0, "ns/op")
}

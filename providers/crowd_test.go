package providers

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// sick are primaries with the faults of the list that a second provider makes good,
// however many turns meet them at once.
var sick = map[string]http.HandlerFunc{
	"F02 rate limit":  refuses(429, `{"error":{"message":"slow down"}}`),
	"F03 error":       refuses(500, `{"error":{"message":"oops"}}`),
	"F04 unavailable": refuses(503, `{"error":{"message":"busy"}}`, "Retry-After", "1"),
	"F05 reset":       resets,
	"F06 silence":     hangs,
	"F07 no token":    func(w http.ResponseWriter, r *http.Request) { streams(w); hangs(w, r) },
	"F08 cut":         func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Yes, tul", "") },
	"F09 stall":       func(w http.ResponseWriter, r *http.Request) { chunk(streams(w), "Yes, tul", ""); hangs(w, r) },
	"F10 broken chunk": func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(streams(w), "data: {\"choices\":[{\"del\n\n")
	},
	"F12 context length": refuses(400, tooLong),
	"F17 error":          says(`{"error":{"message":"upstream failed"}}`),
	"F18 empty":          says(`{}`),
	"F19 no choices":     says(`{"id":"x","choices":[]}`),
	"F20 HTML":           says("<!doctype html><title>Welcome</title>"),
	"F21 text":           refuses(500, `{"error":"upstream failed"}`),
	"F22 redirect":       refuses(307, "", "Location", "http://127.0.0.1:1/"),
	"F23 payment":        refuses(402, `{"error":{"message":"pay first"}}`),
	"F24 no credit":      refuses(429, `{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}`),
	"F25 Retry-After":    refuses(429, `{"error":{"message":"slow down"}}`, "Retry-After", in(60)),
	"F26 empty content":  func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "", "stop") },
	"F28 endless body":   func(w http.ResponseWriter, _ *http.Request) { flood(streams(w), "data: "+strings.Repeat("x", 64<<10)) },
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func TestTwoHundredTurnsAtOnceSurviveEveryFault(t *testing.T) { // alone: it takes all of the machine
	for name, fault := range sick {
		t.Run(name, func(t *testing.T) {
			a, b := newEndpoint(t, fault), newEndpoint(t, answers("Yes, tulips."))
			short := usualPatience
			short.reasoning, short.usage = time.Minute, time.Minute
			if name == "F06 silence" || name == "F07 no token" || name == "F09 stall" {
				short.first, short.stall = 3*time.Second, 3*time.Second
			}
			r, s := startWith(t, short, a.row("a", 2), b.patient("b", 1))
			const turns = 200
			var asking sync.WaitGroup
			for i := range int64(turns) {
				asking.Go(func() {
					q := question
					q.Conversation = i
					got, err := r.Chat(t.Context(), q)
					if err != nil || got.Text != "Yes, tulips." || got.Provider != "b" {
						t.Errorf("%s answered %q, %v", got.Provider, got.Text, err)
					}
				})
			}
			asking.Wait()
			wantBooks(t, s, r, 2, turns, 10*turns, 5*turns)
		})
	}
}

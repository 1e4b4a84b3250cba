package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

// The fault list of providers.md. Each test says which provider must answer, on
// which way, and what the books must hold. "a" is asked before "b".

func TestF01RateLimitOnceIsWaitedForWhenNobodyElseIsLeft(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(429, `{"error":{"message":"slow down"}}`, "Retry-After-Ms", "20"), answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2))
	wantAnswer(t, r, "a", "a:rate_limit a:ok")
	wantBooks(t, s, r, 1, 2, 10, 5)
}

func TestF01RateLimitOnceFailsOverWithoutWaiting(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(429, `{"error":{"message":"slow down"}}`, "Retry-After", "30"))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:rate_limit b:ok")
	wantAnswer(t, r, "b", "b:ok") // a cools
}

func TestF02RateLimitForGoodFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(429, `{"error":{"message":"slow down"}}`))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:rate_limit b:ok")
	if len(s.paused) != 0 {
		t.Error("a rate limit switched the provider off")
	}
}

func TestF03ServerErrorOnceIsRepeated(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(500, `{"error":{"message":"oops"}}`), answers("Yes, tulips."))
	b := newEndpoint(t, answers("never asked"))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "a", "a:transient a:ok")
}

func TestF04UnavailableFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(503, "Service Unavailable"))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:transient a:transient b:ok")
	wantBooks(t, s, r, 1, 2, 0, 0)
	wantBooks(t, s, r, 2, 1, 10, 5)
}

func TestF05ResetFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, resets)
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:network a:network b:ok")
}

func TestF05RefusedConnectionFailsOverAndCountsNowhere(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers("never"))
	a.Close()
	b := newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:network a:network b:ok")
	wantBooks(t, s, r, 1, 0, 0, 0)
}

func TestF06SilenceFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, hangs)
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := startImpatient(t, a.row("a", 2), b.patient("b", 1))
	wantAnswer(t, r, "b", "a:first_byte b:ok")
}

func TestF07SlowFirstTokenFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		streams(w) // headers come at once, nothing else does
		hangs(w, r)
	})
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := startImpatient(t, a.row("a", 2), b.patient("b", 1))
	wantAnswer(t, r, "b", "a:first_byte b:ok")
}

func TestF08CutStreamIsNeverAnAnswer(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Yes, tul", "") }
	a, b := newEndpoint(t, cut), newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:stream_cut a:stream_cut b:ok")
	if u := s.books(t, r, 1); u.Requests != 2 || u.PromptTokens == 0 || u.CompletionTokens == 0 {
		t.Errorf("books of cut streams: %+v, want an estimate of what may be billed", u)
	}
}

// Whoever waits hears how much has been written, from the beginning again when another
// provider is asked.
func TestProgressOfAnAnswerIsHeard(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Zwölf", "") }
	a, b := newEndpoint(t, cut), newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	var heard []int
	q := question
	q.Progress = func(characters int) { heard = append(heard, characters) }
	got, err := r.Chat(t.Context(), q)
	if err != nil || got.Text != "Yes, tulips." {
		t.Fatalf("answered %q, %v", got.Text, err)
	}
	if heard = slices.Compact(heard); !slices.Equal(heard, []int{5, 6, 12}) {
		t.Errorf("heard of %v characters, want 5 (tried twice), then 6 and 12", heard)
	}
}

func TestF09StallFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		chunk(streams(w), "Yes, tul", "")
		hangs(w, r)
	})
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := startImpatient(t, a.row("a", 2), b.patient("b", 1))
	wantAnswer(t, r, "b", "a:stall b:ok")
}

func TestF10BrokenChunkFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk(streams(w), "Yes, ", "")
		io.WriteString(w, "data: {\"choices\":[{\"del\n\n")
		chunk(w, "tulips.", "stop")
	})
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:malformed b:ok")
}

func TestF11MissingDoneIsNoFault(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Yes, tulips.", "stop") })
	b := newEndpoint(t, answers("never asked"))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "a", "a:ok")
	if u := s.books(t, r, 1); u.PromptTokens == 0 || u.CompletionTokens == 0 {
		t.Errorf("books %+v, want an estimate where no usage came", u)
	}
}

func TestF11WholeAnswerIsNotKeptWaitingForItsUsage(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		chunk(streams(w), "Yes, tulips.", "stop")
		hangs(w, r)
	})
	r, _ := startImpatient(t, a.row("a", 2))
	wantAnswer(t, r, "a", "a:ok")
}

const tooLong = `{"error":{"message":"This model's maximum context length is 4096 tokens.","code":"context_length_exceeded"}}`

func TestF12ContextLengthGoesToALargerWindow(t *testing.T) {
	t.Parallel()
	a, b, c := newEndpoint(t, refuses(400, tooLong)), newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	small, large := b.row("b", 2), c.row("c", 1)
	small.ContextTokens, large.ContextTokens = 128_000, 1_000_000
	r, _ := start(t, a.row("a", 3), small, large)
	wantAnswer(t, r, "c", "a:context c:ok")
	if h := r.Health()[0]; h.State != "ready" {
		t.Errorf("a long conversation left %s in state %s", h.Name, h.State)
	}
}

func TestF12ContextLengthIsTrimmedOnceWithoutALargerWindow(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(400, tooLong), answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2))
	q := Request{Messages: []Message{
		{Role: RoleSystem, Text: "You are a florist."}, {Role: RoleUser, Text: "one"}, {Role: RoleAssistant, Text: "two"}, {Role: RoleUser, Text: "three"}, {Role: RoleAssistant, Text: "four"}, {Role: RoleUser, Text: "five"},
	}}
	got, err := r.Chat(t.Context(), q)
	if err != nil || way(got.Attempts) != "a:context a:ok" {
		t.Fatalf("answer %+v, %v", got, err)
	}
	if got := a.said(1); got != "system:You are a florist. user:three assistant:four user:five" {
		t.Errorf("second time it was asked %q, want the younger half, from the customer on", got)
	}
}

const filtered = `{"error":{"message":"The response was filtered due to the prompt.","code":"content_filter"}}`

func TestF13ContentFilterEndsTheTurn(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(400, filtered)), newEndpoint(t, answers("never asked"))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	e := wantFailure(t, r, "a:filter")
	if e.Temporary {
		t.Error("a refused subject is called temporary")
	}
}

func TestF13ContentFilterGoesWhereARowSaysSo(t *testing.T) {
	t.Parallel()
	stops := func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Yes, tul", "content_filter") }
	a, b, c := newEndpoint(t, stops), newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	willing := c.row("c", 1)
	willing.AnswerFiltered = true
	r, _ := start(t, a.row("a", 3), b.row("b", 2), willing)
	wantAnswer(t, r, "c", "a:filter c:ok")
}

func TestF14FallbackSeesOnlyWhatTheCustomerSaw(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, _ *http.Request) { chunk(streams(w), "Yes, tul", "") }
	a := newEndpoint(t, cut)
	b := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		var q openai.ChatCompletionRequest
		_ = json.NewDecoder(r.Body).Decode(&q)
		if q.Messages[len(q.Messages)-1].Role == openai.ChatMessageRoleAssistant {
			refuses(400, `{"error":{"message":"prefilled history is not accepted"}}`)(w, r)
			return
		}
		answers("Yes, tulips.")(w, r)
	})
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:stream_cut a:stream_cut b:ok")
}

func TestF16EveryTokenIsBookedOnce(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(500, "oops"), answers("Yes, tulips."))
	b := newEndpoint(t, answers("Yes, tulips."))
	first, second := a.row("a", 2), b.row("b", 1)
	first.RequestLimit, first.InputPrice, first.OutputPrice = new(int64(20)), new(int64(3_000_000)), new(int64(15_000_000))
	r, s := start(t, first, second)
	var asking sync.WaitGroup
	for range 30 {
		asking.Go(func() {
			if _, err := r.Chat(t.Context(), question); err != nil {
				t.Errorf("chat: %v", err)
			}
		})
	}
	asking.Wait()
	ua, ub := s.books(t, r, 1), s.books(t, r, 2)
	if ua.Requests != 20 || ua.PromptTokens != 190 || ua.CompletionTokens != 95 || *ua.Cost != 190*3+95*15 {
		t.Errorf("books of a: %+v, want 20 requests, 19 of them answered", ua)
	}
	if ub.Requests != 11 || ub.PromptTokens != 110 || ub.CompletionTokens != 55 || ub.Cost != nil {
		t.Errorf("books of b: %+v, want 11 requests", ub)
	}
	if len(s.held) != 0 {
		t.Errorf("%d reservations were never settled", len(s.held))
	}
}

func TestF17To20SuccessWithoutAnAnswerFailsOver(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"F17 error":      `{"error":{"message":"upstream failed"}}`,
		"F18 empty":      `{}`,
		"F19 no choices": `{"id":"x","choices":[]}`,
		"F20 html":       "<!doctype html><title>Welcome</title>",
		"nothing":        "",
	} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " stream ", stream), func(t *testing.T) {
				t.Parallel()
				a, b := newEndpoint(t, refuses(200, body)), newEndpoint(t, answers("Yes, tulips."))
				first := a.row("a", 2)
				if !stream {
					first.Capabilities = []string{}
				}
				r, s := start(t, first, b.row("b", 1))
				wantAnswer(t, r, "b", "a:malformed b:ok")
				wantBooks(t, s, r, 1, 1, 0, 0)
			})
		}
	}
}

func TestF17ErrorInASuccessIsReadForWhatItSays(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(200, `{"error":{"message":"You exceeded your current quota","code":429}}`))
	b := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(streams(w), `data: {"error":{"message":"slow down","code":429}}`+"\n\n")
	})
	c := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 3), b.row("b", 2), c.row("c", 1))
	wantAnswer(t, r, "c", "a:quota b:rate_limit c:ok")
}

func TestF21ErrorAsTextIsRead(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(400, `{"error":"insufficient credits"}`)), newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	got := wantAnswer(t, r, "b", "a:quota b:ok")
	if why := got.Attempts[0].Err; !strings.Contains(why, "a has no credit left (HTTP 400): insufficient credits") {
		t.Errorf("explained as %q", why)
	}
}

func TestF22RedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	trap := newEndpoint(t, answers("from somewhere else"))
	for _, status := range []int{304, 307} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			a := newEndpoint(t, refuses(status, "", "Location", trap.URL+"/v1/chat/completions"))
			b := newEndpoint(t, answers("Yes, tulips."))
			r, _ := start(t, a.row("a", 2), b.row("b", 1))
			wantAnswer(t, r, "b", "a:unknown b:ok")
		})
	}
	t.Cleanup(func() {
		if trap.calls() != 0 {
			t.Error("a redirect was followed")
		}
	})
}

func TestF23PaymentRequiredSwitchesOff(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(402, `{"error":{"message":"Payment Required"}}`)), newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:quota b:ok")
	wantAnswer(t, r, "b", "b:ok")
	if err := r.Close(t.Context()); err != nil || len(s.paused) != 1 || s.paused[0] != 1 {
		t.Errorf("switched off in the database: %v (close: %v), want provider 1", s.paused, err)
	}
}

func TestF24InsufficientQuotaIsNoRateLimit(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, refuses(429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","code":"insufficient_quota"}}`))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:quota b:ok")
	if h := r.Health()[0]; h.State != "paused" || time.Until(h.Until) < 59*time.Minute {
		t.Errorf("health %+v, want paused for an hour", h)
	}
}

func TestF25RetryAfterIsUnderstoodInEveryForm(t *testing.T) {
	t.Parallel()
	const gemini = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","details":[{"retryDelay":"40s"}]}}`
	for name, h := range map[string]http.HandlerFunc{
		"seconds":      refuses(429, "{}", "Retry-After", "40"),
		"date":         func(w http.ResponseWriter, r *http.Request) { refuses(429, "{}", "Retry-After", in(40))(w, r) },
		"milliseconds": refuses(429, "{}", "Retry-After-Ms", "40000"),
		"azure":        refuses(429, "{}", "X-Ms-Retry-After-Ms", "40000"),
		"body":         refuses(429, gemini),
		"reset":        refuses(429, "{}", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "40s", "X-Ratelimit-Reset-Requests", "9h"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newEndpoint(t, h), newEndpoint(t, answers("Yes, tulips."))
			r, _ := start(t, a.row("a", 2), b.row("b", 1))
			wantAnswer(t, r, "b", "a:rate_limit b:ok")
			if left := time.Until(r.Health()[0].Until); left < 31*time.Second || left > 41*time.Second {
				t.Errorf("cools for %v, want 40 s", left)
			}
		})
	}
}

func TestF26EmptyContentIsAskedAgainThenFailsOver(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers(" "))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "b", "a:malformed a:malformed b:ok")
	wantBooks(t, s, r, 1, 2, 20, 10)
}

func TestF27EndlessKeepAlivesAreSilence(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		for streams(w); r.Context().Err() == nil; http.NewResponseController(w).Flush() {
			if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
				return
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := startImpatient(t, a.row("a", 2), b.patient("b", 1))
	wantAnswer(t, r, "b", "a:first_byte b:ok")
}

func TestF28EndlessBodyIsNotRead(t *testing.T) {
	t.Parallel()
	line := "data: " + strings.Repeat("x", 64<<10)
	for name, floods := range map[string]http.HandlerFunc{
		"one line": func(w http.ResponseWriter, _ *http.Request) { flood(streams(w), line) },
		"chunks": func(w http.ResponseWriter, _ *http.Request) {
			flood(streams(w), `data: {"choices":[{"delta":{"content":"`+strings.Repeat("x", 1000)+`"}}]}`+"\n\n")
		},
		"json":  func(w http.ResponseWriter, _ *http.Request) { flood(w, `{"x":"`+line) },
		"error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot); flood(w, line) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newEndpoint(t, floods), newEndpoint(t, answers("Yes, tulips."))
			r, _ := start(t, a.row("a", 2), b.row("b", 1))
			want := "a:malformed b:ok"
			if name == "error" {
				want = "a:unknown b:ok"
			}
			wantAnswer(t, r, "b", want)
			if left := r.clients.bytes.Load(); left != 0 {
				t.Errorf("%d bytes of answers are still counted", left)
			}
		})
	}
}

// wantAnswer asks r and wants the only true answer, from provider, on this way.
func wantAnswer(t *testing.T, r *Registry, provider, steps string) Answer {
	t.Helper()
	got, err := r.Chat(t.Context(), question)
	if err != nil {
		t.Fatalf("chat: %v", err)
	}
	if got.Text != "Yes, tulips." || got.Provider != provider || way(got.Attempts) != steps {
		t.Fatalf("%s answered %q by %s, want %s by %s", got.Provider, got.Text, way(got.Attempts), provider, steps)
	}
	return got
}

func wantFailure(t *testing.T, r *Registry, steps string) *Error {
	t.Helper()
	got, err := r.Chat(t.Context(), question)
	e, ok := errors.AsType[*Error](err)
	if !ok || way(e.Attempts) != steps {
		t.Fatalf("answer %+v, %v; want a failure by %s", got, err, steps)
	}
	return e
}

func wantBooks(t *testing.T, s *shelf, r *Registry, id, requests, prompt, completion int64) {
	t.Helper()
	u := s.books(t, r, id)
	if u.Requests != requests || u.PromptTokens != prompt || u.CompletionTokens != completion {
		t.Errorf("books of provider %d: %d requests, %d + %d tokens; want %d, %d + %d",
			id, u.Requests, u.PromptTokens, u.CompletionTokens, requests, prompt, completion)
	}
}

// endpoint is a service that treats each call as the next handler says, and all
// further ones as the last.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	requests []openai.ChatCompletionRequest
	keys     []string
}

func newEndpoint(t testing.TB, handlers ...http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		var q openai.ChatCompletionRequest
		_ = json.Unmarshal(body, &q)
		e.mu.Lock()
		n := len(e.requests)
		e.requests, e.keys = append(e.requests, q), append(e.keys, r.Header.Get("Authorization"))
		e.mu.Unlock()
		handlers[min(n, len(handlers)-1)](w, r)
	}))
	e.Config.ErrorLog = nil
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) row(name string, priority int) store.Provider {
	return store.Provider{Name: name, BaseURL: e.URL + "/v1", Priority: priority}
}

// patient is a row whose first byte is waited for as long as for a model that thinks first.
func (e *endpoint) patient(name string, priority int) store.Provider {
	p := e.row(name, priority)
	p.ParamStyle = store.ParamsReasoning
	return p
}

func (e *endpoint) calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// said is the conversation of the nth call.
func (e *endpoint) said(n int) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, m := range e.requests[n].Messages {
		lines = append(lines, m.Role+":"+m.Content)
	}
	return strings.Join(lines, " ")
}

// answers streams text as it should be, and charges 10 + 5 tokens.
func answers(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		half := len(text) / 2
		chunk(streams(w), text[:half], "")
		chunk(w, text[half:], "")
		chunk(w, "", "stop")
		io.WriteString(w, `data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`+"\n\ndata: [DONE]\n\n")
	}
}

func refuses(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// hangs says nothing until the caller gives up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// resets closes the connection the hard way.
func resets(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func streams(w http.ResponseWriter) http.ResponseWriter {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	return w
}

func chunk(w http.ResponseWriter, text, finish string) {
	line, _ := json.Marshal(openai.ChatCompletionStreamResponse{Choices: []openai.ChatCompletionStreamChoice{{
		Delta: openai.ChatCompletionStreamChoiceDelta{Content: text}, FinishReason: openai.FinishReason(finish),
	}}})
	fmt.Fprintf(w, "data: %s\n\n", line)
	_ = http.NewResponseController(w).Flush()
}

// flood writes 100 MB or until the reader is gone.
func flood(w io.Writer, text string) {
	for range 100 << 20 / len(text) {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

func in(seconds int) string {
	return time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
}

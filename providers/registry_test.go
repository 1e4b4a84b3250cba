package providers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
)

func TestHighestPriorityAnswers(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 1), b.row("b", 2))
	wantAnswer(t, r, "b", "b:ok")
}

func TestKilledFirstIsAnsweredBySecondInTheSameTurn(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("Yes, tulips.")), newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	wantAnswer(t, r, "a", "a:ok")
	a.CloseClientConnections()
	a.Close()
	wantAnswer(t, r, "b", "a:network a:network b:ok")
}

func TestTwoHundredTurnsAtOnceAllGetTheirAnswer(t *testing.T) { // alone: it takes all of the machine
	a := newEndpoint(t, refuses(503, "busy"), answers("Yes, tulips."))
	b := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 2), b.row("b", 1))
	var asking sync.WaitGroup
	for range 200 {
		asking.Go(func() {
			if got, err := r.Chat(t.Context(), question); err != nil || got.Text != "Yes, tulips." {
				t.Errorf("answer %q, %v", got.Text, err)
			}
		})
	}
	asking.Wait()
}

func TestNobodyConfiguredIsSaidPlainly(t *testing.T) {
	t.Parallel()
	r, _ := start(t)
	if _, err := r.Chat(t.Context(), question); !errors.Is(err, ErrNone) {
		t.Errorf("chat without providers: %v, want ErrNone", err)
	}
}

func TestFiftyHighestOfSixtyAreLoadedWithAWarning(t *testing.T) {
	t.Parallel()
	var rows []store.Provider
	for i := range 60 {
		rows = append(rows, store.Provider{Name: fmt.Sprint("p", i), Priority: i})
	}
	r, s := start(t, rows...)
	health := r.Health()
	if len(health) != 50 || health[0].Name != "p59" || health[49].Name != "p10" {
		t.Errorf("loaded %d, from %s to %s; want 50, from p59 to p10", len(health), health[0].Name, health[len(health)-1].Name)
	}
	const line = `level=WARN msg="AI provider limit reached, some providers may not be loaded" count=60 limit=50`
	reload(t, r)
	if n := strings.Count(s.log(), line); n != 1 {
		t.Errorf("warned %d times, want once:\n%s", n, s.log())
	}
}

func TestExactlyFiftyWarnToo(t *testing.T) {
	t.Parallel()
	_, s := start(t, make([]store.Provider, 50)...)
	if !strings.Contains(s.log(), "count=50 limit=50") {
		t.Errorf("no warning at the limit:\n%s", s.log())
	}
}

func TestReloadKeepsTheBreakerUnlessItIsAnotherService(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, refuses(503, "busy")), newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	for r.Health()[0].Breaker != "open" {
		_, _ = r.Chat(t.Context(), question)
	}
	s.change(func(s *shelf) { s.rows[0].Priority, s.rows[0].Name = 9, "renamed" })
	reload(t, r)
	if h := r.Health()[0]; h.Name != "renamed" || h.Breaker != "open" {
		t.Errorf("after a rename: %+v, want the breaker still open", h)
	}
	for what, change := range map[string]func(*shelf){
		"model": func(s *shelf) { s.rows[0].Model = "another" },
		"key":   func(s *shelf) { s.keys[1] = "another" },
	} {
		for r.Health()[0].Breaker != "open" {
			_, _ = r.Chat(t.Context(), question)
		}
		s.change(change)
		reload(t, r)
		if h := r.Health()[0]; h.Breaker != "closed" {
			t.Errorf("after a new %s the breaker is %s, want closed", what, h.Breaker)
		}
	}
}

func TestOneBadRowIsSkippedAndShown(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 2), b.row("b", 1))
	s.change(func(s *shelf) { s.keys[1] = "sealed elsewhere" })
	reload(t, r)
	wantAnswer(t, r, "b", "b:ok")
	if h := r.Health()[0]; h.State != "misconfigured" || !strings.Contains(h.Why, "another key") {
		t.Errorf("health %+v, want misconfigured with its reason", h)
	}
}

func TestSpentQuotaIsSkippedSilentlyAndSaidOnce(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("Yes, tulips.")), newEndpoint(t, answers("Yes, tulips."))
	first := a.row("a", 2)
	first.RequestLimit = new(int64(5))
	r, s := start(t, first, b.row("b", 1))
	for range 5 {
		wantAnswer(t, r, "a", "a:ok")
	}
	for range 3 {
		wantAnswer(t, r, "b", "b:ok")
	}
	if n := strings.Count(s.log(), "AI provider quota spent"); n != 1 {
		t.Errorf("said %d times that the quota is spent, want once", n)
	}
	if n := strings.Count(s.log(), `msg="AI provider quota nearly spent" provider=a percent=80`); n != 1 {
		t.Errorf("warned %d times at 80 %%, want once:\n%s", n, s.log())
	}
}

func TestFullProviderIsSkippedNotWaitedFor(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	a := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-leave
		answers("Yes, tulips.")(w, r)
	}, answers("Yes, tulips."))
	b := newEndpoint(t, answers("Yes, tulips."))
	first, second := a.row("a", 3), b.row("b", 2)
	first.Concurrency, second.RequestsPerMinute = new(1), new(1)
	c := newEndpoint(t, answers("Yes, tulips."))
	r, _ := start(t, first, second, c.row("c", 1))
	r.patience.first = time.Minute
	var asking sync.WaitGroup
	asking.Go(func() {
		if got, err := r.Chat(t.Context(), question); err != nil || got.Provider != "a" {
			t.Errorf("the first turn: %+v, %v", got, err)
		}
	})
	<-inside
	wantAnswer(t, r, "b", "b:ok")
	wantAnswer(t, r, "c", "c:ok")
	close(leave)
	asking.Wait()
	wantAnswer(t, r, "a", "a:ok")
}

func TestUnknownParameterIsLeftOutForGood(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t,
		refuses(400, `{"error":{"message":"Unrecognized request argument supplied: stream_options"}}`), answers("Yes, tulips."))
	r, _ := start(t, a.row("a", 1))
	wantAnswer(t, r, "a", "a:unsupported a:ok")
	wantAnswer(t, r, "a", "a:ok")
	if a.requests[0].StreamOptions == nil || a.requests[1].StreamOptions != nil || a.requests[2].StreamOptions != nil {
		t.Error("stream_options were not sent first and left out then")
	}
}

func TestParametersFollowTheStyle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(*store.Provider)
		max, most int
		heat      float32
	}{
		"classic":          {func(p *store.Provider) { p.Temperature = new(float32(0.5)) }, 1024, 0, 0.5},
		"temperature zero": {func(p *store.Provider) { p.Temperature = new(float32(0)) }, 1024, 0, math.SmallestNonzeroFloat32},
		"reasoning":        {func(p *store.Provider) { p.ParamStyle, p.Temperature = store.ParamsReasoning, new(float32(0.5)) }, 0, 1024, 0},
		"named like one":   {func(p *store.Provider) { p.Model, p.Temperature = "gpt-5-mini", new(float32(0.5)) }, 0, 1024, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newEndpoint(t, answers("Yes, tulips."))
			p := a.row("a", 1)
			c.change(&p)
			r, _ := start(t, p)
			wantAnswer(t, r, "a", "a:ok")
			if q := a.requests[0]; q.MaxTokens != c.max || q.MaxCompletionTokens != c.most || q.Temperature != c.heat {
				t.Errorf("sent max_tokens %d, max_completion_tokens %d, temperature %v", q.MaxTokens, q.MaxCompletionTokens, q.Temperature)
			}
		})
	}
}

func TestAnswerInOnePieceIsTakenEvenWhereAStreamWasAsked(t *testing.T) {
	t.Parallel()
	const body = `{"choices":[{"message":{"role":"assistant","content":[{"type":"text","text":"Yes, "},{"type":"text","text":"tulips."}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprint("stream ", stream), func(t *testing.T) {
			t.Parallel()
			a := newEndpoint(t, refuses(200, body, "Content-Type", "application/json"))
			p := a.row("a", 1)
			if !stream {
				p.Capabilities = []string{}
			}
			r, s := start(t, p)
			wantAnswer(t, r, "a", "a:ok")
			wantBooks(t, s, r, 1, 1, 10, 5)
		})
	}
}

func TestEqualsShareChatsByWeightAndKeepThem(t *testing.T) {
	t.Parallel()
	rows := []store.Provider{{Name: "a", Weight: 1}, {Name: "b", Weight: 3}, {Name: "low", Priority: -1}}
	r, s := start(t, rows...)
	first := func(conversation int64) string {
		return candidates(r.snapshot.Load().rows, &chat{q: question}, conversation)[0].Name
	}
	by, was := map[string]int{}, map[int64]string{}
	for conversation := range int64(4000) {
		was[conversation] = first(conversation)
		by[was[conversation]]++
	}
	if by["low"] != 0 || by["b"] < 2850 || by["b"] > 3150 {
		t.Errorf("chats by provider %v, want about a quarter and three quarters", by)
	}
	s.change(func(s *shelf) { s.rows = append(s.rows, complete(store.Provider{Name: "new"}, 9)) })
	reload(t, r)
	for conversation, name := range was {
		if now := first(conversation); now != name && now != "new" {
			t.Fatalf("chat %d moved from %s to %s when a third came", conversation, name, now)
		}
	}
}

func TestConversationTooLongForAWindowSkipsIt(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("never asked")), newEndpoint(t, answers("Yes, tulips."))
	small := a.row("a", 2)
	small.ContextTokens = 1030
	r, _ := start(t, small, b.row("b", 1))
	wantAnswer(t, r, "b", "b:ok")
}

func TestTestExplainsAFailureInASentence(t *testing.T) {
	t.Parallel()
	const key = "sk-abcdefghijklmnop"
	a := newEndpoint(t, refuses(401, `{"error":{"message":"Incorrect API key provided: sk-abc***nop.","code":"invalid_api_key"}}`))
	r, s := start(t, a.row("OpenAI", 1))
	s.change(func(s *shelf) { s.keys[1] = key })
	_, err := r.Test(t.Context(), 1)
	const want = "OpenAI refused the API key (HTTP 401): Incorrect API key provided: [key]; put in a new key"
	if err == nil || err.Error() != want {
		t.Errorf("explained as %q, want %q", err, want)
	}
	if h := r.Health()[0]; h.State != "ready" || len(s.paused) != 0 {
		t.Errorf("a test changed the state: %+v", h)
	}
	if a.keys[0] != "Bearer "+key {
		t.Errorf("sent %q as key", a.keys[0])
	}
	if strings.Contains(s.log(), "sk-abc") {
		t.Errorf("a key is in the log:\n%s", s.log())
	}
}

func TestFirstTestOfANewProviderCountsAmongItsFigures(t *testing.T) {
	t.Parallel()
	a, b := newEndpoint(t, answers("Yes, tulips.")), newEndpoint(t, answers("ready"))
	r, s := start(t, a.row("a", 2))
	s.change(func(s *shelf) {
		p := s.rows[0]
		p.ID, p.Name, p.BaseURL, p.Active = 2, "b", b.row("b", 1).BaseURL, true
		s.rows = append(s.rows, p)
	})
	for range 2 { // before and after the load
		if _, err := r.Test(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range r.Health() {
		if h.Name == "b" && h.Attempts[ClassOK] == 2 {
			return
		}
	}
	t.Errorf("two calls are not counted: %+v", r.Health())
}

func TestReloadPausesNobodyWhoIsNotPaused(t *testing.T) {
	t.Parallel()
	began := time.Now() // of a turn, just before the reload
	s := newState(store.Provider{}, 1)
	s.follow(store.Provider{})
	if s.paused(began) || !s.ready(began) {
		t.Error("a provider is paused for a turn that began before its row was read again")
	}
}

func TestSuccessEndsAnAutomaticPause(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers("Yes, tulips."))
	p := a.row("a", 1)
	p.AutoDisabledTimes, p.DisabledFor, p.AutoDisabledReason = 2, time.Hour, "no credit"
	r, s := start(t, p)
	e := wantFailure(t, r, "")
	if !strings.Contains(e.Error(), "a is switched off for a while: no credit") || !e.Temporary {
		t.Errorf("failed with %v", e)
	}
	if _, err := r.Test(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil || len(s.enabled) != 1 {
		t.Errorf("enabled %v, %v; want provider 1", s.enabled, err)
	}
}

func TestCloseSaysItsLinesInOrderAndTwiceIsOnce(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers("Yes, tulips."))
	r, s := start(t, a.row("a", 1))
	wantAnswer(t, r, "a", "a:ok")
	for range 2 {
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	log, from := s.log(), 0
	for _, line := range []string{"Shutting down AI service", "AI service shutdown complete", "AI service stopped"} {
		at := strings.Index(log[from:], `msg="`+line+`"`)
		if at < 0 || strings.Count(log, line) != 1 {
			t.Fatalf("%q is missing, doubled or out of order:\n%s", line, log)
		}
		from += at
	}
	if s.booked[1].Requests != 1 {
		t.Error("the last call was not booked")
	}
	if _, err := r.Chat(t.Context(), question); !errors.Is(err, ErrNone) {
		t.Errorf("chat after close: %v, want ErrNone", err)
	}
}

func TestCloseWithoutStartIsFine(t *testing.T) {
	if err := New(Options{Store: newShelf()}).Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPrivateAddressesAreOutOfReach(t *testing.T) {
	t.Parallel()
	a := newEndpoint(t, answers("secrets"))
	for _, address := range []string{a.URL, "http://169.254.169.254", "https://169.254.169.254", "https://127.0.0.1", "https://[::1]", "https://[::ffff:10.0.0.1]", "https://100.64.0.1"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			s := newShelf(store.Provider{Name: "a", BaseURL: address + "/v1"})
			r := New(Options{Store: s})
			begin(t, r)
			_, err := r.Chat(t.Context(), question)
			if err == nil || !strings.Contains(err.Error(), "its address is not public") {
				t.Errorf("reached with %v, want a refusal", err)
			}
		})
	}
	t.Cleanup(func() {
		if a.calls() != 0 {
			t.Error("a private address was reached")
		}
	})
}

func TestDemoAnswersAsADemo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(Demo())
	t.Cleanup(server.Close)
	for _, abilities := range [][]string{{store.CanStream}, {}} {
		s := newShelf(store.Provider{Name: "demo", BaseURL: server.URL + "/v1", Demo: true, Capabilities: abilities})
		r := New(Options{Store: s}) // without any allowed network: the demo needs none
		begin(t, r)
		got, err := r.Chat(context.Background(), question)
		if err != nil || !got.Demo || !strings.Contains(got.Text, "frontdesk's demo answer") || !strings.Contains(got.Text, "Do you sell tulips?") {
			t.Errorf("demo says %+v, %v", got, err)
		}
		if got.PromptTokens == 0 || got.CompletionTokens == 0 {
			t.Errorf("demo counts %d + %d tokens", got.PromptTokens, got.CompletionTokens)
		}
	}
}

func TestDemoRefusesNonsense(t *testing.T) {
	w := httptest.NewRecorder()
	Demo().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader("{")))
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", w.Code)
	}
	if demoAnswer(lastOfCustomer([]openai.ChatCompletionMessage{{Role: "user", Content: strings.Repeat("x", 500)}})) == "" {
		t.Error("no answer to a long message")
	}
}

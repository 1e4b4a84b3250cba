package providers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/store"
)

// Times of the contract, over fakes: a fake network and the real code.

func TestHungPrimaryCostsTwelveSecondsOnceAndThenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := startOver(t, network{"a": silent, "b": talks(0)}, "a", "b")
		for turn := range 12 {
			began := time.Now()
			got, err := r.Chat(t.Context(), question)
			if err != nil || got.Provider != "b" {
				t.Fatalf("turn %d: %+v, %v", turn, got, err)
			}
			want := 12 * time.Second // the breaker opens at the third failure in a row
			if turn >= failuresInARow {
				want = 0
			}
			if took := time.Since(began); took != want {
				t.Errorf("turn %d took %v, want %v", turn, took, want)
			}
		}
	})
}

func TestReasoningModelMayThinkFor45Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startOver(t, network{"a": talks(40 * time.Second), "b": talks(0)}, "a", "b")
		s.change(func(s *shelf) { s.rows[0].ParamStyle = store.ParamsReasoning })
		reload(t, r)
		if got, err := r.Chat(t.Context(), question); err != nil || got.Provider != "a" || got.Took != 40*time.Second {
			t.Errorf("answer %+v, %v; want a's after 40 s", got, err)
		}
	})
}

func TestStallEndsAfter15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalls := func(w *io.PipeWriter, ended <-chan struct{}) {
			say(w, "Yes, tul", "")
			<-ended
		}
		r, _ := startOver(t, network{"a": stalls, "b": talks(0)}, "a", "b")
		got, err := r.Chat(t.Context(), question)
		if err != nil || way(got.Attempts) != "a:stall b:ok" || got.Took != 15*time.Second {
			t.Errorf("answer %+v, %v; want b's after 15 s", got, err)
		}
	})
}

func TestSlowStreamLeavesTimeForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drips := func(w *io.PipeWriter, ended <-chan struct{}) {
			for say(w, "drip", "") == nil {
				select {
				case <-ended:
					return
				case <-time.After(10 * time.Second):
				}
			}
		}
		r, _ := startOver(t, network{"a": drips, "b": drips, "c": talks(0)}, "a", "b", "c")
		got, err := r.Chat(t.Context(), question)
		if err != nil || way(got.Attempts) != "a:stall b:stall c:ok" || got.Took > turnBudget-leastLimit {
			t.Errorf("answer by %s after %v, %v; want c's with time to spare", way(got.Attempts), got.Took, err)
		}
	})
}

func TestTurnEndsWithinItsBudgetAndSixAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network{}
		names := strings.Split("a b c d e f g h", " ")
		for _, name := range names {
			net[name] = cut
		}
		r, _ := startOver(t, net, names...)
		_, err := r.Chat(t.Context(), question)
		e, ok := errors.AsType[*Error](err)
		if !ok || way(e.Attempts) != "a:stream_cut a:stream_cut b:stream_cut b:stream_cut c:stream_cut c:stream_cut" || !e.Temporary {
			t.Errorf("failed by %v", err)
		}
	})
}

func TestSilenceEverywhereEndsInsideTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network{}
		names := strings.Split("a b c d e f g h i j k l", " ")
		for _, name := range names {
			net[name] = silent
		}
		r, _ := startOver(t, net, names...)
		began := time.Now()
		if _, err := r.Chat(t.Context(), question); err == nil {
			t.Error("silence was taken for an answer")
		}
		if took := time.Since(began); took > turnBudget {
			t.Errorf("gave up after %v, want at most %v", took, turnBudget)
		}
	})
}

func TestF15FlappingForAMinuteLosesNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		flaps := func(w *io.PipeWriter, ended <-chan struct{}) {
			if int(time.Since(began)/(4*time.Second))%2 == 0 {
				cut(w, ended)
				return
			}
			talks(0)(w, ended)
		}
		r, _ := startOver(t, network{"a": flaps, "b": talks(0)}, "a", "b")
		for range 20 {
			if got, err := r.Chat(t.Context(), question); err != nil || got.Text != "Yes, tulips." {
				t.Errorf("answer %+v, %v", got, err)
			}
			time.Sleep(3 * time.Second)
		}
	})
}

func TestCallerWhoGivesUpIsLeftAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startOver(t, network{"a": silent, "b": talks(0)}, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := r.Chat(ctx, question)
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || way(e.Attempts) != "a:canceled" || time.Since(began) != 3*time.Second {
			t.Errorf("ended with %v after %v", err, time.Since(began))
		}
		if h := r.Health()[0]; h.State != "ready" || h.LastClass != "" {
			t.Errorf("a was blamed for it: %+v", h)
		}
		if u := s.books(t, r, 1); u.PromptTokens == 0 {
			t.Error("a call that may be billed is not in the books")
		}
	})
}

func TestBreakerLetsExactlyOneThroughAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := false
		var calls int
		sick := func(w *io.PipeWriter, ended <-chan struct{}) {
			calls++
			if !well {
				cut(w, ended)
				return
			}
			talks(time.Second)(w, ended)
		}
		r, _ := startOver(t, network{"a": sick, "b": talks(0)}, "a", "b")
		for range 5 {
			_, _ = r.Chat(t.Context(), question)
		}
		if calls != failuresInARow || r.Health()[0].Breaker != "open" {
			t.Fatalf("%d calls, breaker %s; want %d and open", calls, r.Health()[0].Breaker, failuresInARow)
		}
		well, calls = true, 0
		time.Sleep(37 * time.Second)
		done := make(chan string)
		for range 10 {
			go func() {
				got, _ := r.Chat(t.Context(), question)
				done <- got.Provider
			}()
		}
		by := map[string]int{}
		for range 10 {
			by[<-done]++
		}
		if calls != 1 || by["a"] != 1 || by["b"] != 9 {
			t.Errorf("half-open let %d through (%v), want 1", calls, by)
		}
		if got, _ := r.Chat(t.Context(), question); got.Provider != "a" || r.Health()[0].Breaker != "closed" {
			t.Errorf("after the probe %s answered, breaker %s; want a and closed", got.Provider, r.Health()[0].Breaker)
		}
	})
}

func TestLastResortIsTheBreakerThatReopensFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := false
		sick := func(w *io.PipeWriter, ended <-chan struct{}) {
			if well {
				talks(0)(w, ended)
			} else {
				cut(w, ended)
			}
		}
		r, _ := startOver(t, network{"a": sick}, "a")
		for r.Health()[0].Breaker != "open" {
			_, _ = r.Chat(t.Context(), question)
		}
		well = true
		got, err := r.Chat(t.Context(), question)
		if err != nil || got.Took != 0 {
			t.Errorf("with everything resting: %+v, %v; want an answer at once", got, err)
		}
	})
}

func TestDatabaseOutageKeepsTheLastProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startOver(t, network{"a": talks(0)}, "a")
		s.change(func(s *shelf) { s.broken = errors.New("connection refused") })
		time.Sleep(3 * time.Minute)
		if _, err := r.Chat(t.Context(), question); err != nil {
			t.Errorf("chat during an outage of the database: %v", err)
		}
		if loads := s.loaded(); loads < 4 {
			t.Errorf("%d loads in three minutes, want one a minute", loads)
		}
	})
}

func TestChangedRowIsInUseWithinASecondWithoutADroppedTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startOver(t, network{"a": talks(20 * time.Millisecond), "b": talks(20 * time.Millisecond)}, "a")
		s.change(func(s *shelf) {
			s.rows = append(s.rows, complete(store.Provider{Name: "b", BaseURL: "https://b.test/v1", Priority: 1}, 2))
		})
		r.Reload()
		began := time.Now()
		for got := ""; got != "b"; {
			answer, err := r.Chat(t.Context(), question)
			if err != nil {
				t.Fatalf("chat during a reload: %v", err)
			}
			if got = answer.Provider; time.Since(began) > time.Second {
				t.Fatalf("after %v %s still answers", time.Since(began), got)
			}
		}
	})
}

func TestReloadsAreDebounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startOver(t, network{"a": talks(0)}, "a")
		before := s.loaded()
		for range 50 {
			r.Reload()
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if loads := s.loaded() - before; loads < 1 || loads > 2 {
			t.Errorf("50 rings made %d loads, want 1 or 2", loads)
		}
	})
}

func TestNewDayIsLoggedByTheTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(store.Provider{Name: "a"})
		dated := &calendar{shelf: s, began: time.Now()}
		r := New(Options{Store: dated, Log: s.logger()})
		begin(t, r)
		time.Sleep(24*time.Hour + time.Minute)
		if n := strings.Count(s.log(), `msg="Daily usage reset" provider=a day=`); n != 1 {
			t.Errorf("a day with one midnight logged %d resets, want 1:\n%s", n, s.log())
		}
	})
}

// calendar has a midnight 12 hours after it began.
type calendar struct {
	*shelf
	began time.Time
}

func (c *calendar) UsageToday(context.Context) ([]store.DayUsage, error) {
	day := time.Since(c.began.Add(-12 * time.Hour)).Truncate(24 * time.Hour)
	return []store.DayUsage{{ProviderID: 1, Name: "a", Day: c.began.Add(day)}}, nil
}

// network is what services say, by name.
type network map[string]func(w *io.PipeWriter, ended <-chan struct{})

// RoundTrip reaches the service that the host is named after.
func (n network) RoundTrip(q *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	ended := q.Context().Done()
	go func() {
		n[strings.TrimSuffix(q.URL.Host, ".test")](w, ended)
		w.Close()
	}()
	go func() {
		<-ended
		w.CloseWithError(q.Context().Err())
	}()
	header := http.Header{"Content-Type": {"text/event-stream"}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: body, Request: q}, nil
}

// silent never says a word, talks answers after a while, cut breaks off.
func silent(_ *io.PipeWriter, ended <-chan struct{}) { <-ended }

func talks(after time.Duration) func(*io.PipeWriter, <-chan struct{}) {
	return func(w *io.PipeWriter, _ <-chan struct{}) {
		time.Sleep(after)
		_ = say(w, "Yes, tulips.", "stop")
	}
}

func cut(w *io.PipeWriter, _ <-chan struct{}) { _ = say(w, "Yes, tul", "") }

func say(w io.Writer, text, finish string) error {
	_, err := io.WriteString(w, `data: {"choices":[{"delta":{"content":"`+text+`"},"finish_reason":"`+finish+`"}]}`+"\n\n")
	return err
}

// startOver runs a registry over a fake network, with its usual patience and
// the services in the order of names.
func startOver(t *testing.T, n network, names ...string) (*Registry, *shelf) {
	t.Helper()
	var rows []store.Provider
	for i, name := range names {
		rows = append(rows, store.Provider{Name: name, BaseURL: "https://" + name + ".test/v1", Priority: -i})
	}
	s := newShelf(rows...)
	r := New(Options{Store: s, Log: s.logger()})
	r.clients = &clients{public: n, private: n, demo: n}
	begin(t, r)
	return r, s
}

func reload(t *testing.T, r *Registry) {
	t.Helper()
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

package flow_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/providers"
	"frontdesk/store"
)

// progress keeps what engines say of steps under way.
type progress struct {
	mu  sync.Mutex
	all []flow.Progress // guarded by mu
}

func (p *progress) hear(one flow.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, one)
}

func (p *progress) heard() []flow.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// While a model writes, the execution says how much there is, four times a second at
// most, however many parts come.
func TestStepSaysHowMuchAModelHasWrittenFourTimesASecond(t *testing.T) {
	t.Parallel()
	said := &progress{}
	h := newHouse(t, func(o *flow.Options) { o.Progress = said.hear })
	h.model.says = "Your order is ready."
	var took time.Duration
	parts := 0
	h.model.writes = func(progress func(int)) {
		for began := time.Now(); took < 600*time.Millisecond || len(said.heard()) < 2 && took < time.Minute; took = time.Since(began) {
			parts++
			progress(parts)
		}
	}
	f := h.put("greet", `{"id": "first", "type": "text", "text": "x"}, {"id": "words", "type": "ai", "prompt": "Greet"}`)
	x := h.ended(h.accept(f, person(1), nil))
	heard := said.heard()
	if most := 1 + int(took/(250*time.Millisecond)); len(heard) < 2 || len(heard) > most {
		t.Fatalf("of %d parts in %s, %d were told, want 2 to %d", parts, took, len(heard), most)
	}
	one := heard[0]
	if one.ExecutionID != x.ID || one.FlowID != f.ID || one.Flow != "greet" || *one.AccountID != h.account || one.Test {
		t.Errorf("it says %+v", one)
	}
	if want := (flow.ProgressStep{Name: "words", Type: "ai", Position: 1}); one.Step != want || one.Unit != "characters" || one.Done != 1 {
		t.Errorf("it says %+v", one)
	}
	if heard[1].Done <= one.Done {
		t.Errorf("then it says %+v", heard[1])
	}
}

// While the answer of another service is read, the execution says how much came.
func TestStepSaysHowMuchOfAnAnswerCame(t *testing.T) {
	t.Parallel()
	said := &progress{}
	h := newHouse(t, func(o *flow.Options) { o.Progress = said.hear })
	h.ended(h.accept(h.put("ask", `{"id": "stock", "type": "http", "url": "SERVICE/stock"}`), person(1), nil))
	heard := said.heard()
	if len(heard) == 0 || heard[0].Step.Name != "stock" || heard[0].Unit != "bytes" || heard[0].Done == 0 {
		t.Errorf("it says %+v", heard)
	}
}

// An engineer who follows learns of tries that came to nothing, and of an answer that
// flows cannot look into; neither holds what was asked or answered.
func TestLogSaysWhatNoOtherEventDoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.model.says = "Your order is ready."
	h.model.attempts = []providers.Attempt{
		{Provider: "first", Model: "m", Class: providers.ClassRateLimit, Took: 20 * time.Millisecond, Err: "too many requests: Ana"},
		{Provider: "test", Model: "m", Class: providers.ClassOK},
	}
	h.service.says = "[" + strings.Repeat("1,", 25_000) + "1]"
	x := h.ended(h.accept(h.put("greet", `{"id": "words", "type": "ai", "prompt": "Greet"}, {"id": "list", "type": "http", "url": "SERVICE/list"},
		{"id": "done", "type": "text", "text": "x"}`), person(1), nil))
	if x.Status != "completed" {
		t.Fatalf("it %s: %s", x.Status, x.Failure)
	}
	events, err := h.store.EventsOf(t.Context(), x.ID, 0, 100)
	h.must(err)
	var types []string
	var logs []store.Event
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has the number %d", i+1, e.Seq)
		}
		types = append(types, strings.TrimPrefix(e.Type, "step."))
		if e.Type == "log" {
			logs = append(logs, e)
		}
	}
	want := []string{"execution.queued", "execution.started", "started", "log", "completed", "started", "log", "completed", "started", "completed", "execution.completed"}
	if !slices.Equal(types, want) {
		t.Fatalf("it tells %q, want %q", types, want)
	}
	for i, words := range []string{`"class": "rate_limit"`, `"values": 25001`} {
		if told := string(logs[i].Data); !strings.Contains(told, words) || !strings.Contains(told, `"level": "warn"`) || strings.Contains(told, "Ana") || len(told) > 500 {
			t.Errorf("the log says %s, without %s", told, words)
		}
	}
	if got := fmt.Sprintf("%T", h.results(x)["list"]["body"]); got != "string" {
		t.Errorf("the list is kept as a %s", got)
	}
}

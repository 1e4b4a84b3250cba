package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/store"
)

// again closes the house's engine and starts another, over a store of its own.
func (h *house) again(over func(*flow.Options)) {
	h.t.Helper()
	h.must(h.engine.Close(context.Background()))
	h.engine = h.start("second", over)
}

// interrupted is a store that does not write the end of an execution down, once.
type interrupted struct {
	*store.Store

	once sync.Once
}

func (i *interrupted) EndExecution(ctx context.Context, x *store.Execution, status, failure string, ran time.Duration, events ...store.StepEvent) (err error) {
	i.once.Do(func() { err = errors.New("the connection broke") })
	if err != nil {
		return err
	}
	return i.Store.EndExecution(ctx, x, status, failure, ran, events...)
}

// A step's failure and the end that follows from it are one: nothing in between lets the
// flow go on as if the step had worked.
func TestNothingGoesOnBehindAFailedStep(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.again(func(o *flow.Options) { o.Store = &interrupted{Store: h.store} })
	h.service.fails = 1
	f := h.put("pay", `{"id": "check", "type": "http", "url": "SERVICE/payment"}, {"id": "told", "type": "send", "text": "Your payment is confirmed"}`)
	x := h.ended(h.accept(f, person(1), nil))
	if n := h.count(`select count(*) from outbound`); n != 0 || x.Status != "failed" || !strings.Contains(x.Failure, "check: ") {
		t.Errorf("it ended %s (%s) and sent %d messages", x.Status, x.Failure, n)
	}
}

func TestAFlowOfARemovedAccountStopsNoOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	a, err := h.store.AddAccount(t.Context(), store.KindSandbox, "Other", 100)
	h.must(err)
	h.define(fmt.Sprintf(`{"name": "alarm", "account": %d, "trigger": {"type": "event", "event": "provider.disabled"}, "contact": "+12025550199", "steps": [{"id": "a", "type": "text", "text": "x"}]}`, a.ID))
	hook := h.define(fmt.Sprintf(`{"name": "hook", "account": %d, "trigger": {"type": "webhook"}, "steps": [{"id": "a", "type": "text", "text": "x"}]}`, a.ID))
	other := h.define(`{"name": "hears", "trigger": {"type": "event", "event": "account.status"}, "steps": [{"id": "a", "type": "text", "text": "x"}]}`)
	h.eventually("the engine follows", func() bool { h.engine.Hear(nil); return h.count(`select count(*) from event_cursor`) == 1 })
	h.must(h.store.DeleteAccount(t.Context(), a.ID))
	h.done(h.sql.Exec(t.Context(), `insert into event (type) values ('provider.disabled')`))
	h.done(h.sql.Exec(t.Context(), `insert into event (type, account_id) values ('account.status', $1)`, h.account))
	h.eventually("the other flow has run", func() bool {
		h.engine.Hear(nil)
		return h.count(`select count(*) from execution where flow_id = $1 and status = 'completed'`, other.ID) == 1
	})
	if n := h.count(`select count(*) from alert where kind = 'flow_not_started'`); n != 1 {
		t.Errorf("%d alerts, want 1", n)
	}
	if _, _, err := h.engine.Accept(t.Context(), flow.Start{Flow: hook.ID, Trigger: map[string]any{}}); !errors.Is(err, store.ErrNoAccount) {
		t.Errorf("a call of its webhook: %v", err)
	}
}

func TestWhatPostgresCannotKeepIsCleanedAndNothingRepeats(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.model.says = `{"answer": "a\u0000b"}`
	x := h.ended(h.accept(h.put("ask", `{"id": "say", "type": "ai", "prompt": "hello", "output": {"type": "object"}}`), person(1), nil))
	if got := fmt.Sprint(h.results(x)["say"]["json"]); x.Status != "completed" || got != "map[answer:ab]" || len(h.model.asked) != 1 {
		t.Errorf("it ended %s with %s after %d calls of the model", x.Status, got, len(h.model.asked))
	}
	h.define(`{"name": "called", "trigger": {"type": "call"}, "steps": [{"id": "a", "type": "text", "text": "x"}]}`)
	if _, err := h.engine.Call(t.Context(), flow.Call{Flow: "called", Input: map[string]any{"a": "x\x00y"}, Account: h.account, Key: "1"}); err != nil {
		t.Errorf("a call with a NUL: %v", err)
	}
}

func TestACancelIsHeardThoughTheStepBeganToWait(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	f := h.put("waits", `{"id": "later", "type": "wait", "for": "300h"}`)
	h.must(h.engine.Close(t.Context()))
	x := h.accept(f, person(1), nil)
	claimed, err := h.store.ClaimExecutions(t.Context(), store.Process{ID: "first"}, store.Places{All: 10})
	h.must(err)
	h.done(h.store.CancelExecution(t.Context(), x.ID))
	h.must(h.store.WaitExecution(t.Context(), &claimed[0], store.Await{What: "time", For: 300 * time.Hour}, 0))
	h.engine = h.start("second", nil)
	if x = h.ended(x); x.Status != "cancelled" {
		t.Errorf("it ended %s", x.Status)
	}
}

func TestACancelledExecutionIsNotClaimed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	f := h.put("short", `{"id": "a", "type": "text", "text": "x"}`)
	h.must(h.engine.Close(t.Context()))
	x := h.accept(f, person(1), nil)
	cancel, err := h.sql.Begin(t.Context()) // as CancelExecution, not committed yet
	h.must(err)
	h.done(cancel.Exec(t.Context(), `update execution set cancel_at = clock(), status = 'cancelled', finished_at = clock() where id = $1`, x.ID))
	claimed := make(chan []store.Execution)
	go func() {
		all, err := h.store.ClaimExecutions(context.Background(), store.Process{ID: "first"}, store.Places{All: 5})
		if err != nil {
			t.Error(err)
		}
		claimed <- all
	}()
	h.eventually("the claim waits for the cancel", func() bool {
		return h.count(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) > 0
	})
	h.must(cancel.Commit(t.Context()))
	if all := <-claimed; len(all) != 0 {
		t.Errorf("%d executions were claimed, want none", len(all))
	}
}

// Postgres crashed: what was written without a flush is gone, and the engine lives.
func TestAnEngineThatKnowsMoreThanTheRowLeavesIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	f := h.put("three", `{"id": "a", "type": "http", "url": "SERVICE/a"}, {"id": "b", "type": "http", "url": "SERVICE/hold"}, {"id": "c", "type": "text", "text": "x"}`)
	x := h.accept(f, person(1), nil)
	h.eventually("b is held", func() bool { return h.service.held(0) == 1 })
	h.done(h.sql.Exec(t.Context(), `update execution set step = 0, tries = 1, event_seq = 3 where id = $1`, x.ID))
	h.done(h.sql.Exec(t.Context(), `delete from execution_step where execution_id = $1`, x.ID))
	close(h.service.hold)
	h.eventually("its run has stopped", func() bool { return h.engine.Stats().Running == 0 })
	h.engine.Changed() // the sweep
	x = h.ended(x)
	steps, err := h.store.ExecutionSteps(t.Context(), x.ID)
	h.must(err)
	came := ""
	for _, s := range steps {
		came += fmt.Sprintf("%d %s %s; ", s.Position, s.Name, s.Status)
	}
	if want := "0 a completed; 1 b completed; 2 c completed; "; x.Status != "completed" || came != want || x.Epoch < 2 {
		t.Errorf("it ended %s in epoch %d with %s want %s", x.Status, x.Epoch, came, want)
	}
}

// slowReader takes its time to say which flows there are, the first time.
type slowReader struct {
	*store.Store

	entered, proceed chan struct{}
	first            sync.Once
}

func (s *slowReader) Flows(ctx context.Context) ([]store.Flow, error) {
	all, err := s.Store.Flows(ctx)
	s.first.Do(func() {
		close(s.entered)
		<-s.proceed
	})
	return all, err
}

// While one asks which flows there are, another does not take that for none.
func TestWhatHappenedWhileNobodyRanIsNotPassedOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	f := h.define(`{"name": "hears", "trigger": {"type": "event", "event": "account.status"}, "steps": [{"id": "a", "type": "text", "text": "x"}]}`)
	h.eventually("the engine follows", func() bool { h.engine.Hear(nil); return h.count(`select count(*) from event_cursor`) == 1 })
	h.must(h.engine.Close(t.Context()))
	h.done(h.sql.Exec(t.Context(), `insert into event (type, account_id) values ('account.status', $1)`, h.account))
	s := &slowReader{Store: h.store, entered: make(chan struct{}), proceed: make(chan struct{})}
	e := flow.New(flow.Options{Store: s, Process: store.Process{ID: "next"}, AI: h.model, Lease: time.Hour})
	go func() { _, _ = e.Callable(context.Background(), h.account) }()
	<-s.entered
	h.must(e.Start(t.Context()))
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	close(s.proceed)
	h.eventually("the flow has run", func() bool {
		e.Hear(nil)
		return h.count(`select count(*) from execution where flow_id = $1`, f.ID) == 1
	})
}

// meddler has something happen just before the engine reads what happened, once.
type meddler struct {
	*store.Store

	once sync.Once
	act  func()
}

func (m *meddler) EventsAfter(ctx context.Context, p store.Place, limit int) ([]store.Event, error) {
	m.once.Do(m.act)
	return m.Store.EventsAfter(ctx, p, limit)
}

func (m *meddler) LatestPlace(ctx context.Context) (store.Place, error) {
	m.once.Do(m.act)
	return m.Store.LatestPlace(ctx)
}

// What happens after a flow was stored starts it, also while the engine still believes
// that there is none, or no other.
func TestFlowHearsWhatHappensRightAfterItWasStored(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]int{"the first one": 0, "another one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			h.must(h.engine.Close(t.Context()))
			for range others {
				h.define(`{"name": "before", "trigger": {"type": "event", "event": "provider.disabled"}, "contact": "+12025550199", "steps": [{"id": "a", "type": "text", "text": "x"}]}`)
			}
			e := flow.New(flow.Options{Store: &meddler{Store: h.store, act: func() {
				h.define(`{"name": "hears", "trigger": {"type": "event", "event": "account.status"}, "steps": [{"id": "a", "type": "text", "text": "x"}]}`)
				h.done(h.sql.Exec(t.Context(), `insert into event (type, account_id) values ('account.status', $1)`, h.account))
			}}, Process: store.Process{ID: "next"}, AI: h.model, Lease: time.Hour})
			h.must(e.Start(t.Context()))
			t.Cleanup(func() { _ = e.Close(context.Background()) })
			h.eventually("the engine has read what happened", func() bool {
				return h.count(`select count(*) from event_cursor c where c.name = 'flows' and (c.xid, c.id) >= (select xid, id from event order by id desc limit 1)`) == 1
			})
			if n := h.count(`select count(*) from execution x join flow f on f.id = x.flow_id where f.name = 'hears'`); n != 1 {
				t.Errorf("it was started %d times", n)
			}
		})
	}
}

// late hears late that a wait was written down, as a paused process does.
type late struct {
	*store.Store

	proceed chan struct{}
	heard   atomic.Bool
	swept   chan struct{} // a sweep has looked at what runs
}

func (l *late) WaitExecution(ctx context.Context, x *store.Execution, a store.Await, ran time.Duration, events ...store.StepEvent) error {
	err := l.Store.WaitExecution(ctx, x, a, ran, events...)
	<-l.proceed
	l.heard.Store(true)
	return err
}

func (l *late) RequeueExecutions(ctx context.Context, p store.Process, atWork []store.Work, ttl time.Duration) (int, error) {
	n, err := l.Store.RequeueExecutions(ctx, p, atWork, ttl)
	select {
	case l.swept <- struct{}{}:
	default: // nobody waits for it
	}
	return n, err
}

func TestALateEndOfARunTakesNothingFromTheNext(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	l := &late{Store: h.store, proceed: make(chan struct{}), swept: make(chan struct{})}
	h.again(func(o *flow.Options) { o.Store = l })
	f := h.put("waits", `{"id": "w", "type": "wait", "for": "10ms"}, {"id": "held", "type": "http", "url": "SERVICE/hold"}`)
	x := h.accept(f, person(1), nil)
	h.eventually("the next run calls the service", func() bool { return h.service.held(0) == 1 })
	close(l.proceed)
	h.eventually("the first run is over", func() bool { return l.heard.Load() && h.engine.Stats().Running == 1 })
	for range 2 { // the first may have begun before
		h.engine.Changed()
		<-l.swept
	}
	if n := h.count(`select count(*) from execution where status = 'running' and epoch = 2`); n != 1 || h.service.held(0) != 1 {
		t.Errorf("%d runs of the next owner, %d calls at once; want 1 and 1", n, h.service.held(0))
	}
	close(h.service.hold)
	h.ended(x)
	h.eventually("no place is taken", func() bool { return h.engine.Stats().Running == 0 })
}

func TestASecretThatAServiceRepeatsIsNotKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"headers": r.Header})
	}))
	t.Cleanup(echo.Close)
	h.must(h.store.SetSecret(t.Context(), "crm", "very-secret-value"))
	f := h.put("echo", fmt.Sprintf(`{"id": "a", "type": "http", "url": %q, "secret": "crm", "headers": {"X-Key": "Key {{secret}}"}}`, echo.URL))
	x := h.ended(h.accept(f, person(1), nil))
	if !strings.Contains(fmt.Sprint(h.results(x)["a"]), "Key [secret]") {
		t.Errorf("the service heard %v", h.results(x)["a"])
	}
	if n := h.count(`select (select count(*) from event where data::text like '%very-secret-value%') + (select count(*) from execution_step where result::text like '%very-secret-value%')`); n != 0 {
		t.Errorf("the secret is in %d records", n)
	}
}

func TestAnAnswerOfTooManyValuesIsKeptAsText(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	many := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "["+strings.Repeat("1,", 30_000)+"1]")
	}))
	t.Cleanup(many.Close)
	x := h.ended(h.accept(h.put("many", fmt.Sprintf(`{"id": "a", "type": "http", "url": %q}`, many.URL)), person(1), nil))
	if text, is := h.results(x)["a"]["body"].(string); x.Status != "completed" || !is || len(text) != 60_003 {
		t.Errorf("it ended %s, the body is a text: %t", x.Status, is)
	}
	_, _, err := h.engine.Accept(t.Context(), flow.Start{Flow: x.FlowID, Trigger: map[string]any{"body": make([]any, 30_000)}})
	var input *flow.InputError
	if !errors.As(err, &input) {
		t.Errorf("a body of 30,000 values: %v", err)
	}
}

package flow_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/store"
)

// L17: an execution stays in the registry for five seconds after its end, whether it
// completed or failed.
func TestEndedExecutionsLingerForFiveSeconds(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]string{"completed": `{"id": "a", "type": "text", "text": "x"}`, "failed": `{"id": "a", "type": "text", "text": "{{trigger.gone}}"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &oneExecution{definition: `{"name": "one", "trigger": {"type": "call"}, "steps": [` + step + `]}`}
				e := flow.New(flow.Options{Store: q})
				if err := e.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if q.status != name {
					t.Fatalf("it ended %q, want %s", q.status, name)
				}
				time.Sleep(4900 * time.Millisecond)
				synctest.Wait()
				if got := e.Stats(); got.Registered != 1 || got.Running != 0 {
					t.Errorf("4.9 s after its end: %+v", got)
				}
				time.Sleep(200 * time.Millisecond)
				synctest.Wait()
				if got := e.Stats(); got.Registered != 0 {
					t.Errorf("5.1 s after its end: %+v", got)
				}
				if err := e.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// oneExecution is a queue with one execution in it, in memory.
type oneExecution struct {
	*store.Store // nil: the engine asks for nothing else

	definition string
	claimed    bool
	status     string
}

func (q *oneExecution) ClaimExecutions(context.Context, store.Process, store.Places) ([]store.Execution, error) {
	if q.claimed {
		return nil, nil
	}
	q.claimed = true
	return []store.Execution{{ID: 7, Trigger: json.RawMessage(`{}`), Status: "running", Flow: "one"}}, nil
}

func (q *oneExecution) NextExecution(_ context.Context, limit time.Duration) (time.Duration, error) {
	return limit, nil
}

func (q *oneExecution) FlowVersion(context.Context, int64, int) (store.Flow, error) {
	return store.Flow{Definition: json.RawMessage(q.definition)}, nil
}

func (q *oneExecution) FlowsMark(context.Context) (string, error) { return "none", nil }

func (q *oneExecution) Flows(context.Context) ([]store.Flow, error) { return nil, nil }

func (q *oneExecution) ExecutionSteps(context.Context, int64) ([]store.ExecutionStep, error) {
	return nil, nil
}

func (q *oneExecution) TryStep(context.Context, *store.Execution, ...store.StepEvent) error {
	return nil
}

func (q *oneExecution) SettleStep(_ context.Context, x *store.Execution, o store.ExecutionStep, _ time.Duration, _ ...store.StepEvent) error {
	x.Step++
	if o.Ends != "" {
		q.status = o.Ends
	}
	return nil
}

func (q *oneExecution) EndExecution(_ context.Context, _ *store.Execution, status, _ string, _ time.Duration, _ ...store.StepEvent) error {
	q.status = status
	return nil
}

func (q *oneExecution) RequeueExecutions(context.Context, store.Process, []store.Work, time.Duration) (int, error) {
	return 0, nil
}

func (q *oneExecution) WakeExecutions(context.Context, []int64, []int64) (int, error) { return 0, nil }

func (q *oneExecution) UnwantedExecutions(context.Context, string) ([]int64, error) { return nil, nil }

func (q *oneExecution) CountExecutions(context.Context) (queued, waiting int, err error) {
	return 0, 0, nil
}

func (q *oneExecution) DropExecutions(context.Context, int) (int, error) { return 0, nil }

func (q *oneExecution) DropFiles(context.Context, store.Files, int) (int, error) { return 0, nil }

func (q *oneExecution) DropEvents(context.Context, int) (int, error) { return 0, nil }

func (q *oneExecution) LatestPlace(context.Context) (store.Place, error) { return store.Place{}, nil }

func (q *oneExecution) Cursor(context.Context, string) (store.Place, error) {
	return store.Place{}, store.ErrNotFound
}

func (q *oneExecution) MoveCursor(context.Context, string, store.Place) error { return nil }

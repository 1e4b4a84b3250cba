package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"frontdesk/store"
)

// How long nothing more is due: with nothing to wait for the caller's longest sleep, and
// never no time at all, or the caller would ask again at once, for ever.
func TestWithNoExecutionDueTheEngineSleeps(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	next := func() time.Duration {
		wait, err := d.NextExecution(t.Context(), time.Minute)
		must(t, err)
		return wait
	}
	if wait := next(); wait != time.Minute {
		t.Errorf("without executions it sleeps %v, want the longest sleep", wait)
	}
	f, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{"steps": []}`), "Ana")
	must(t, err)
	x, _, err := d.AddExecution(t.Context(), store.NewExecution{FlowID: f.ID, Version: f.Version, Trigger: json.RawMessage(`{}`)})
	must(t, err)
	if wait := next(); wait != time.Minute {
		t.Errorf("with one that is due and was left where it is, it sleeps %v, want the longest sleep", wait)
	}
	_, err = d.db.Exec(t.Context(), `update execution set due_at = clock() + interval '30 seconds' where id = $1`, x.ID)
	must(t, err)
	if wait := next(); wait <= 0 || wait > 30*time.Second {
		t.Errorf("with one due in 30 seconds it sleeps %v", wait)
	}
}

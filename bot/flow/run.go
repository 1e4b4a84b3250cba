package flow

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"time"

	"frontdesk/store"
)

// run is one execution under way, from the moment that it got its place.
type run struct {
	e      *Engine
	x      store.Execution
	d      Definition
	values map[string]any // what templates and conditions see
	began  time.Time
	marked time.Time // until then the time was written down
	ended  bool      // for good
	held   int       // bytes of results
	told   time.Time // when it last said how far a step had come
}

// Bounds of one execution.
const (
	mostTries = 40      // of a step, whatever went wrong
	mostHeld  = 2 << 20 // bytes of all results
)

var errTooMuch = errors.New("its steps came to more than 2 MiB together")

// mostTold is how much of a result its event tells, in bytes; the step has it all.
const mostTold = 6 << 10

// outcome is what a step came to, or what it has to wait for.
type outcome struct {
	result   map[string]any
	skipped  string       // why nothing was done; "": it was
	wait     *store.Await // it goes on then
	response json.RawMessage
	stops    bool // nothing comes after it
	log      []map[string]any
}

// note adds an event of type log: what an engineer who follows would want to know and no
// other event says. It holds no text of customers or models, and no secret.
func (o *outcome) note(level, message string, about map[string]any) {
	told := map[string]any{"level": level, "message": message}
	maps.Copy(told, about)
	o.log = append(o.log, told)
}

// stepError is a step's failure, and not that of storage.
type stepError struct {
	cause     error
	temporary bool          // another try may help
	after     time.Duration // not before; 0: as the step says
}

func (e *stepError) Error() string { return e.cause.Error() }
func (e *stepError) Unwrap() error { return e.cause }

// permanently says that no other try will help.
func permanently(err error) error { return &stepError{cause: err} }

// perhaps says that another try may help.
func perhaps(err error) error { return &stepError{cause: err, temporary: true} }

// steps goes through what is left to do. An error that is no *stepError leaves the
// execution as it is written down.
func (r *run) steps(ctx context.Context) error {
	switch {
	case r.x.CancelAt != nil:
		return r.end(ctx, "cancelled", "")
	case r.x.Tries > mostTries:
		return r.end(ctx, "failed", "it could not be written down what a step came to")
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	for r.x.Step < len(r.d.Steps) {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case time.Duration(r.x.RanMS)*time.Millisecond+time.Since(r.began) > longestRun:
			return r.end(ctx, "failed", "it ran for longer than 15 minutes")
		case time.Since(r.began) > longestStay:
			return r.e.store.ReleaseExecution(ctx, &r.x, 0, r.spent())
		}
		goesOn, err := r.take(ctx, r.d.Steps[r.x.Step])
		if err != nil || !goesOn {
			return err
		}
	}
	return r.end(ctx, "completed", "")
}

// load reads the definition and what earlier steps came to.
func (r *run) load(ctx context.Context) error {
	d, err := r.e.definition(ctx, r.x.FlowID, r.x.Version)
	if err != nil {
		return err
	}
	done, err := r.e.store.ExecutionSteps(ctx, r.x.ID)
	if err != nil {
		return err
	}
	trigger, err := decode(r.x.Trigger)
	if err != nil {
		return err
	}
	steps := map[string]any{}
	for _, s := range done {
		r.held += len(s.Result)
		if steps[s.Name], err = decode(s.Result); err != nil {
			return err
		}
	}
	r.d, r.values = d.Definition, map[string]any{"trigger": trigger, "steps": steps}
	return r.meet(ctx)
}

// take has one step done, written down before and after. False: the execution does not
// go on here.
func (r *run) take(ctx context.Context, s Step) (goesOn bool, err error) {
	if !s.When.Holds(r.values) {
		return r.settle(ctx, s, outcome{skipped: "its condition did not hold"})
	}
	if s.acts() {
		if err := r.e.store.TryStep(ctx, &r.x, r.event("step.started", s, nil)); err != nil {
			return false, err
		}
	}
	limited, cancel := context.WithTimeout(ctx, s.limit())
	o, err := r.act(limited, s)
	cancel()
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = perhaps(errTimedOut)
	}
	var failed *stepError
	switch {
	case errors.As(err, &failed) && ctx.Err() == nil:
		return r.failed(ctx, s, failed)
	case err != nil:
		return false, err
	case o.wait != nil:
		r.e.waiting.Add(1)
		return false, r.e.store.WaitExecution(ctx, &r.x, *o.wait, r.spent(), r.event("execution.waiting", s, map[string]any{"for": o.wait.What, "seconds": o.wait.For.Seconds()}))
	}
	return r.settle(ctx, s, o)
}

// settle writes down what a step came to. After the last one the execution is over.
func (r *run) settle(ctx context.Context, s Step, o outcome) (goesOn bool, err error) {
	kind, status := "step.completed", "completed"
	if o.skipped != "" {
		kind, status = "step.skipped", "skipped"
		o.result = map[string]any{"skipped": o.skipped}
	}
	ends := ""
	if o.stops || r.x.Step+1 == len(r.d.Steps) {
		ends = "completed"
	}
	return ends == "", r.keep(ctx, s, kind, store.ExecutionStep{Status: status, Response: o.response, Ends: ends}, o)
}

// keep writes down what a step came to, with the events that say so, and whether the
// execution ends with it.
func (r *run) keep(ctx context.Context, s Step, kind string, kept store.ExecutionStep, o outcome) error {
	o.result, _ = store.Clean(o.result).(map[string]any)
	result, err := json.Marshal(o.result)
	if err != nil {
		return err
	}
	if r.held += len(result); r.held > mostHeld {
		return permanently(errTooMuch)
	}
	kept.Name, kept.Type, kept.Result = s.ID, s.Type, result
	about := map[string]any{"result": o.result}
	if len(result) > mostTold {
		about = map[string]any{"truncated": true}
	}
	if kept.Failure != "" {
		about["error"] = kept.Failure
	}
	var told []store.StepEvent
	if !s.acts() && kind == "step.completed" {
		told = append(told, r.event("step.started", s, nil))
	}
	for _, one := range o.log {
		told = append(told, r.event("log", s, one))
	}
	told = append(told, r.event(kind, s, about))
	if kept.Ends != "" {
		told = append(told, store.StepEvent{Type: "execution." + kept.Ends, Data: failureOf(kept)})
	}
	if err := r.e.store.SettleStep(ctx, &r.x, kept, r.spent(), told...); err != nil {
		return err
	}
	r.e.o.Happened()
	r.ended = kept.Ends != ""
	r.values["steps"].(map[string]any)[s.ID] = plain(o.result) //nolint:forcetypeassert // load made it
	return nil
}

// failureOf is what the event of an execution's end tells besides that.
func failureOf(kept store.ExecutionStep) map[string]any {
	if kept.Failure == "" {
		return nil
	}
	return map[string]any{"error": kept.Name + ": " + kept.Failure}
}

// plain is a value as JSON has it, which is what templates know.
func plain(value map[string]any) any {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it was written down a moment ago
	}
	read, err := decode(text)
	if err != nil {
		panic(err)
	}
	return read
}

// failed has a step tried again, or does what the step says of its failure.
func (r *run) failed(ctx context.Context, s Step, f *stepError) (goesOn bool, err error) {
	if wait, tries := s.again(f, r.x.Tries, r.sinceFirst()); tries {
		r.e.log.InfoContext(ctx, "Step tried again later", slog.Int64("execution", r.x.ID), slog.String("step", s.ID), slog.Int("attempt", r.x.Tries),
			slog.Duration("pause", wait), slog.Any("error", f.cause))
		return false, r.e.store.WaitExecution(ctx, &r.x, store.Await{What: "retry", For: wait}, r.spent(),
			r.event("step.retrying", s, map[string]any{"error": f.Error(), "attempt": r.x.Tries, "seconds": wait.Seconds()}))
	}
	r.e.log.WarnContext(ctx, "Step failed", slog.Int64("execution", r.x.ID), slog.String("flow", r.x.Flow), slog.String("step", s.ID), slog.Any("error", f.cause))
	kept := store.ExecutionStep{Status: "failed", Failure: f.Error(), Ends: "failed"}
	switch {
	case s.OnError == "continue" && r.x.Step+1 == len(r.d.Steps):
		kept.Ends = "completed"
	case s.OnError == "continue":
		kept.Ends = ""
	case s.OnError == "handoff": // before it is written down: a crash in between repeats it
		if err := r.handOver(ctx, "The flow "+r.x.Flow+" failed at "+s.ID+": "+f.Error()); err != nil {
			return false, err
		}
	}
	return kept.Ends == "", r.keep(ctx, s, "step.failed", kept, outcome{result: map[string]any{"error": f.Error()}})
}

// again says whether a step that failed is tried once more, and after which wait.
func (s Step) again(f *stepError, tries int, since time.Duration) (time.Duration, bool) {
	if f.after > 0 {
		return min(f.after, longestPutOff), since < mostPutOff
	}
	if !f.temporary || s.Retry == nil || tries > s.Retry.Times {
		return 0, false
	}
	return time.Duration(s.Retry.Wait), true
}

// sinceFirst is how long ago the step was first tried, by the database's clock.
func (r *run) sinceFirst() time.Duration {
	if r.x.StepBeganAt == nil {
		return 0
	}
	return r.x.Now.Sub(*r.x.StepBeganAt)
}

// end ends the execution for good.
func (r *run) end(ctx context.Context, status, failure string) error {
	about := map[string]any{}
	if failure != "" {
		about["error"] = failure
	}
	err := r.e.store.EndExecution(ctx, &r.x, status, failure, r.spent(), store.StepEvent{Type: "execution." + status, Data: about})
	r.ended = err == nil
	return err
}

// conclude decides what follows from an error. What cannot be written down stays as it
// is: the sweep finds it.
func (r *run) conclude(ctx context.Context, err error) (ended bool) {
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	var failed *stepError
	var wrong error
	switch {
	case errors.Is(err, store.ErrMoved), errors.Is(cause, store.ErrMoved):
		return false // it is somebody else's
	case errors.Is(cause, errCancelled):
		wrong = r.end(ctx, "cancelled", "")
	case errors.Is(cause, errStopped):
		wrong = r.e.store.ReleaseExecution(ctx, &r.x, 0, r.spent())
	case errors.As(err, &failed):
		wrong = r.end(ctx, "failed", failed.Error())
	case store.Unstorable(err):
		r.e.log.WarnContext(ctx, "Execution holds what cannot be kept", slog.Int64("execution", r.x.ID), slog.Any("error", err))
		wrong = r.end(ctx, "failed", "a step came to something that cannot be kept")
	default:
		r.e.log.WarnContext(ctx, "Execution put off", slog.Int64("execution", r.x.ID), slog.Any("error", err))
		wrong = r.e.store.ReleaseExecution(ctx, &r.x, soon, r.spent())
	}
	if wrong != nil && !errors.Is(wrong, store.ErrMoved) {
		r.e.log.WarnContext(ctx, "Execution not written down, the next sweep has it go on", slog.Int64("execution", r.x.ID), slog.Any("error", wrong))
	}
	return r.ended
}

// spent is the time since it was last written down.
func (r *run) spent() time.Duration {
	now := time.Now()
	if r.marked.IsZero() {
		r.marked = r.began
	}
	d := now.Sub(r.marked)
	r.marked = now
	return d
}

// event is one about a step.
func (r *run) event(kind string, s Step, about map[string]any) store.StepEvent {
	data := map[string]any{"step": map[string]any{"name": s.ID, "type": s.Type, "position": r.x.Step}}
	maps.Copy(data, about)
	return store.StepEvent{Type: kind, Data: data}
}

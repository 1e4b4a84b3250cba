package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"frontdesk/store"
)

// Start asks for an execution of a flow.
type Start struct {
	Flow         int64
	Version      int            // of an active flow; 0: the newest, if it is active
	Webhook      string         // that it came by; "": none
	Trigger      map[string]any // what happened, as JSON knows values
	Account      int64          // that it came from; 0: none
	Contact      int64          // whom it is about; 0: as the flow says
	Chat         string
	Conversation int64
	Test         string // "", simulated or live
	Key          string // names the delivery; "": it has no name
	Hash         []byte // tells its body from another
}

// What Accept refuses besides what the store does.
var (
	ErrInactive = errors.New("the flow is switched off")
	ErrContact  = errors.New("whom it is about cannot be told")
)

// InputError says that a trigger's input is not as the flow wants it.
type InputError struct{ Problems []string } // each with a JSON pointer

func (e *InputError) Error() string {
	return "the input is not as the flow wants it: " + strings.Join(e.Problems, "; ")
}

// Accept stores an execution; once it returns nil, the execution will run even if the
// process dies in the next instant. The same delivery again is replayed.
func (e *Engine) Accept(ctx context.Context, s Start) (x store.Execution, replayed bool, err error) {
	if s.Version == 0 {
		f, err := e.store.Flow(ctx, s.Flow)
		if err != nil {
			return x, false, err
		}
		if s.Version = f.Version; !f.IsActive {
			return x, false, ErrInactive
		}
	}
	d, err := e.definition(ctx, s.Flow, s.Version)
	if err != nil {
		return x, false, err
	}
	n, err := e.wanted(ctx, d, s)
	if err != nil {
		return x, false, err
	}
	n.Spacious = e.backlog.Add(1) < spacious
	x, replayed, err = e.store.AddExecution(ctx, n)
	if err != nil || replayed {
		return x, replayed, err
	}
	e.o.Accepted(x.ID)
	e.Wake()
	x.Position = 1
	if e.crowded(ctx) {
		x.Position, err = e.store.PositionOf(ctx, x)
	}
	return x, false, err
}

// spacious is how many executions may wait before each new one is counted for: far from
// store.MostQueued, whatever other processes accept between two looks.
const spacious = store.MostQueued / 4

// wanted is the execution that a start asks for.
func (e *Engine) wanted(ctx context.Context, d prepared, s Start) (n store.NewExecution, err error) {
	s.Trigger, _ = store.Clean(s.Trigger).(map[string]any)
	values := map[string]any{"trigger": s.Trigger}
	n = store.NewExecution{FlowID: s.Flow, Version: s.Version, Test: s.Test, DeliveryKey: s.Key, RequestHash: s.Hash, Chat: s.Chat, MostTests: e.o.TestsWaiting}
	if n.Trigger, err = json.Marshal(s.Trigger); err != nil {
		return n, err
	}
	if valuesIn(n.Trigger) > mostValues {
		return n, &InputError{[]string{fmt.Sprintf("/body: it holds more than %d values", mostValues)}}
	}
	if err := d.checkInput(s.Trigger["body"]); err != nil {
		return n, err
	}
	if !d.Trigger.When.Holds(values) {
		n.Step = len(d.Steps) // it ends at once, and can be looked at
	}
	n.WebhookID, n.AccountID, n.ContactID, n.ConversationID = given(s.Webhook), given(d.Account), given(s.Contact), given(s.Conversation)
	if n.AccountID == nil {
		n.AccountID = given(s.Account)
	}
	if d.Contact != "" && n.Step == 0 {
		err = e.address(ctx, d.Definition, values, &n)
	}
	return n, err
}

// CheckInput says with an *InputError that Accept would refuse a body, so that nobody
// keeps files for it.
func (e *Engine) CheckInput(ctx context.Context, flow int64, version int, body any) error {
	d, err := e.definition(ctx, flow, version)
	if err != nil {
		return err
	}
	return d.checkInput(store.Clean(body))
}

func (d prepared) checkInput(body any) error {
	if d.input == nil {
		return nil
	}
	if err := d.input.Validate(body); err != nil {
		return inputError(err)
	}
	return nil
}

// inputError says what the schema of an input finds wrong.
func inputError(err error) error {
	var problems []string
	for _, p := range problemsOf(err) {
		problems = append(problems, "/body"+p.Pointer+": "+p.Says)
	}
	return &InputError{problems}
}

// given is a value that is there, or nil.
func given[T comparable](value T) *T {
	var none T
	if value == none {
		return nil
	}
	return &value
}

// address finds whom an execution is about. A test makes no contact.
func (e *Engine) address(ctx context.Context, d Definition, values map[string]any, n *store.NewExecution) error {
	t, err := Parse(d.Contact)
	if err != nil {
		return err
	}
	text, err := t.Fill(values)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContact, err)
	}
	a, err := store.ParseAddress(text)
	if err != nil || a.Username != "" {
		return fmt.Errorf("%w: %w", ErrContact, store.ErrBadAddress)
	}
	n.Chat = a.Chat()
	if n.Test != "" {
		c, err := e.store.FindContact(ctx, a)
		if n.ContactID = given(c.ID); errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	}
	id, err := e.store.ResolveContact(ctx, a.Phone, a.LID, "")
	n.ContactID = &id
	return err
}

// Await is an execution when it has ended, or as it is when ctx ends.
func (e *Engine) Await(ctx context.Context, id int64) (store.Execution, error) {
	for {
		changed, leave := e.endings.wait(id)
		x, err := e.store.Execution(context.WithoutCancel(ctx), id)
		if err == nil && !x.Ended() && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-e.working.Done():
			case <-changed:
			case <-time.After(longestSleep): // another process may run it
			}
		}
		leave()
		if err != nil || x.Ended() || ctx.Err() != nil || e.working.Err() != nil {
			return x, err
		}
	}
}

// Replay starts an execution anew with the same trigger, from a step on (0: the first);
// what steps before it came to is kept.
func (e *Engine) Replay(ctx context.Context, id int64, from int) (store.Execution, error) {
	old, err := e.store.Execution(ctx, id)
	if err != nil {
		return old, err
	}
	x, _, err := e.store.AddExecution(ctx, store.NewExecution{
		FlowID: old.FlowID, Version: old.Version, WebhookID: old.WebhookID, AccountID: old.AccountID, ContactID: old.ContactID, Chat: old.Chat,
		ConversationID: old.ConversationID, Trigger: old.Trigger, Test: old.Test, ReplayOf: &old.ID, Step: min(max(0, from), old.Step),
		MostTests: e.o.TestsWaiting,
	})
	if err == nil {
		e.o.Accepted(x.ID)
		e.Wake()
	}
	return x, err
}

// endings tells those who wait for an execution that it has stopped here.
type endings struct {
	mu      sync.Mutex
	waiting map[int64]*waiters // guarded by mu
}

// waiters are those who wait for one execution.
type waiters struct {
	told  chan struct{} // closed when it stops
	count int
}

// wait gives a channel that is closed when the execution stops from now on. Whoever
// asked says when they leave.
func (n *endings) wait(id int64) (told <-chan struct{}, leave func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[int64]*waiters{}
	}
	w := n.waiting[id]
	if w == nil {
		w = &waiters{told: make(chan struct{})}
		n.waiting[id] = w
	}
	w.count++
	return w.told, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if w.count--; w.count == 0 && n.waiting[id] == w {
			delete(n.waiting, id)
		}
	}
}

func (n *endings) tell(id int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.waiting[id]; w != nil {
		close(w.told)
		delete(n.waiting, id)
	}
}

// crowd says at most once a second that all places are taken.
type crowd struct {
	mu         sync.Mutex
	said       time.Time // guarded by mu
	suppressed int       // since then; guarded by mu
}

// crowded says that what was accepted has to wait for a place, and warns of it (L16).
func (e *Engine) crowded(ctx context.Context) bool {
	if free, _ := e.registry.room(); free > 0 {
		return false
	}
	e.crowd.mu.Lock()
	defer e.crowd.mu.Unlock()
	if time.Since(e.crowd.said) < time.Second {
		e.crowd.suppressed++
		return true
	}
	e.log.WarnContext(ctx, fmt.Sprintf("[RealtimeExecution] Too many concurrent executions: %d", e.o.Limit), slog.Int("suppressed", e.crowd.suppressed)) //nolint:sloglint // L16
	e.crowd.said, e.crowd.suppressed = time.Now(), 0
	return true
}

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

// triggers is where the engine reads what happened. *store.Store is the real one.
type triggers interface {
	EventsAfter(ctx context.Context, p store.Place, limit int) ([]store.Event, error)
	LatestPlace(ctx context.Context) (store.Place, error)
	Cursor(ctx context.Context, name string) (store.Place, error)
	MoveCursor(ctx context.Context, name string, to store.Place) error
	Conversation(ctx context.Context, id int64) (store.ConversationSummary, error)
}

// Reading of events.
const (
	cursorName = "flows"
	readLimit  = 500
	lookEvery  = 5 * time.Second // for what nobody told us of
)

// mostNews is how many conversations and messages the engine remembers to look at;
// beyond, it looks at all that wait.
const mostNews = 10_000

// news is what others saw happen.
type news struct {
	wake chan struct{}

	mu            sync.Mutex
	conversations []int64 // where somebody wrote; guarded by mu
	outbounds     []int64 // that got on; guarded by mu
	all           bool    // too many to name; guarded by mu
}

// Hear tells the engine what happened, so that it need not wait for its next look. It
// returns at once.
func (e *Engine) Hear(events []store.Event) {
	e.news.add(events)
	poke(e.news.wake)
}

func (n *news) add(events []store.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range events {
		switch {
		case v.MessageID != nil && v.ConversationID != nil:
			n.conversations = append(n.conversations, *v.ConversationID)
		case v.OutboundID != nil:
			n.outbounds = append(n.outbounds, *v.OutboundID)
		}
	}
	if len(n.conversations)+len(n.outbounds) > mostNews {
		n.all, n.conversations, n.outbounds = true, nil, nil
	}
}

func (n *news) taken() (conversations, outbounds []int64, some bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	conversations, outbounds, some = append([]int64{}, n.conversations...), append([]int64{}, n.outbounds...), n.all || len(n.conversations)+len(n.outbounds) > 0
	if n.all {
		conversations, outbounds = nil, nil
	}
	n.conversations, n.outbounds, n.all = nil, nil, false
	return conversations, outbounds, some
}

// follow starts flows by messages and events, and wakes executions that waited for
// them.
func (e *Engine) follow(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		err := e.wakeWaiting(ctx)
		if err == nil {
			err = e.dispatch(ctx)
		}
		if err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "Flows not started by what happened, trying again", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-e.news.wake:
		case <-tick.C:
		}
	}
}

func (e *Engine) wakeWaiting(ctx context.Context) error {
	conversations, outbounds, some := e.news.taken()
	if !some || e.waiting.Load() == 0 {
		return nil // what waits for others to wake it is found by the sweep
	}
	woken, err := e.store.WakeExecutions(ctx, conversations, outbounds)
	if woken > 0 {
		e.Wake()
	}
	return err
}

// dispatch starts the flows that what happened is a trigger of. Each event is named in
// the execution, so that a repetition after a crash starts nothing twice. Which flows
// there are is read after the events: one that was there before something happened hears
// of it.
func (e *Engine) dispatch(ctx context.Context) error {
	for ctx.Err() == nil {
		flows, err := e.listening(ctx)
		if err != nil {
			return err
		}
		if len(flows) == 0 {
			if passed, err := e.passBy(ctx); passed || err != nil {
				return err
			}
			continue
		}
		at, err := e.store.Cursor(ctx, cursorName)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		events, err := e.store.EventsAfter(ctx, at, readLimit)
		if err != nil || len(events) == 0 {
			return err
		}
		if flows, err = e.listening(ctx); err != nil {
			return err
		}
		if err := e.offerAll(ctx, events, flows); err != nil {
			return err
		}
	}
	return nil
}

// listening are the flows that what happens may start.
func (e *Engine) listening(ctx context.Context) ([]active, error) {
	return e.activeFlows(ctx, "message", "event")
}

// passBy notes now and then, while no flow listens, that all processes have come to where
// events are now. It says false when a flow listens meanwhile.
func (e *Engine) passBy(ctx context.Context) (passed bool, err error) {
	if time.Since(e.jumped) < lookEvery {
		return true, nil
	}
	at, err := e.store.LatestPlace(ctx)
	if err != nil {
		return false, err
	}
	if flows, err := e.listening(ctx); err != nil || len(flows) > 0 {
		return false, err
	}
	if err := e.store.MoveCursor(ctx, cursorName, at); err != nil {
		return false, err
	}
	e.jumped = time.Now()
	return true, nil
}

func (e *Engine) offerAll(ctx context.Context, events []store.Event, flows []active) error {
	for _, v := range events {
		if err := e.offer(ctx, v, flows); err != nil {
			return err
		}
	}
	return e.store.MoveCursor(ctx, cursorName, events[len(events)-1].Place())
}

// offer starts the flows that one event is a trigger of.
func (e *Engine) offer(ctx context.Context, v store.Event, flows []active) error {
	if v.Origin == "flow" || (v.ExecutionID != nil) || byFlow(v) {
		return nil // flows do not call each other in circles
	}
	for _, f := range flows {
		t := f.d.Trigger
		var err error
		switch {
		case t.Type == "message" && v.Type == "message.received":
			err = e.startBy(ctx, f, v, messageTrigger(v))
		case t.Type == "event" && t.Event == v.Type:
			err = e.startBy(ctx, f, v, eventTrigger(v))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byFlow says whether a flow changed the conversation.
func byFlow(v store.Event) bool {
	var about struct {
		Detail struct {
			By string `json:"by"`
		} `json:"detail"`
	}
	return json.Unmarshal(v.Data, &about) == nil && strings.HasPrefix(about.Detail.By, ByFlow)
}

func messageTrigger(v store.Event) map[string]any {
	t := map[string]any{"type": "message", "text": v.Body, "kind": v.Kind, "wa_id": v.WaID, "at": v.At.UTC().Format(time.RFC3339), "file_id": nil}
	if v.FileID != nil {
		t["file_id"] = float64(*v.FileID)
	}
	return t
}

func eventTrigger(v store.Event) map[string]any {
	var data any
	_ = json.Unmarshal(v.Data, &data) // Postgres keeps nothing but JSON
	t := map[string]any{"type": "event", "event": v.Type, "data": data, "at": v.At.UTC().Format(time.RFC3339)}
	if v.MessageID != nil || v.OutboundID != nil {
		t["message"] = map[string]any{"text": v.Body, "kind": v.Kind, "wa_id": v.WaID, "status": v.Status, "origin": v.Origin}
	}
	return t
}

// startBy starts a flow by an event, unless its condition says no. A flow of one account
// hears only of that; one that is too full or has no room now has the event wait.
func (e *Engine) startBy(ctx context.Context, f active, v store.Event, trigger map[string]any) error {
	if v.At.Before(f.CreatedAt) || (f.d.Account != 0 && v.AccountID != nil && *v.AccountID != f.d.Account) {
		return nil
	}
	trigger, _ = plain(trigger).(map[string]any)
	if !f.d.Trigger.When.Holds(map[string]any{"trigger": trigger}) {
		return nil
	}
	s := Start{Flow: f.ID, Trigger: trigger, Key: fmt.Sprintf("event:%d-%d", v.XID, v.ID)}
	if v.AccountID != nil {
		s.Account = *v.AccountID
	}
	if v.ConversationID != nil {
		c, err := e.store.Conversation(ctx, *v.ConversationID)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it was removed
		}
		if err != nil {
			return err
		}
		s.Conversation, s.Contact, s.Chat = c.ID, c.ContactID, c.Chat
	}
	_, _, err := e.Accept(ctx, s)
	return e.settled(ctx, f, err)
}

// settled says which errors of a start another try would not change: people hear of them,
// and what happened next goes on.
func (e *Engine) settled(ctx context.Context, f active, err error) error {
	switch {
	case errors.Is(err, ErrInactive), errors.Is(err, store.ErrNotFound):
		return nil // it was switched off or removed meanwhile
	case errors.Is(err, ErrContact), errors.Is(err, store.ErrNoAccount), store.Unstorable(err), store.Dangling(err):
		e.log.WarnContext(ctx, "Flow not started", slog.String("flow", f.Name), slog.Any("error", err))
		return e.store.RaiseAlert(ctx, 0, "flow_not_started", "The flow "+f.Name+" was not started by what happened: "+plainly(err))
	}
	return err
}

// plainly is an error in words for people.
func plainly(err error) string {
	if errors.Is(err, ErrContact) || errors.Is(err, store.ErrNoAccount) {
		return err.Error()
	}
	return "what it is about is gone, or cannot be kept"
}

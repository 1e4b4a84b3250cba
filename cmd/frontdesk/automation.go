package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// automation is what other systems trigger and follow.
type automation struct {
	engine *flow.Engine
}

// newEngine makes the engine of a worker: its models start flows by it. Only that of
// serve is started and runs them.
func newEngine(c *chain, s *Settings, d *database, w *worker) *flow.Engine {
	return flow.New(flow.Options{
		Store: d.Store, Process: w.process, AI: w.ai, HTTP: providers.Guarded(s.AllowPrivate), Files: w.files, Log: c.log,
		Limit: s.Limits.Executions, Tests: s.Limits.TestRunning, TestsWaiting: s.Limits.TestWaiting, Linger: s.Limits.Linger, Lease: s.Limits.Lease,
		Queued:   func(account, _ int64) { w.ringer.Note("send", account) },
		Accepted: func(id int64) { w.ringer.Note("execution", id) },
		Plain:    func(markdown string) string { return strings.Join(conversation.Bubbles(markdown), "\n\n") },
	})
}

// startAutomation starts it, above the worker whose accounts send.
func startAutomation(ctx context.Context, c *chain, w *worker) (*automation, error) {
	a := &automation{engine: w.engine}
	if err := a.engine.Start(ctx); err != nil {
		return nil, err
	}
	c.add("Execution engine", 1200*time.Millisecond, a.engine.Close)
	w.automation.Store(a)
	return a, nil
}

// heard passes rings on.
func (a *automation) heard(b store.Bell) {
	if b.Topic == "" || b.Topic == "execution" {
		a.engine.Changed()
		a.engine.Wake()
	}
}

// startable are an engine's flows as conversations know them.
type startable struct{ engine *flow.Engine }

func (s startable) Startable(ctx context.Context, account int64) (all []conversation.Flow, err error) {
	found, err := s.engine.Callable(ctx, account)
	for _, f := range found {
		all = append(all, conversation.Flow(f))
	}
	return all, err
}

func (s startable) Start(ctx context.Context, f conversation.FlowStart) error {
	_, err := s.engine.Call(ctx, flow.Call(f))
	if wrong, is := errors.AsType[*flow.InputError](err); is {
		return &conversation.FlowInputError{Says: wrong.Error()}
	}
	return err
}

// examplesPut is the setting that says that the sandbox got its examples.
const examplesPut = "examples_put"

// putExamples gives the sandbox ready flows, once.
func putExamples(ctx context.Context, d *database, account int64) error {
	if done, err := d.Setting(ctx, examplesPut); err != nil || done != "" {
		return err
	}
	for _, e := range flow.Examples() {
		f, err := d.PutFlow(ctx, e.Name, e.For(account), "frontdesk")
		if err != nil {
			return err
		}
		if _, err := d.PutWebhook(ctx, store.Webhook{ID: e.Webhook, FlowID: f.ID, Label: "Sandbox", Auth: "none"}, nil); err != nil {
			return err
		}
	}
	return d.SetSetting(ctx, examplesPut, "yes")
}

package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/bot/live"
	"frontdesk/bot/webhook"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// automation is what other systems trigger and follow.
type automation struct {
	engine    *flow.Engine
	hub       *live.Hub
	deliverer *webhook.Deliverer
	intake    *webhook.Intake
}

// newEngine makes the engine of a worker: its models start flows by it. Only that of
// serve is started and runs them.
func newEngine(c *chain, s *Settings, d *database, w *worker) *flow.Engine {
	return flow.New(flow.Options{
		Store: d.Store, Process: w.process, AI: w.ai, HTTP: providers.Guarded(s.AllowPrivate), Files: w.files, Log: c.log,
		Limit: s.Limits.Executions, Tests: s.Limits.TestRunning, TestsWaiting: s.Limits.TestWaiting, Linger: s.Limits.Linger, Lease: s.Limits.Lease,
		Queued:   func(account, _ int64) { w.ringer.Note("send", account) },
		Accepted: func(id int64) { w.ringer.Note("execution", id) },
		Happened: func() {
			if a := w.automation.Load(); a != nil {
				a.hub.Wake()
			}
		},
		Progress: func(p flow.Progress) {
			if a := w.automation.Load(); a != nil {
				a.progressed(p)
			}
		},
		Plain: func(markdown string) string { return strings.Join(conversation.Bubbles(markdown), "\n\n") },
	})
}

// startAutomation starts it, above the worker whose accounts send. The doors are shut
// first, then the sockets are told, and executions and deliveries stop where they are.
func startAutomation(ctx context.Context, c *chain, s *Settings, d *database, w *worker, console string) (*automation, error) {
	a := &automation{engine: w.engine}
	if err := a.engine.Start(ctx); err != nil {
		return nil, err
	}
	c.add("Execution engine", 1200*time.Millisecond, a.engine.Close)
	a.deliverer = webhook.NewDeliverer(webhook.DelivererOptions{
		Store: d.Store, HTTP: providers.Guarded(s.AllowPrivate), Process: w.process.ID, PublicURL: console, Log: c.log,
	})
	if err := a.deliverer.Start(ctx); err != nil {
		return nil, err
	}
	c.add("deliveries", 300*time.Millisecond, a.deliverer.Close)
	a.hub = live.New(live.Options{
		Store: d.Store, Log: c.log, Heard: a.happened, Buffers: s.Limits.EventBuffers, EventsPerBuffer: s.Limits.EventsPerBuffer, Linger: s.Limits.Linger,
	})
	if err := a.hub.Start(ctx); err != nil {
		return nil, err
	}
	c.add("sockets", 200*time.Millisecond, a.hub.Close)
	w.automation.Store(a)
	return a, nil
}

// executions, sockets and buffers are what the memory watch names; 0 before the start.
func (a *automation) executions() int {
	if a == nil {
		return 0
	}
	return a.engine.Stats().Running
}

func (a *automation) sockets() int {
	if a == nil {
		return 0
	}
	return a.hub.Stats().Sockets
}

func (a *automation) buffers() int {
	if a == nil {
		return 0
	}
	return a.hub.Stats().BufferEvents
}

// happened passes on what the hub read, so that nobody else need look.
func (a *automation) happened(events []store.Event) {
	a.engine.Hear(events)
	a.deliverer.Wake()
}

// progressed tells those who follow how far a step has come.
func (a *automation) progressed(p flow.Progress) {
	a.hub.Publish(live.Transient{
		Type: "step.progress", ExecutionID: &p.ExecutionID, FlowID: &p.FlowID, Flow: p.Flow, AccountID: p.AccountID, ConversationID: p.ConversationID,
		Test: p.Test, Step: p.Step, Data: map[string]int{p.Unit: p.Done},
	})
}

// heard passes rings on.
func (a *automation) heard(b store.Bell) {
	switch b.Topic {
	case "", "execution":
		a.engine.Changed()
		a.engine.Wake()
		a.hub.Wake()
	case "subscription":
		a.deliverer.Wake()
	}
}

// startIntake opens /webhook. signedIn says who may run tests with effects.
func (a *automation) startIntake(ctx context.Context, c *chain, s *Settings, d *database, w *worker, signedIn func(*http.Request) bool) error {
	a.intake = webhook.New(webhook.Options{
		Desk: &desk{d.Store, w.files, a.engine}, Log: c.log, Spool: filepath.Join(s.DataDir, "spool"), Proxies: s.TrustedProxies, SignedIn: signedIn,
		Limits: webhook.Limits{Rate: s.Limits.WebhookRate, File: s.Limits.FileBytes, Upload: s.Limits.UploadBytes},
	})
	return a.intake.Start(ctx)
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

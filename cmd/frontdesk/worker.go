package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"frontdesk/bot"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// worker answers the customers of one kind of account: the providers, the turns
// and the accounts themselves. serve has one for WhatsApp, its sandbox another.
type worker struct {
	ai      *providers.Registry
	turns   *conversation.Processor
	manager *bot.Manager
}

// startWorker starts the parts of a worker and adds them to the chain.
func startWorker(ctx context.Context, c *chain, s *Settings, d *database, kind string, web *http.Client) (*worker, error) {
	w := &worker{}
	w.ai = providers.New(providers.Options{
		Store: d.Store, Log: c.log, Allow: s.AllowPrivate, Limit: s.Limits.Providers, UsageTick: s.Limits.UsageTick,
	})
	if err := w.ai.Start(ctx); err != nil {
		return nil, err
	}
	c.add("AI service", 200*time.Millisecond, w.ai.Close)

	w.manager = bot.New(bot.Options{
		Store: d.Store, DB: d.WhatsApp(), Process: thisProcess(kind, s),
		Log: c.log, HTTP: web, Lease: s.Limits.Lease, Debounce: conversation.Debounce,
		Bell:     w.heard,
		Received: func(account, conversation int64, wait time.Duration) { w.turns.Wake(account, conversation, wait) },
	})
	w.turns = conversation.New(conversation.Options{
		Store: d.Store, Accounts: w.manager, AI: w.ai, Log: c.log, Turns: s.Limits.Turns, TurnTimeout: s.Limits.TurnTimeout,
		QueueWatch: s.Limits.QueueWatch, Drain: s.Limits.Drain,
	})
	if err := w.manager.Start(ctx); err != nil {
		return nil, err
	}
	c.add("WhatsApp service", 1200*time.Millisecond, w.manager.Close)
	if err := w.turns.Start(ctx); err != nil {
		return nil, err
	}
	c.add("Conversation service", s.Limits.Drain+200*time.Millisecond, w.turns.Close)
	return w, nil
}

// heard reloads the providers when one of them has changed, wherever that was done.
func (w *worker) heard(b store.Bell) {
	if b.Topic == "" || b.Topic == "provider" {
		w.ai.Reload()
	}
}

// thisProcess is what the others see of this process.
func thisProcess(kind string, s *Settings) store.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return store.Process{
		ID: host + "/" + kind + "/" + store.NewMessageID()[4:], Kind: kind, Cap: s.Limits.Accounts, Host: host, Version: version(),
	}
}

// queueNotes rings for the owner of an account when something is queued for it,
// at most once in 50 ms for all of them: a ring takes a lock on the database.
type queueNotes struct {
	accounts chan int64
}

func startQueueNotes(ctx context.Context, c *chain, ring func(ctx context.Context, topic string, id int64) error) *queueNotes {
	q := &queueNotes{accounts: make(chan int64, 1000)}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.run(ctx, c.log, ring)
	}()
	c.add("queue notes", 100*time.Millisecond, func(context.Context) error {
		stop()
		<-done
		return nil
	})
	return q
}

// note returns at once; what finds no room is found by the owner's sweep.
func (q *queueNotes) note(account, _ int64) {
	select {
	case q.accounts <- account:
	default:
	}
}

func (q *queueNotes) run(ctx context.Context, log *slog.Logger, ring func(ctx context.Context, topic string, id int64) error) {
	waiting := map[int64]bool{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case account := <-q.accounts:
			waiting[account] = true
		case <-tick.C:
			for account := range waiting {
				if err := ring(ctx, "send", account); err != nil {
					log.DebugContext(ctx, "Owner of an account not rung, its sweep will find what is queued", slog.Any("error", err))
				}
			}
			clear(waiting)
		}
	}
}

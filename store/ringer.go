package store

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

// Rhythm of a ringer: a commit that notifies takes a lock on the whole database,
// so all rings of ringEvery share one.
const (
	ringEvery = 50 * time.Millisecond
	mostRings = 1000 // of one topic; beyond, one ring says: look at everything
)

// Ringer rings other processes for changes that are frequent. It may be late by
// ringEvery and, when the database is away, silent: truth is in the tables, and
// whoever listens also looks by itself.
type Ringer struct {
	store   *Store
	wake    chan struct{}
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	noted map[Bell]bool  // guarded by mu
	count map[string]int // of noted, by topic; guarded by mu
}

// NewRinger returns a ringer that rings once it is started.
func (s *Store) NewRinger() *Ringer {
	return &Ringer{store: s, wake: make(chan struct{}, 1), noted: map[Bell]bool{}, count: map[string]int{}}
}

// Start rings for what is noted, until Close.
func (r *Ringer) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.running.Go(func() { r.run(ctx) })
}

// Close ends the ringing. A second call does nothing.
func (r *Ringer) Close(context.Context) error {
	if r.stop != nil {
		r.stop()
		r.running.Wait()
	}
	return nil
}

// Note has every process hear, soon, that id of topic changed. It returns at once
// and may be called from any goroutine.
func (r *Ringer) Note(topic string, id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := Bell{topic, id}
	switch {
	case r.noted[b] || r.noted[Bell{topic, 0}]:
		return
	case r.count[topic] == mostRings:
		b.ID = 0
	}
	r.noted[b] = true
	r.count[topic]++
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Ringer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		wait(ctx, ringEvery)
		if err := r.ring(ctx); err != nil && ctx.Err() == nil {
			r.store.log.DebugContext(ctx, "Other processes not rung, they will look by themselves", slog.Any("error", err))
		}
	}
}

// ring tells all that was noted in one commit.
func (r *Ringer) ring(ctx context.Context) error {
	var payloads []string
	for b := range r.take() {
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		payloads = append(payloads, string(text))
	}
	_, err := r.store.hasty.Exec(ctx, `select pg_notify($1, payload) from unnest($2::text[]) as payload`, channel, payloads)
	return err
}

func (r *Ringer) take() map[Bell]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.noted
	r.noted, r.count = map[Bell]bool{}, map[string]int{}
	return taken
}

package providers

import (
	"maps"
	"time"
)

// Health is how a provider does in this process.
type Health struct {
	ID          int64
	Name, Model string
	Priority    int
	Demo        bool
	State       string        // ready, resting, cooling, paused or misconfigured
	Why         string        // a sentence, unless ready
	Until       time.Time     // when resting, cooling and paused end
	Breaker     string        // closed, open or half-open
	LastClass   Class         // of its last attempt that says anything; "" before
	LastAt      time.Time     // of that attempt
	LastErr     string        // and its sentence
	P50, P95    time.Duration // of its last answers; 0 before the first
	Attempts    map[Class]int64
	Seconds     float64 // that all attempts took
	Fill        float64 // 0 to 1: how much of the tightest daily limit is taken
}

// Health is how every loaded provider does, in the order they are asked.
func (r *Registry) Health() []Health {
	s := r.snapshot.Load()
	if s == nil {
		return nil
	}
	all := make([]Health, 0, len(s.rows))
	for _, c := range s.rows {
		all = append(all, c.health(time.Now()))
	}
	return all
}

func (c *candidate) health(now time.Time) Health {
	s := c.state
	s.mu.Lock()
	defer s.mu.Unlock()
	h := Health{
		ID: c.ID, Name: c.Name, Model: c.Model, Priority: c.Priority, Demo: c.Demo,
		State: "ready", Breaker: s.breaker.word(now),
		LastClass: s.last, LastAt: s.lastAt, LastErr: s.lastErr,
		P50: s.percentile(0.50), P95: s.percentile(0.95), Fill: s.fill, Attempts: maps.Clone(s.counts), Seconds: s.seconds,
	}
	switch {
	case c.flaw != "":
		h.State, h.Why = "misconfigured", c.flaw
	case now.Before(s.pausedUntil):
		h.State, h.Why, h.Until = "paused", s.pausedWhy, s.pausedUntil
	case now.Before(s.coolUntil):
		h.State, h.Why, h.Until = "cooling", s.lastErr, s.coolUntil
	case s.breaker.open:
		h.State, h.Why, h.Until = "resting", s.lastErr, s.breaker.until
	}
	return h
}

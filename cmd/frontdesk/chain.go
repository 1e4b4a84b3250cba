package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"strings"
	"time"
)

// chain is everything that runs, in the order of its start. It stops in the
// reverse order (L30).
type chain struct {
	log   *slog.Logger
	parts []part
}

// part is one thing that runs and the share of the stop's time that is kept for it.
type part struct {
	name   string
	budget time.Duration
	stop   func(context.Context) error
}

// add puts a running part at the end.
func (c *chain) add(name string, budget time.Duration, stop func(context.Context) error) {
	c.parts = append(c.parts, part{name, budget, stop})
}

// Stop stops every part within the limit in all. A part may take its budget, and
// what nobody else needs; one that takes longer is named and passed over.
func (c *chain) Stop(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	end, later := time.Now().Add(limit), time.Duration(0)
	for _, p := range c.parts {
		later += p.budget
	}
	var late []string
	for i := len(c.parts) - 1; i >= 0; i-- {
		p := c.parts[i]
		later -= p.budget
		if !c.stopPart(ctx, p, max(p.budget, time.Until(end)-later)) {
			late = append(late, p.name)
		}
	}
	c.parts = nil
	if len(late) > 0 {
		return fmt.Errorf("not stopped in time: %s", strings.Join(late, ", "))
	}
	return nil
}

// stopPart says whether p ended within the limit.
func (c *chain) stopPart(ctx context.Context, p part, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.stop(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			c.log.WarnContext(ctx, "Part stopped with an error", slog.String("part", p.name), slog.Any("error", err))
		}
		return true
	case <-ctx.Done():
		c.log.ErrorContext(ctx, "Part not stopped in time, passed over", slog.String("part", p.name), slog.String("goroutines", goroutines()))
		return false
	}
}

// goroutines says what every goroutine waits for: those of a kind once, with their
// number.
func goroutines() string {
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // a Builder takes everything
	return stacks.String()
}

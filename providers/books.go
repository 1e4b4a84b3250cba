package providers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"frontdesk/store"
)

// nearlySpent is the part of a daily limit at which people are warned.
const nearlySpent = 0.8

// settleWithin is how long the books may take once a call has ended, whatever
// became of its context.
const settleWithin = 5 * time.Second

// place is the right to make one call.
type place struct {
	registry    *Registry
	give        func()
	reservation string // "" when the provider has no daily limits
}

// admit takes a place with row for one call: at its breaker, among its calls at
// once and a minute, and in its quota of today. Or it says why there is none.
func (r *Registry) admit(ctx context.Context, c *candidate, most store.Usage, force bool) (*place, string) {
	give, why := c.state.admit(time.Now(), force)
	if why != "" {
		return nil, why
	}
	p := &place{registry: r, give: give}
	if !c.Limited() {
		return p, ""
	}
	reserved, err := r.store.ReserveQuota(ctx, c.ID, most.PromptTokens+most.CompletionTokens, orZero(most.Cost))
	if err == nil {
		p.reservation = reserved.ID
		r.noteFill(ctx, c, reserved)
		return p, ""
	}
	give()
	c.state.release()
	if errors.Is(err, store.ErrOverQuota) {
		r.noteSpent(ctx, c)
		return nil, "has spent its quota of today"
	}
	r.log.ErrorContext(ctx, "AI provider quota unknown", slog.String("provider", c.Name), slog.Any("error", err))
	return nil, "was left out because its quota could not be read"
}

// settle gives the place back and books what the call took.
func (p *place) settle(ctx context.Context, u store.Usage) {
	p.give()
	if p.reservation == "" {
		p.registry.ledger.add(u)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	if err := p.registry.store.SettleQuota(ctx, p.reservation, u); err != nil { // the sweep books the estimate
		p.registry.log.WarnContext(ctx, "AI provider usage not settled", slog.Int64("provider", u.ProviderID), slog.Any("error", err))
	}
}

// spent is what to book for an attempt. Where the service did not say, it is
// our estimate of what it may bill: for an answer that broke off, the prompt
// and what had come; for a refusal, nothing.
func (c *candidate) spent(got reply, f *failure, prompt int) store.Usage {
	u := got.usage
	if !u.known && (f == nil || f.billable()) {
		u.prompt = prompt
	}
	spent := c.price(int64(u.prompt), int64(u.completion))
	if f != nil && f.unsent() {
		spent.Requests = 0
	}
	return spent
}

// billable says that the service may have worked on the request.
func (f *failure) billable() bool {
	switch f.class {
	case ClassCanceled, ClassFirstByte, ClassStall, ClassStreamCut:
		return !f.unsent()
	}
	return f.begun
}

// price is one call with so many tokens, and its cost if the prices are known.
func (c *candidate) price(prompt, completion int64) store.Usage {
	u := store.Usage{
		ProviderID: c.ID, Requests: 1, PromptTokens: prompt, CompletionTokens: completion,
		InputPrice: c.InputPrice, OutputPrice: c.OutputPrice,
	}
	if c.InputPrice != nil && c.OutputPrice != nil {
		micros := (prompt**c.InputPrice + completion**c.OutputPrice + 500_000) / 1_000_000
		u.Cost = &micros
	}
	return u
}

func orZero(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// noteSpent says once a day that a quota is spent; it is no error.
func (r *Registry) noteSpent(ctx context.Context, c *candidate) {
	c.state.mu.Lock()
	said := c.state.spent
	c.state.spent = true
	c.state.fill = 1
	c.state.mu.Unlock()
	if !said {
		r.log.InfoContext(ctx, "AI provider quota spent", slog.String("provider", c.Name))
	}
}

// noteFill remembers how much of today's quota is taken, and warns once a day
// when it is nearly all.
func (r *Registry) noteFill(ctx context.Context, c *candidate, reserved store.Reservation) {
	s := c.state
	s.mu.Lock()
	if !s.usageDay.Equal(reserved.Day) {
		s.usageDay, s.spent, s.nearlySpent = reserved.Day, false, false
	}
	s.fill = reserved.Fill
	warn := reserved.Fill >= nearlySpent && !s.nearlySpent
	s.nearlySpent = s.nearlySpent || warn
	s.mu.Unlock()
	if warn {
		r.log.WarnContext(ctx, "AI provider quota nearly spent", slog.String("provider", c.Name),
			slog.Int("percent", int(100*reserved.Fill)))
	}
}

// ledger collects the usage of providers without limits, off the customer's
// path. A crash loses at most the last second of it.
type ledger struct {
	mu   sync.Mutex
	open map[int64]store.Usage // by provider
}

func (l *ledger) add(u store.Usage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[int64]store.Usage{}
	}
	sum := l.open[u.ProviderID]
	u.Requests += sum.Requests
	u.PromptTokens += sum.PromptTokens
	u.CompletionTokens += sum.CompletionTokens
	if sum.Cost != nil {
		total := *sum.Cost + orZero(u.Cost)
		u.Cost = &total
	}
	l.open[u.ProviderID] = u
}

func (l *ledger) take() []store.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := slices.Collect(maps.Values(l.open))
	l.open = nil
	return taken
}

// book writes what the ledger holds; what cannot be written stays.
func (r *Registry) book(ctx context.Context) error {
	calls := r.ledger.take()
	if len(calls) == 0 {
		return nil
	}
	if err := r.store.BookUsage(ctx, calls); err != nil {
		for _, u := range calls {
			r.ledger.add(u)
		}
		return fmt.Errorf("book AI usage: %w", err)
	}
	return nil
}

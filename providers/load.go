package providers

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"frontdesk/store"
)

// snapshot is what was loaded last: rows in the order they are asked. It is
// never changed.
type snapshot struct {
	rows []*candidate
}

// load reads the active providers and puts them to use. When it fails, the last
// snapshot stays.
func (r *Registry) load(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	found, total, err := r.store.ActiveProviders(ctx, r.limit)
	if err != nil {
		return fmt.Errorf("load AI providers: %w", err)
	}
	if total >= r.limit && total != r.warned {
		r.log.WarnContext(ctx, "AI provider limit reached, some providers may not be loaded",
			slog.Int("count", total), slog.Int("limit", r.limit))
	}
	r.warned = total
	old := r.snapshot.Load()
	next := &snapshot{}
	for _, p := range found {
		next.rows = append(next.rows, r.newRow(ctx, p, old))
	}
	r.snapshot.Store(next)
	return nil
}

// newRow makes p ready to be asked. What was learnt about it lives on, unless
// it is a different service now.
func (r *Registry) newRow(ctx context.Context, p store.Provider, old *snapshot) *candidate {
	processes := r.processes()
	next := &candidate{Provider: p}
	key, err := r.store.ProviderKey(p)
	if err != nil {
		next.flaw = p.Name + " has a key that cannot be opened: " + err.Error()
		r.log.WarnContext(ctx, "AI provider cannot be used", slog.String("provider", p.Name), slog.Any("error", err))
	}
	next.key, next.client = key, r.clients.client(p, key)
	if was := old.find(p.ID); was != nil && was.BaseURL == p.BaseURL && was.Model == p.Model && was.key == key {
		next.state = was.state
		next.state.allow(p, processes)
	} else {
		next.state = newState(p, processes)
	}
	next.state.follow(p)
	return next
}

// find is the row of a provider, or nil.
func (s *snapshot) find(id int64) *candidate {
	if s == nil {
		return nil
	}
	for _, c := range s.rows {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// candidates are the rows that can do a task for one conversation: by priority,
// equals by rendezvous, so that a chat stays with one provider while it lives. Those
// whose window it does not fit come later, those that lack something last.
func candidates(rows []*candidate, work task, conversation int64) []*candidate {
	order := slices.Clone(rows)
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && order[to].Priority == order[from].Priority {
			to++
		}
		rendezvous(order[from:to], conversation)
		from = to
	}
	rank := make(map[*candidate]int, len(order))
	able := order[:0]
	for _, c := range order {
		lacking, can := work.lacking(c)
		if !can {
			continue
		}
		rank[c] = 2 * len(lacking)
		if prompt, completion := work.size(c); prompt+completion > c.ContextTokens {
			rank[c]++
		}
		able = append(able, c)
	}
	slices.SortStableFunc(able, func(a, b *candidate) int { return rank[a] - rank[b] })
	return able
}

// inPool are the rows of a pool; "": all.
func (s *snapshot) inPool(pool string) []*candidate {
	if s == nil || pool == "" {
		return s.all()
	}
	var rows []*candidate
	for _, c := range s.rows {
		if slices.Contains(c.Pools, pool) {
			rows = append(rows, c)
		}
	}
	return rows
}

// alone is the row of one provider among some, or none.
func alone(rows []*candidate, provider int64) []*candidate {
	for _, c := range rows {
		if c.ID == provider {
			return []*candidate{c}
		}
	}
	return nil
}

func (s *snapshot) all() []*candidate {
	if s == nil {
		return nil
	}
	return s.rows
}

// rendezvous orders equals by weighted highest random weight: each takes its
// share of the chats, and a new one takes over only chats of its own.
func rendezvous(tier []*candidate, conversation int64) {
	if len(tier) < 2 {
		return
	}
	slices.SortFunc(tier, func(a, b *candidate) int {
		switch x, y := a.score(conversation), b.score(conversation); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return int(a.ID - b.ID)
	})
}

func (c *candidate) score(conversation int64) float64 {
	drawn := float64(mix(uint64(conversation)*0x9e3779b97f4a7c15^uint64(c.ID))>>11)/(1<<53) + math.SmallestNonzeroFloat64
	return -float64(c.Weight) / math.Log(drawn)
}

// mix is the finalizer of splitmix64: the same in every process.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

package live

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"frontdesk/store"
)

// checkPasses has those leave whose session or token has ended, until ctx ends. While
// the database is away, everybody stays.
func (h *Hub) checkPasses(ctx context.Context) {
	tick := time.NewTicker(h.o.Check)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := h.checkOnce(ctx); err != nil && ctx.Err() == nil {
			h.o.Log.WarnContext(ctx, "Sessions of those who follow not checked, trying again", slog.Any("error", err))
		}
	}
}

// checkOnce asks for all clients at once.
func (h *Hub) checkOnce(ctx context.Context) error {
	passes := h.passes()
	if len(passes) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	ended, err := h.o.Store.EndedPasses(within, passes)
	if err != nil || len(ended) == 0 {
		return err
	}
	h.o.Log.InfoContext(ctx, "Followers signed out", slog.Int("clients", h.signOut(ended)))
	return nil
}

// passes are those of all clients, each once.
func (h *Hub) passes() []store.Pass {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[store.Pass]bool{}
	for c := range h.clients {
		if c.pass != (store.Pass{}) {
			all[c.pass] = true
		}
	}
	return slices.Collect(maps.Keys(all))
}

// signOut ends the clients of passes, with what waits for them, and says how many those
// are.
func (h *Hub) signOut(passes []store.Pass) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	ended := map[store.Pass]bool{}
	for _, p := range passes {
		ended[p] = true
	}
	n := 0
	for c := range h.clients {
		if ended[c.pass] && c.end(signedOut) {
			n++
		}
	}
	return n
}

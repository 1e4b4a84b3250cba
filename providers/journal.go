package providers

import (
	"context"
	"fmt"
	"sync"

	"frontdesk/store"
)

// mostUnwritten is how many attempts wait to be written; beyond, the oldest are
// forgotten: they are for reading only.
const mostUnwritten = 5000

// journal holds attempts until they are written.
type journal struct {
	mu      sync.Mutex
	entries []store.ProviderAttempt // guarded by mu
	dropped int                     // guarded by mu
}

func (j *journal) add(entries ...store.ProviderAttempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entries...)
	if over := len(j.entries) - mostUnwritten; over > 0 {
		j.entries = append([]store.ProviderAttempt(nil), j.entries[over:]...)
		j.dropped += over
	}
}

func (j *journal) take() (entries []store.ProviderAttempt, dropped int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries, dropped = j.entries, j.dropped
	j.entries, j.dropped = nil, 0
	return entries, dropped
}

// note has an attempt written down soon.
func (t *turn) note(a Attempt) {
	entry := store.ProviderAttempt{
		At: a.began, TurnID: t.id, Kind: t.task.kind(), ProviderID: a.provider, Provider: a.Provider, Model: a.Model,
		Class: string(a.Class), Error: a.Err, Took: a.Took,
		PromptTokens: int64(a.PromptTokens), CompletionTokens: int64(a.CompletionTokens), Cost: a.Cost,
	}
	if t.testing {
		entry.Kind = "test"
	}
	if t.conversation != 0 {
		entry.ConversationID = &t.conversation
	}
	if a.First > 0 {
		entry.First = &a.First
	}
	t.registry.journal.add(entry)
}

// writeJournal writes what the journal holds; what cannot be written stays.
func (r *Registry) writeJournal(ctx context.Context) error {
	entries, dropped := r.journal.take()
	if dropped > 0 {
		r.log.WarnContext(ctx, "Log of AI attempts is full, the oldest were forgotten")
	}
	if len(entries) == 0 {
		return nil
	}
	if err := r.store.NoteAttempts(ctx, entries); err != nil {
		r.journal.add(entries...)
		return fmt.Errorf("write the log of AI attempts: %w", err)
	}
	return nil
}

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// ProviderAttempt is one call of an AI provider. It outlives both provider and
// conversation.
type ProviderAttempt struct {
	ID               int64
	At               time.Time // it began
	TurnID           int64     // the same for all attempts at one answer
	Kind             string    // chat, transcription, embedding or test
	ProviderID       int64
	Provider         string
	Model            string
	ConversationID   *int64
	Class            string
	Error            string // one redacted sentence
	Took             time.Duration
	First            *time.Duration // until the first sign of life
	PromptTokens     int64
	CompletionTokens int64
	Cost             *int64 // micros; nil: price unknown
}

// attemptsKept is how long attempts are remembered.
const attemptsKept = 30 * 24 * time.Hour

// NoteAttempts adds attempts to the log; At is reckoned on this machine's clock.
func (s *Store) NoteAttempts(ctx context.Context, attempts []ProviderAttempt) error {
	batch := &pgx.Batch{}
	for _, a := range attempts {
		batch.Queue(`
			insert into provider_attempt (at, turn_id, kind, provider_id, provider, model, conversation_id, class, error, took, first,
			  prompt_tokens, completion_tokens, cost)
			values (clock() - @ago::interval, @turn, @kind, @provider_id, @provider, @model, @conversation, @class, @error, @took::interval,
			  @first::interval, @prompt, @completion, @cost)`,
			pgx.NamedArgs{
				"ago": time.Since(a.At), "turn": a.TurnID, "kind": a.Kind, "provider_id": a.ProviderID, "provider": a.Provider, "model": a.Model,
				"conversation": a.ConversationID, "class": a.Class, "error": a.Error, "took": a.Took, "first": a.First,
				"prompt": a.PromptTokens, "completion": a.CompletionTokens, "cost": a.Cost,
			})
	}
	return pgx.BeginFunc(ctx, s.hasty, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
}

// AttemptFilter chooses attempts; zeroes choose all.
type AttemptFilter struct {
	Provider     int64
	Conversation int64
}

// Attempts are the newest attempts, newest first.
func (s *Store) Attempts(ctx context.Context, f AttemptFilter, p Page) ([]ProviderAttempt, error) {
	return many[ProviderAttempt](ctx, s.pool, `
		select id, at, turn_id, kind, provider_id, provider, model, conversation_id, class, error, took, first, prompt_tokens, completion_tokens, cost
		from provider_attempt
		where (@provider = 0::bigint or provider_id = @provider) and (@conversation = 0::bigint or conversation_id = @conversation)
		  and (@before = 0::bigint or id < @before)
		order by id desc limit @limit`,
		pgx.NamedArgs{"provider": f.Provider, "conversation": f.Conversation, "before": p.Before, "limit": p.Limit})
}

// ForgetAttempts removes what is older than 30 days, at most 10,000 at once.
func (s *Store) ForgetAttempts(ctx context.Context) error {
	_, err := s.hasty.Exec(ctx, `
		delete from provider_attempt where id in (
		  select id from provider_attempt where at < clock() - @kept::interval order by at limit 10000)`, pgx.NamedArgs{"kept": attemptsKept})
	return err
}

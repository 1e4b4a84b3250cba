package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// PromptDays is how long exact prompts are kept.
const PromptDays = 30

// Prompt is what a model read before it answered.
type Prompt struct {
	ConversationID int64
	Seq            int64 // of the last message that it answered
	Provider       string
	Model          string
	Messages       json.RawMessage
	At             time.Time
}

// KeepPrompt keeps the prompt of an answer, and drops prompts and drafts that are too
// old.
func (s *Store) KeepPrompt(ctx context.Context, p Prompt) error {
	_, err := s.hasty.Exec(ctx, `
		with old as (
		  delete from prompt where id in (select id from prompt where at < clock() - @days * interval '1 day' order by at limit 100)),
		idle as (
		  delete from draft where id in (select id from draft where made_at < clock() - @draft_days * interval '1 day' order by made_at limit 100))
		insert into prompt (conversation_id, seq, provider, model, messages) values (@id, @seq, @provider, @model, @messages::jsonb)`,
		pgx.NamedArgs{
			"id": p.ConversationID, "seq": p.Seq, "provider": p.Provider, "model": p.Model, "messages": p.Messages,
			"days": PromptDays, "draft_days": DraftDays,
		})
	return err
}

// PromptOf is the prompt of the answer to message seq, or ErrNotFound: there was
// none, or it is older than PromptDays.
func (s *Store) PromptOf(ctx context.Context, conversation, seq int64) (Prompt, error) {
	return one[Prompt](ctx, s.pool, `
		select conversation_id, seq, provider, model, messages, at from prompt
		where conversation_id = @id and seq >= @seq and at > clock() - @days * interval '1 day' order by seq, id desc limit 1`,
		pgx.NamedArgs{"id": conversation, "seq": seq, "days": PromptDays})
}

// Summarize keeps what was said up to message seq in a model's words, unless a newer
// summary is there.
func (s *Store) Summarize(ctx context.Context, conversation, seq int64, words string) error {
	_, err := s.pool.Exec(ctx, `
		update conversation set summary = @words, summary_seq = @seq where id = @id and summary_seq < @seq`,
		pgx.NamedArgs{"id": conversation, "seq": seq, "words": clean(words)})
	return err
}

// Persona is a text that the bot of an account was told to be.
type Persona struct {
	ID   int64
	Body string
	At   time.Time
}

// Personas are the texts of an account, the newest first.
func (s *Store) Personas(ctx context.Context, account int64, p Page) ([]Persona, error) {
	return many[Persona](ctx, s.pool, `
		select id, body, at from persona
		where account_id = @account and (@before = 0::bigint or id < @before) order by id desc limit @limit`,
		pgx.NamedArgs{"account": account, "before": p.Before, "limit": p.Limit})
}

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Answered is what the bot said to a customer's messages up to Seq.
type Answered struct {
	ConversationID int64
	Seq            int64
	At             time.Time
	Said           string
}

// Answered are the bot's answers since a moment, the newest first: of one conversation,
// or of an account's newest ones.
func (s *Store) Answered(ctx context.Context, account, conversation int64, since time.Time, limit int) ([]Answered, error) {
	return many[Answered](ctx, s.pool, `
		select o.* from (
		  select id from conversation k where account_id = @account and (@conversation = 0::bigint or id = @conversation) and active_at >= @since
		    and exists (select from outbound where conversation_id = k.id and origin = 'bot' and created_at >= @since)
		  order by active_at desc limit @limit) c,
		lateral (
		  select conversation_id, after_seq as seq, min(created_at) as at, string_agg(body, e'\n\n' order by out_seq) as said
		  from outbound
		  where conversation_id = c.id and origin = 'bot' and created_at >= @since and failed_at is null and cancelled_at is null
		    and kind <> all(@changes) group by 1, 2) o
		order by o.at desc, o.conversation_id, o.seq desc limit @limit`,
		pgx.NamedArgs{"account": account, "conversation": conversation, "since": since, "limit": limit, "changes": changeKinds})
}

// TurnAt is a turn as it was when the customer's message seq was the newest, to be
// rehearsed: without what was said later. Persona, facts and documents are today's.
// ErrNotFound: there is no such message of a customer.
func (s *Store) TurnAt(ctx context.Context, conversation, seq int64) (Turn, error) {
	t, err := s.turnUpTo(ctx, conversation, seq)
	if err != nil {
		return t, err
	}
	before := t.Lines[:0]
	t.LastSeq, t.AnsweredSeq, t.State, t.DueIn = 0, 0, StateBot, 0
	for _, l := range t.Lines {
		switch {
		case l.Direction == "in":
			before, t.LastSeq, t.Now = append(before, l), l.Seq, l.At
		case l.Seq < seq:
			before, t.AnsweredSeq = append(before, l), l.Seq
		}
	}
	t.Lines = before
	if t.LastSeq != seq {
		return t, ErrNotFound
	}
	if t.SummarySeq >= seq {
		t.Summary, t.SummarySeq = "", 0
	}
	if t.SessionSeq >= seq {
		t.SessionSeq = 0
	}
	return t, nil
}

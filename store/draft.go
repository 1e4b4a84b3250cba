package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// DraftDays is how long drafts are kept.
const DraftDays = 90

// Draft is an answer that the bot did not send itself.
type Draft struct {
	ID             int64
	ConversationID int64
	AccountID      int64
	AfterSeq       int64 // it answers the customer's messages up to this one
	Bubbles        []string
	Provider       string
	Model          string
	MadeAt         time.Time
	Decision       string // "": it waits for a person
	DecidedAt      *time.Time
	DecidedBy      string
	Sent           string // what a person made of it
}

// Text is what the draft says, its bubbles as paragraphs.
func (d Draft) Text() string { return strings.Join(d.Bubbles, "\n\n") }

// ErrDecided says that a draft does not wait any more, or may not be sent: somebody
// has decided on it, it was overtaken, or the customer wants no automated messages.
var ErrDecided = errors.New("this draft does not wait any more")

const drafts = `
	select d.id, coalesce(c.merged_into, c.id) as conversation_id, c.account_id, d.after_seq, d.bubbles, d.provider, d.model, d.made_at,
	  coalesce(d.decision, '') as decision, d.decided_at, d.decided_by, d.sent
	from draft d join conversation c on c.id = d.conversation_id`

// Drafts are those of a conversation and of those that became part of it, newest
// first.
func (s *Store) Drafts(ctx context.Context, conversation int64, p Page) ([]Draft, error) {
	return many[Draft](ctx, s.pool, drafts+`
		where (c.id = @id or c.merged_into = @id) and (@before = 0::bigint or d.id < @before) order by d.id desc limit @limit`,
		pgx.NamedArgs{"id": conversation, "before": p.Before, "limit": p.Limit})
}

// WaitingDrafts are those of an account, or of all (0), that wait for a person, newest
// first.
func (s *Store) WaitingDrafts(ctx context.Context, account int64, p Page) ([]Draft, error) {
	return many[Draft](ctx, s.pool, drafts+`
		where d.decision is null and (@account = 0::bigint or c.account_id = @account) and (@before = 0::bigint or d.id < @before)
		order by d.id desc limit @limit`,
		pgx.NamedArgs{"account": account, "before": p.Before, "limit": p.Limit})
}

// DraftsWaiting counts those that wait for a person.
func (s *Store) DraftsWaiting(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, `select count(*) from draft where decision is null`).Scan(&n)
	return n, err
}

// draftPatience is how long a draft may wait for a person before people are alerted.
const draftPatience = 15 * time.Minute

// WatchDrafts alerts people to the accounts whose drafts wait for long, and takes the
// alert back once none does.
func (s *Store) WatchDrafts(ctx context.Context, accounts []int64) error {
	_, err := s.pool.Exec(ctx, `
		with late as (
		  select c.account_id, count(*) as drafts from draft d join conversation c on c.id = d.conversation_id
		  where d.decision is null and d.made_at < clock() - @patience::interval and c.account_id = any(@accounts) group by c.account_id),
		raised as (
		  insert into alert (account_id, kind, says)
		  select account_id, 'drafts_wait', case drafts when 1 then 'A customer waits' else drafts || ' customers wait' end || ' for somebody to send, change or reject what the bot would say'
		  from late
		  on conflict (coalesce(account_id, 0), kind) where resolved_at is null do update set says = excluded.says)
		update alert set resolved_at = clock()
		where kind = 'drafts_wait' and resolved_at is null and account_id = any(@accounts) and account_id not in (select account_id from late)`,
		pgx.NamedArgs{"patience": draftPatience, "accounts": accounts})
	return err
}

// Draft is one draft, or ErrNotFound.
func (s *Store) Draft(ctx context.Context, id int64) (Draft, error) {
	return one[Draft](ctx, s.pool, drafts+` where d.id = @id`, pgx.NamedArgs{"id": id})
}

// SendDraft queues a draft, in a person's words if there are any. It comes from the
// bot, or from the people who have the conversation by now. A draft that does not wait
// any more is ErrDecided, and nothing is sent.
func (s *Store) SendDraft(ctx context.Context, id int64, words, by string) (Draft, error) {
	d, err := s.Draft(ctx, id)
	if err != nil {
		return d, err
	}
	bodies := d.Bubbles
	if words = clean(words); words != "" {
		bodies = []string{words}
	}
	ids := make([]string, len(bodies))
	for i := range ids {
		ids[i] = NewMessageID()
	}
	return s.settleDraft(ctx, id, `
		with d as (
		  update draft d set decision = case when @words = '' then 'sent' else 'edited' end, decided_at = clock(), decided_by = @by, sent = @words
		  from conversation c
		  where d.id = @id and d.decision is null and c.id = coalesce(
		      (select merged_into from conversation where id = d.conversation_id), d.conversation_id) and c.opted_out_at is null
		  returning c.id as conversation_id, d.after_seq, d.provider, d.model),
		c as (
		  update conversation c set out_seq = out_seq + cardinality(@ids::text[]), active_at = clock() from d where c.id = d.conversation_id
		  returning c.id, c.account_id, c.last_seq, c.out_seq - cardinality(@ids::text[]) as base, case c.state when 'bot' then 'bot' else 'person' end as origin),
		o as (
		  insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, body, provider, model)
		  select b.wa_id, c.id, c.account_id, c.origin, c.base + b.n, least(d.after_seq, c.last_seq), b.body, d.provider, d.model
		  from c, d, unnest(@ids::text[], @bodies::text[]) with ordinality as b (wa_id, body, n) order by b.n)
		insert into timeline (conversation_id, seq, kind, detail)
		select c.id, d.after_seq, 'approved', jsonb_build_object('by', @by::text, 'edited', @words::text <> '') from c, d`,
		pgx.NamedArgs{"id": id, "words": words, "by": by, "ids": ids, "bodies": bodies})
}

// RejectDraft has nothing sent. A draft that does not wait any more is ErrDecided.
func (s *Store) RejectDraft(ctx context.Context, id int64, by string) (Draft, error) {
	return s.settleDraft(ctx, id, `
		with d as (
		  update draft set decision = 'rejected', decided_at = clock(), decided_by = @by where id = @id and decision is null
		  returning conversation_id, after_seq)
		insert into timeline (conversation_id, seq, kind, detail)
		select conversation_id, after_seq, 'rejected', jsonb_build_object('by', @by::text) from d`, pgx.NamedArgs{"id": id, "by": by})
}

// settleDraft runs a decision, and returns the draft as it is then.
func (s *Store) settleDraft(ctx context.Context, id int64, statement string, args pgx.NamedArgs) (Draft, error) {
	done, err := s.decide(ctx, statement, args)
	if err != nil {
		return Draft{}, err
	}
	d, err := s.Draft(ctx, id)
	if err == nil && !done {
		err = ErrDecided
	}
	return d, err
}

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// What people type on the account's own phone to give the ball back and forth, and
// what anybody may write to begin anew.
const (
	BotOn  = "/bot on"
	BotOff = "/bot off"
	Reset  = "/reset"
)

// Consent is what a message says of automated messages.
type Consent string

// Kinds of consent.
const (
	NoConsent Consent = ""    // nothing
	OptOut    Consent = "out" // none any more
	OptIn     Consent = "in"  // gladly again
)

// returnAt is when the bot gets conversation c of account a back by itself.
const returnAt = `case when a.takeover_minutes > 0 then clock() + a.takeover_minutes * interval '1 minute' end`

// settled is the last message of conversation c that somebody has answered: what
// comes after it waits for the bot when it gets the conversation.
const settled = `least(c.last_seq, greatest(0,
	(select max(seq) from message m where m.conversation_id = c.id and m.direction = 'out'),
	(select max(after_seq) from outbound o where o.conversation_id = c.id and o.failed_at is null and o.cancelled_at is null)))`

// HandOff gives the conversation to people and settles what came so far. says is told
// to the customer ("": nothing), under the id waID.
func (s *Store) HandOff(ctx context.Context, h Handoff) (bool, error) {
	return s.decide(ctx, `
		with c as (
		  update conversation c set state = 'human', state_since = clock(), answered_seq = last_seq, attempts = 0, retry_at = null,
		    return_at = `+returnAt+`, out_seq = out_seq + 1, active_at = clock()
		  from account a where c.id = @id and answered_seq = @lo and a.id = c.account_id
		  returning c.id, c.account_id, c.last_seq, c.out_seq, a.answering),
		o as (
		  update outbound set cancelled_at = clock() where conversation_id = (select id from c)
		    and origin = 'bot' and claimed_at is null and `+pending+`),
		told as (
		  insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, body)
		  select @wa_id, id, account_id, 'system', out_seq, last_seq, @says from c where @says <> '' and answering = 'live')
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'handed_off', jsonb_build_object('reason', @reason::text, 'detail', @detail::text) from c`,
		pgx.NamedArgs{"id": h.ConversationID, "lo": h.Lo, "reason": h.Reason, "detail": h.Detail, "says": h.Says, "wa_id": NewMessageID()})
}

// Handoff is a conversation on its way from the bot to people.
type Handoff struct {
	ConversationID int64
	Lo             int64  // the last settled message, as the turn read it
	Reason         string // a word for the timeline
	Detail         string // in the model's words
	Says           string // told to the customer; "": nothing
}

// PauseBot leaves a conversation to nobody until a person looks at it, and settles
// what came so far. False: the cursor had moved.
func (s *Store) PauseBot(ctx context.Context, conversation, lo int64, reason string) (bool, error) {
	return s.decide(ctx, `
		with c as (
		  update conversation set state = 'paused', state_since = clock(), answered_seq = last_seq, attempts = 0, retry_at = null, return_at = null
		  where id = @id and answered_seq = @lo returning id, last_seq),
		o as (
		  update outbound set cancelled_at = clock() where conversation_id = (select id from c)
		    and origin = 'bot' and claimed_at is null and `+pending+`)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'paused', jsonb_build_object('reason', @reason::text) from c`,
		pgx.NamedArgs{"id": conversation, "lo": lo, "reason": reason})
}

// SetState gives the conversation to the bot or to people. Away from the bot, what
// came so far is settled, and the bot gets it back by itself as the account says;
// back at the bot, what nobody has answered waits for it. Either way, what the bot
// had to say and nobody has tried to send is cancelled.
func (s *Store) SetState(ctx context.Context, conversation int64, state State, by string) error {
	done, err := s.decide(ctx, `
		with was as (select id, state from conversation where id = @id for update),
		c as (
		  update conversation c set state = @state,
		    state_since = case when was.state = @state then c.state_since else clock() end,
		    return_at = case when @state in ('human', 'paused') then `+returnAt+` end,
		    session_seq = case when @state = 'closed' then c.last_seq else c.session_seq end,
		    answered_seq = case when @state <> 'bot' then c.last_seq when was.state = 'bot' then c.answered_seq else `+settled+` end,
		    pending_since = case when @state = 'bot' and was.state <> 'bot' then clock() else c.pending_since end,
		    due_at = case when @state = 'bot' and was.state <> 'bot' then clock() else c.due_at end
		  from was, account a where c.id = was.id and a.id = c.account_id and c.merged_into is null
		  returning c.id, c.last_seq, was.state as before),
		o as (
		  update outbound set cancelled_at = clock() from c
		  where (c.before <> 'bot' or @state <> 'bot') and conversation_id = c.id and origin = 'bot' and claimed_at is null and `+pending+`)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'state', jsonb_build_object('state', @state::text, 'by', @by::text) from c`,
		pgx.NamedArgs{"id": conversation, "state": state, "by": by})
	if err == nil && !done {
		return ErrNotFound
	}
	return err
}

// ReturnConversations gives the bot the conversations of the given accounts whose
// time with people is over; what nobody has answered waits for it. Before, it cancels
// what the bot had to say in conversations that were taken from it: an answer that was
// queued at the same moment escapes the takeover's own statement.
func (s *Store) ReturnConversations(ctx context.Context, accounts []int64) error {
	b := &pgx.Batch{}
	args := pgx.NamedArgs{"accounts": accounts}
	b.Queue(`
		update outbound o set cancelled_at = clock() from conversation c
		where o.account_id = any(@accounts) and o.origin = 'bot' and o.claimed_at is null and `+pending+`
		  and c.id = o.conversation_id and (c.state <> 'bot' or o.created_at < c.state_since)`, args)
	b.Queue(`
		with c as (
		  update conversation c set state = 'bot', state_since = clock(), return_at = null, answered_seq = `+settled+`,
		    pending_since = clock(), due_at = clock()
		  where account_id = any(@accounts) and return_at <= clock() and state in ('human', 'paused')
		  returning id, last_seq)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'state', '{"state": "bot", "by": "clock"}' from c`, args)
	return s.pool.SendBatch(ctx, b).Close()
}

// Defer leaves the messages unsettled until wait is over, through no fault of a
// provider. False: the cursor had moved.
func (s *Store) Defer(ctx context.Context, conversation, lo int64, wait time.Duration, reason string) (bool, error) {
	return s.decide(ctx, `
		with c as (
		  update conversation set retry_at = clock() + @wait::interval, due_at = clock() + @wait::interval
		  where id = @id and answered_seq = @lo returning id, last_seq)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'deferred', jsonb_build_object('reason', @reason::text) from c`,
		pgx.NamedArgs{"id": conversation, "lo": lo, "wait": wait, "reason": reason})
}

// busy is how long the bot has said enough in conversation c of account a: as many
// answers in ten minutes as the account allows.
const busy = `(
	select case when a.answers_limit > 0 then greatest(interval '0', min(at) + interval '10 minutes' - clock()) else interval '0' end
	from (select min(o.created_at) as at from outbound o
	      where o.conversation_id = c.id and o.origin = 'bot' and o.created_at > clock() - interval '10 minutes'
	      group by o.after_seq order by 1 desc offset greatest(a.answers_limit - 1, 0) limit 1) full_since)`

// overspent says that conversation c or its account a has cost all that it may today.
const overspent = `(
	(a.spend_contact_day is not null and a.spend_contact_day <= (
	  select coalesce(sum(cost), 0) from provider_attempt t where t.conversation_id = c.id and t.at > date_trunc('day', clock())))
	or (a.spend_day is not null and a.spend_day <= (
	  select coalesce(sum(t.cost), 0) from provider_attempt t join conversation o on o.id = t.conversation_id
	  where o.account_id = a.id and t.at > date_trunc('day', clock()))))`

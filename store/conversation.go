package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// State says who has the ball in a conversation.
type State string

// The states of a conversation.
const (
	StateBot    State = "bot"
	StateHuman  State = "human"
	StatePaused State = "paused"
	StateClosed State = "closed"
)

// Conversation is one customer's talk with one account. It is also the queue:
// LastSeq is what came, AnsweredSeq what is answered or deliberately skipped.
type Conversation struct {
	ID          int64
	AccountID   int64
	ContactID   int64
	Chat        string // WhatsApp address that replies go to
	State       State
	StateSince  time.Time
	LastSeq     int64
	AnsweredSeq int64
	OutSeq      int64
	DueAt       *time.Time
	Attempts    int
	ActiveAt    time.Time
	CreatedAt   time.Time
	MergedInto  *int64 // the customer turned out to be somebody known; nothing happens here any more

	ReturnAt   *time.Time // the bot has the ball again then; nil: when somebody gives it back
	OptedOutAt *time.Time // the customer wants no automated messages
	SessionSeq int64      // what models read begins behind this message
	SeenSeq    int64      // people have seen it up to here
	AssignedTo string
	Tags       []string
}

// Inbound is a message as it came from WhatsApp. Of the customer's Phone and LID
// one may be unknown.
type Inbound struct {
	AccountID int64
	Phone     string
	LID       string
	Name      string // what the customer calls themselves
	Chat      string
	WaID      string
	Kind      string // text, image, …: what the customer sent
	Body      string
	SentAt    time.Time
	Wait      time.Duration // debounce: how long to wait for a next message
	Consent   Consent       // what the message says of automated messages

	Quoted string         // WhatsApp id of the message it replies to
	Extra  map[string]any // a place, contact cards, seconds until it disappears
	Media  *Media         // the file it brought, if it did
}

// Received is where an inbound message was put. Duplicate says that it was there
// already; nothing else is set then.
type Received struct {
	ConversationID int64
	Seq            int64
	Duplicate      bool
	Wait           time.Duration // until the turn is due
}

// Bounds of a debounce (conversation.md, "Turns").
const (
	WaitMax       = 10 * time.Second // that it holds an answer back at most
	mostGathered  = 10               // messages, after which it waits no longer
	typingExtends = 2 * time.Second
)

// whoWrites is the one person whom all that is known of the writer's addresses
// fits, still until the statement ends: nobody merges them meanwhile. No row: they
// are new, have a new address, or are two contacts so far.
const whoWrites = `
	person as (
	  select id from contact
	  where (lid = nullif(@lid, '') and (@phone = '' or phone = @phone)) or (@lid = '' and phone = nullif(@phone, '')) for key share)`

// Receive stores a customer's message and makes its turn due, in one statement
// and one commit. Once it returns nil, the message is safe.
func (s *Store) Receive(ctx context.Context, in Inbound) (Received, error) {
	r, err := one[struct {
		ID    int64
		Seq   int64
		DueIn time.Duration
	}](ctx, s.pool, `
		with`+whoWrites+`,
		c as (
		  insert into conversation as c (account_id, contact_id, chat, last_seq, pending_since, due_at, active_at, opted_out_at)
		  select @account, id, @chat, 1, clock(), clock() + @wait::interval, clock(), case @consent when 'out' then clock() end from person
		  on conflict (account_id, contact_id) do update set
		    chat = excluded.chat,
		    active_at = excluded.active_at,
		    last_seq = c.last_seq + 1,
		    state = case when c.state = 'closed' then 'bot' else c.state end,
		    answered_seq = case when c.state in ('bot', 'closed') then c.answered_seq else c.last_seq + 1 end,
		    session_seq = case when @reset then c.last_seq + 1 else c.session_seq end,
		    summary = case when @reset then '' else c.summary end,
		    opted_out_at = case @consent when 'out' then clock() when 'in' then null else c.opted_out_at end,
		    pending_since = case when c.last_seq > c.answered_seq then c.pending_since else clock() end,
		    due_at = case when c.last_seq > c.answered_seq
		                  then greatest(coalesce(c.retry_at, '-infinity'), case when c.last_seq - c.answered_seq >= @gathered - 1 then clock()
		                    else least(clock() + @wait::interval, c.pending_since + @wait_max::interval) end)
		                  else clock() + @wait::interval end
		  returning id, last_seq, due_at),
		m as (
		  insert into message (conversation_id, seq, direction, wa_id, kind, body, sent_at, quoted_wa_id, extra)
		  select id, last_seq, 'in', @wa_id, @kind, @body, @sent_at, @quoted, @extra::jsonb from c returning id),
		o as (
		  update outbound set cancelled_at = clock() where @consent = 'out' and conversation_id = (select id from c)
		    and `+automated+` and claimed_at is null and `+pending+`),`+keepMedia+`
		select id, last_seq as seq, greatest(due_at - clock(), interval '0') as due_in from c`, in.args(s))
	switch {
	case breaks(err, "message_wa_id_key"):
		return s.makeReadable(ctx, in)
	case errors.Is(err, ErrNotFound):
		return afterMeeting(ctx, s, in, s.Receive)
	}
	return Received{ConversationID: r.ID, Seq: r.Seq, Wait: r.DueIn}, err
}

// KindUnreadable is a message that could not be decrypted so far. It keeps the place
// for the copy that its sender was asked for.
const KindUnreadable = "unreadable"

// Extend puts a turn off whose customer goes on typing: by the account's debounce and
// a little more, within WaitMax. ErrNotFound: nothing waits in this chat.
func (s *Store) Extend(ctx context.Context, account int64, chat string) (id int64, wait time.Duration, err error) {
	r, err := one[struct {
		ID    int64
		DueIn time.Duration
	}](ctx, s.pool, `
		update conversation c
		set due_at = greatest(c.due_at, least(clock() + a.debounce_ms * interval '1 millisecond' + @more::interval, c.pending_since + @wait_max::interval))
		from account a
		where c.account_id = @account and c.chat = @chat and c.last_seq > c.answered_seq and c.due_at > clock() and a.id = c.account_id
		  and a.presence and a.debounce_ms > 0
		returning c.id, c.due_at - clock() as due_in`,
		pgx.NamedArgs{"account": account, "chat": chat, "more": typingExtends, "wait_max": WaitMax})
	return r.ID, r.DueIn, err
}

// makeReadable puts a message into the place that was kept for it, and makes its
// turn due. If that place was settled meanwhile, the message comes last. All that
// waits moves on by one stretch, so that a turn under way, which has not read it,
// settles nothing. Any other message that is there already is a duplicate.
func (s *Store) makeReadable(ctx context.Context, in Inbound) (Received, error) {
	if in.Kind == KindUnreadable {
		return Received{Duplicate: true}, nil
	}
	r, err := one[struct {
		ID    int64
		Seq   int64
		DueIn time.Duration
	}](ctx, s.pool, `
		with`+whoWrites+`,
		c as (
		  select c.id, last_seq, answered_seq, state from conversation c join person on person.id = contact_id
		  where account_id = @account for update of c),
		m as (
		  update message m set kind = @kind, body = @body, sent_at = @sent_at, quoted_wa_id = @quoted, extra = @extra::jsonb,
		    seq = case when c.state <> 'bot' then m.seq
		               when m.seq > c.answered_seq then m.seq + c.last_seq - c.answered_seq
		               else 2 * c.last_seq - c.answered_seq + 1 end
		  from c where m.conversation_id = c.id and m.wa_id = @wa_id and m.kind = '`+KindUnreadable+`' returning m.id, m.seq),
		others as (
		  update message o set seq = o.seq + c.last_seq - c.answered_seq from c, m
		  where o.conversation_id = c.id and o.id <> m.id and o.seq > c.answered_seq and c.state = 'bot'),
		between as (
		  update outbound o set after_seq = o.after_seq + c.last_seq - c.answered_seq from c, m
		  where o.conversation_id = c.id and o.after_seq > c.answered_seq and c.state = 'bot'),`+keepMedia+`
		update conversation k set
		  answered_seq = case when k.state = 'bot' then k.last_seq else k.answered_seq end,
		  last_seq = case when k.state = 'bot' then greatest(2 * k.last_seq - k.answered_seq, m.seq) else greatest(k.last_seq, m.seq) end,
		  pending_since = case when k.last_seq > k.answered_seq then k.pending_since else clock() end,
		  due_at = greatest(coalesce(k.retry_at, '-infinity'), clock() + @wait::interval)
		from c, m where k.id = c.id
		returning k.id, m.seq, greatest(k.due_at - clock(), interval '0') as due_in`, in.args(s))
	if errors.Is(err, ErrNotFound) {
		return Received{Duplicate: true}, nil
	}
	return Received{ConversationID: r.ID, Seq: r.Seq, Wait: r.DueIn}, err
}

func (in Inbound) args(s *Store) pgx.NamedArgs {
	args := pgx.NamedArgs{
		"account": in.AccountID, "phone": in.Phone, "lid": in.LID, "chat": in.Chat, "wait": in.Wait, "wait_max": WaitMax, "gathered": mostGathered,
		"wa_id": clean(in.WaID), "kind": in.Kind, "body": clean(in.Body), "sent_at": in.SentAt, "quoted": clean(in.Quoted), "extra": extraOf(in.Extra),
		"consent": string(in.Consent), "reset": strings.EqualFold(strings.TrimSpace(in.Body), Reset),
	}
	s.mediaArgs(args, in)
	return args
}

func (in Inbound) argsOfOwn(s *Store) pgx.NamedArgs {
	args := in.args(s)
	args["ball"] = map[string]string{BotOn: "on", BotOff: "off"}[strings.ToLower(strings.TrimSpace(in.Body))]
	return args
}

// extraOf is never null.
func extraOf(extra map[string]any) map[string]any {
	if extra == nil {
		return map[string]any{}
	}
	cleaned, _ := cleanAll(extra).(map[string]any)
	return cleaned
}

// afterMeeting makes the writer one contact and stores the message then.
func afterMeeting[T any](ctx context.Context, s *Store, in Inbound, store func(context.Context, Inbound) (T, error)) (T, error) {
	if _, err := s.ResolveContact(ctx, in.Phone, in.LID, clean(in.Name)); err != nil {
		var none T
		return none, err
	}
	return store(ctx, in)
}

// ReceiveOwn stores a message that somebody typed on the account's own phone,
// and gives the conversation to that person in the same statement, for as long as
// the account wants: turns under way are fenced, bubbles not yet claimed are
// cancelled. BotOn and BotOff give it to the bot, and to people until they say
// otherwise. Ids of our own bubbles are not messages of a person; for them it does
// nothing.
func (s *Store) ReceiveOwn(ctx context.Context, in Inbound) error {
	known, err := column[bool](ctx, s.pool, `
		with`+whoWrites+`,
		c as (
		  insert into conversation as c (account_id, contact_id, chat, state, last_seq, answered_seq, active_at, return_at)
		  select @account, person.id, @chat, case when @ball = 'on' or (@ball = '' and answering = 'shadow') then 'bot' else 'human' end, 1, 1, clock(),
		    case when @ball = '' and takeover_minutes > 0 and answering <> 'shadow' then clock() + takeover_minutes * interval '1 minute' end
		  from person, account a where a.id = @account and not exists (select from outbound where wa_id = @wa_id)
		  on conflict (account_id, contact_id) do update set
		    state = excluded.state, state_since = clock(), active_at = clock(), return_at = excluded.return_at,
		    last_seq = c.last_seq + 1, answered_seq = c.last_seq + 1, retry_at = null, attempts = 0
		  returning id, last_seq, state),
		m as (
		  insert into message (conversation_id, seq, direction, wa_id, kind, body, sent_at, quoted_wa_id, extra)
		  select id, last_seq, 'out', @wa_id, @kind, @body, @sent_at, @quoted, @extra::jsonb from c returning id),`+keepMedia+`,
		o as (
		  update outbound set cancelled_at = clock() where conversation_id = (select id from c)
		    and origin = 'bot' and claimed_at is null and sent_at is null and failed_at is null and cancelled_at is null),
		t as (
		  insert into timeline (conversation_id, seq, kind, detail)
		  select id, last_seq, case when @ball = 'on' then 'given_back' when state = 'bot' then 'answered_by_person' else 'taken_over' end, '{"by": "phone"}' from c)
		select exists (select from person) or exists (select from outbound where wa_id = @wa_id)`, in.argsOfOwn(s))
	switch {
	case breaks(err, "message_wa_id_key"):
		return nil
	case err != nil:
		return err
	case !known[0]:
		_, err = afterMeeting(ctx, s, in, func(ctx context.Context, in Inbound) (struct{}, error) { return struct{}{}, s.ReceiveOwn(ctx, in) })
	}
	return err
}

// Due is a conversation whose customer waits for a turn.
type Due struct {
	ID        int64
	AccountID int64
	DueIn     time.Duration
	Waiting   time.Duration // since the oldest unanswered message
}

// DueConversations are those of the given accounts that wait for a turn, the
// longest waiting first.
func (s *Store) DueConversations(ctx context.Context, accounts []int64, limit int) ([]Due, error) {
	return many[Due](ctx, s.pool, `
		select id, account_id, greatest(coalesce(due_at, clock()) - clock(), interval '0') as due_in,
		  clock() - coalesce(pending_since, clock()) as waiting
		from conversation
		where account_id = any(@accounts) and last_seq > answered_seq
		order by due_at, id limit @limit`,
		pgx.NamedArgs{"accounts": accounts, "limit": limit})
}

// Turn is all that one turn of a conversation needs to know, read in one
// statement: who, for which account, and what has not been settled yet.
type Turn struct {
	ConversationID int64
	AccountID      int64
	State          State
	LastSeq        int64
	AnsweredSeq    int64
	Attempts       int
	DueIn          time.Duration // > 0: not yet
	NewestAge      time.Duration // of the newest unsettled message, by the time WhatsApp gave it
	Readable       int           // unsettled messages that there is something to read of
	AccountPaused  bool
	Persona        string
	Presence       bool
	Fallback       string
	FallbackText   string
	ProviderPool   string
	ContactName    string
	Chat           string
	SessionSeq     int64  // what models read begins behind this message
	Summary        string // of what was said up to SummarySeq
	SummarySeq     int64
	ContactID      int64
	Facts          []string // about the customer
	OptedOut       bool
	Language       string
	Disclosure     *string
	HandoffWords   []string
	HandoffText    *string
	Hours          []byte        // JSON; conversation.Hours reads it
	Busy           time.Duration // until the bot may answer again in this chat; 0: it may
	Overspent      bool          // a budget of the day is used up
	AnswersLimit   int           // in ten minutes; 0: nobody looks for loops either
	Answering      Answering     // who sends the answer
	HasTools       bool          // admins defined some for the account
	HasSources     bool          // there are documents to answer from
	Now            time.Time
	Unread         []string // WhatsApp ids of the customer's newest unsettled messages, newest first
	Lines          []Line   `db:"-"` // the newest ones, oldest first
}

// Turn reads what a turn of the conversation needs, with its newest lines, in one
// round trip.
func (s *Store) Turn(ctx context.Context, conversation int64) (Turn, error) {
	return s.turnUpTo(ctx, conversation, math.MaxInt64)
}

// turnUpTo reads a turn with its newest lines up to message hi.
func (s *Store) turnUpTo(ctx context.Context, conversation, hi int64) (Turn, error) {
	var t Turn
	var lines []Line
	b := &pgx.Batch{}
	args := pgx.NamedArgs{"id": conversation, "unreadable": KindUnreadable, "unread": mostUnread, "limit": mostLines, "changes": changeKinds, "hi": hi}
	b.Queue(turn, args).Query(func(rows pgx.Rows) (err error) {
		t, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Turn])
		return err
	})
	b.Queue(history, args).Query(func(rows pgx.Rows) (err error) {
		lines, err = pgx.CollectRows(rows, pgx.RowToStructByName[Line])
		return err
	})
	err := s.pool.SendBatch(ctx, b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return t, ErrNotFound
	}
	t.Lines = slices.DeleteFunc(lines, func(l Line) bool { return l.Seq > t.LastSeq }) // came between the two
	return t, err
}

// What a turn reads at most.
const (
	mostLines  = 240 // 200 that wait, and 40 before them
	mostUnread = 50  // that one read receipt covers
)

const turn = `
	select c.id as conversation_id, c.account_id, c.state, c.last_seq, c.answered_seq, c.attempts, c.chat,
	  greatest(coalesce(c.due_at, clock()) - clock(), interval '0') as due_in,
	  clock() - coalesce(w.newest, clock()) as newest_age, w.readable, w.unread,
	  a.paused as account_paused, a.persona, a.presence, a.fallback, a.fallback_text, a.provider_pool,
	  p.name as contact_name, c.contact_id, c.session_seq, c.summary, c.summary_seq,
	  array(select body from fact f where f.account_id = c.account_id
	    and f.contact_id in (select id from contact where id = c.contact_id or merged_into = c.contact_id) order by at, id) as facts,
	  c.opted_out_at is not null as opted_out, a.language, a.disclosure, a.handoff_words, a.handoff_text, a.answers_limit, a.answering,
	  exists (select from tool x where x.is_active and (x.account_id is null or x.account_id = a.id)) as has_tools,
	  exists (select from source d where d.passages > 0 and (d.account_id is null or d.account_id = a.id)) as has_sources,
	  a.hours, ` + busy + ` as busy, ` + overspent + ` as overspent, clock() as now
	from conversation c
	join account a on a.id = c.account_id
	join contact p on p.id = c.contact_id,
	lateral (
	  select max(m.sent_at) as newest, count(*) filter (where m.kind <> @unreadable) as readable,
	    coalesce((array_agg(m.wa_id order by m.seq desc) filter (where m.direction = 'in'))[:@unread], '{}') as unread
	  from message m where m.conversation_id = c.id and m.seq > c.answered_seq) w
	where c.id = @id`

// Line is one message of a history, in either direction.
type Line struct {
	Direction string // "in" or "out"
	Seq       int64  // of the message, or of the last message it answers
	Kind      string
	Body      string
	At        time.Time
	Origin    string // customer, phone, bot, person, api, …

	Transcript string // of a voice note, by machine
}

// What people and models see of a message: nothing, once its writer deleted it.
const (
	shownKind = `case when deleted_at is null then kind else 'deleted' end`
	shownBody = `case when deleted_at is null then body else '' end`
)

// first is the place of a message among what we sent in answer to it: before all of
// that, also before what a merge has moved below zero.
const first = `(-9007199254740991)::bigint`

// History is the newest lines of a conversation up to message hi, oldest first.
func (s *Store) History(ctx context.Context, conversation, hi int64, limit int) ([]Line, error) {
	return many[Line](ctx, s.pool, history, pgx.NamedArgs{"id": conversation, "hi": hi, "limit": limit, "changes": changeKinds})
}

const history = `
	select direction, seq, kind, body, at, transcript, origin from (
	  (select direction, case direction when 'in' then 'customer' else 'phone' end as origin, seq, ` + first + ` as out_seq, ` + shownKind + ` as kind, ` + shownBody + ` as body, sent_at as at,
	     case when deleted_at is null then coalesce(transcript, '') else '' end as transcript
	   from message where conversation_id = @id and seq <= @hi order by seq desc limit @limit)
	  union all
	  (select 'out', origin, after_seq, out_seq, kind, body, coalesce(sent_at, created_at), ''
	   from outbound where conversation_id = @id and failed_at is null and cancelled_at is null and kind <> all(@changes)
	   order by out_seq desc limit @limit)
	  order by seq desc, out_seq desc limit @limit) newest
	order by seq, out_seq`

// Reply is the answer to the messages (Lo, Hi] of a conversation, in bubbles.
type Reply struct {
	ConversationID int64
	Lo, Hi         int64
	Force          bool // answer although a newer message came
	Origin         string
	Bubbles        []Bubble
	Provider       string
	Model          string
	Detail         any  // for the timeline; encoded as JSON
	OptOut         bool // it confirms that nothing automated follows: the only thing that may be sent then
}

// Bubble is one WhatsApp message of a reply; its id is chosen before sending.
type Bubble struct {
	WaID string
	Body string
}

// Answer queues a reply and moves the cursor over what it answers, in one
// statement. Where the bot may not send by itself the reply becomes a draft, in the
// place of one that still waits. Answer returns false and does nothing when the
// cursor has moved, a newer message came (unless Force) or a person has the
// conversation: read Turn again to see which.
func (s *Store) Answer(ctx context.Context, r Reply) (bool, error) {
	ids, bodies := make([]string, len(r.Bubbles)), make([]string, len(r.Bubbles))
	for i, b := range r.Bubbles {
		ids[i], bodies[i] = b.WaID, b.Body
	}
	queued, err := column[int64](ctx, s.hasty, `
		with c as (
		  update conversation c set answered_seq = @hi, attempts = 0, retry_at = null, out_seq = out_seq + @n, active_at = clock(),
		    pending_since = case when last_seq > @hi then clock() end
		  from account a
		  where c.id = @id and a.id = c.account_id
		    and answered_seq = @lo and state = 'bot' and (last_seq = @hi or @force) and (opted_out_at is null or @opt_out)
		  returning c.id, c.account_id, out_seq - @n as base, a.answering,
		    a.answering = 'live' or (a.answering = 'approve' and @opt_out) as live), -- a person asked for silence hears that it was understood
		old as (
		  update draft set decision = 'superseded', decided_at = clock() from c where conversation_id = c.id and decision is null),
		d as (
		  insert into draft (conversation_id, after_seq, bubbles, provider, model, decision, decided_at)
		  select id, @hi, @bodies, @provider, @model, case answering when 'shadow' then 'shadow' end, case answering when 'shadow' then clock() end
		  from c where not live returning id),
		t as (
		  insert into timeline (conversation_id, seq, kind, detail)
		  select id, @hi, case when live then 'answered' else 'drafted' end, coalesce(@detail::jsonb, '{}') from c),
		o as (
		  insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, body, provider, model, extra)
		  select b.wa_id, c.id, c.account_id, @origin, c.base + b.n, @hi, b.body, @provider, @model,
		    case when @opt_out then '{"opt_out": true}'::jsonb else '{}' end
		  from c, unnest(@ids::text[], @bodies::text[]) with ordinality as b (wa_id, body, n) where live order by b.n returning id)
		select id from o union all select id from d`,
		pgx.NamedArgs{
			"id": r.ConversationID, "lo": r.Lo, "hi": r.Hi, "force": r.Force, "n": len(ids), "ids": ids, "bodies": bodies,
			"origin": r.Origin, "provider": r.Provider, "model": r.Model, "detail": r.Detail, "opt_out": r.OptOut,
		})
	return len(queued) > 0, err
}

// Skip settles the messages (lo, hi] without an answer, and says why in the
// timeline. False: the cursor had moved.
func (s *Store) Skip(ctx context.Context, conversation, lo, hi int64, reason string) (bool, error) {
	return s.decide(ctx, `
		with c as (
		  update conversation set answered_seq = @hi, attempts = 0, retry_at = null
		  where id = @id and answered_seq = @lo returning id)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, @hi, 'skipped', jsonb_build_object('reason', @reason::text) from c`,
		pgx.NamedArgs{"id": conversation, "lo": lo, "hi": hi, "reason": reason})
}

// RetryLater leaves the messages unsettled and makes their turn due again after
// wait. False: the cursor had moved.
func (s *Store) RetryLater(ctx context.Context, conversation, lo int64, wait time.Duration, reason string) (bool, error) {
	return s.decide(ctx, `
		with c as (
		  update conversation set attempts = attempts + 1, retry_at = clock() + @wait::interval, due_at = clock() + @wait::interval
		  where id = @id and answered_seq = @lo returning id, last_seq, attempts)
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'retry', jsonb_build_object('reason', @reason::text, 'attempt', attempts) from c`,
		pgx.NamedArgs{"id": conversation, "lo": lo, "wait": wait, "reason": reason})
}

func (s *Store) decide(ctx context.Context, statement string, args pgx.NamedArgs) (bool, error) {
	done, err := s.pool.Exec(ctx, statement, args)
	return done.RowsAffected() > 0, err
}

// Page asks for rows before the one with id Before (0: from the newest).
type Page struct {
	Before int64
	Limit  int
}

// ConversationSummary is a conversation with the words people know it by.
type ConversationSummary struct {
	Conversation
	AccountName string
	ContactName string
	Phone       *string
}

// Conversations are the conversations of one account, or of all (0), with one
// contact, or with all (0), newest id first, without those that became part of another.
func (s *Store) Conversations(ctx context.Context, account, contact int64, p Page) ([]ConversationSummary, error) {
	return many[ConversationSummary](ctx, s.pool, conversationSummaries+`
		where (@account = 0::bigint or c.account_id = @account) and (@contact = 0::bigint or c.contact_id = @contact)
		  and (@before = 0::bigint or c.id < @before) and c.merged_into is null
		order by c.id desc limit @limit`,
		pgx.NamedArgs{"account": account, "contact": contact, "before": p.Before, "limit": p.Limit})
}

// Conversation is one conversation, or ErrNotFound.
func (s *Store) Conversation(ctx context.Context, id int64) (ConversationSummary, error) {
	return one[ConversationSummary](ctx, s.pool, conversationSummaries+` where c.id = @id`, pgx.NamedArgs{"id": id})
}

const conversationSummaries = `
	select c.id, c.account_id, c.contact_id, c.chat, c.state, c.state_since, c.last_seq, c.answered_seq, c.out_seq, c.due_at,
	  c.attempts, c.active_at, c.created_at, c.merged_into, c.return_at, c.opted_out_at, c.session_seq, c.seen_seq, c.assigned_to, c.tags,
	  a.name as account_name, p.name as contact_name, p.phone
	from conversation c join account a on a.id = c.account_id join contact p on p.id = c.contact_id`

// TimelineEntry says what happened to the messages up to Seq, and why.
type TimelineEntry struct {
	ID     int64
	Seq    int64
	Kind   string
	Detail map[string]any
	At     time.Time
}

// Timeline is the newest entries of a conversation, newest first.
func (s *Store) Timeline(ctx context.Context, conversation int64, p Page) ([]TimelineEntry, error) {
	return many[TimelineEntry](ctx, s.pool, `
		select id, seq, kind, detail, at from timeline
		where conversation_id = @id and (@before = 0::bigint or id < @before) order by id desc limit @limit`,
		pgx.NamedArgs{"id": conversation, "before": p.Before, "limit": p.Limit})
}

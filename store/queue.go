package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// What Queue refuses (whatsapp.md, "Sends").
const (
	usualNewChats = 50                  // chats that an account may begin in 24 hours
	youngNewChats = 10                  // the same for one that was paired lately:
	youngAge      = 14 * 24 * time.Hour // in the last 14 days
	budgetWindow  = 24 * time.Hour
	mostBacklog   = 5 // minutes that an account may need for what it has queued
)

// Parcel is a message that somebody other than the bot wants sent.
type Parcel struct {
	AccountID      int64
	ContactID      int64
	Chat           string
	Origin         string // api, person, flow or system
	Kind           string // as in Claimed; "": text
	Body           string
	FileID         *int64
	Extra          map[string]any
	ReplyTo        string     // WhatsApp id of an earlier message of the chat
	DueAt          *time.Time // nil: now
	IdempotencyKey string
	RequestHash    []byte
}

// What can be wrong with a parcel.
var (
	ErrKeyReused = errors.New("this Idempotency-Key was used for another request")
	ErrNoQuoted  = errors.New("there is no message with this WhatsApp id in the chat")
)

// RefusedError says that the account may not send this now, and when to try again.
// Nothing was stored.
type RefusedError struct {
	Code  string // pace, new_chat_budget, restricted or opted_out
	Says  string
	After time.Duration
}

func (e *RefusedError) Error() string { return e.Says }

// Queue stores a message to send, once for each idempotency key: the same key
// with the same request returns the first row and replayed. What the account's
// pace, its budget of new chats or a restriction of WhatsApp does not allow is a
// *RefusedError.
func (s *Store) Queue(ctx context.Context, p Parcel) (o Outbound, replayed bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		o, err = queue(ctx, tx, p)
		return err
	})
	var refused *RefusedError
	if p.IdempotencyKey != "" && (breaks(err, "outbound_idempotency") || errors.As(err, &refused) || errors.Is(err, ErrNoQuoted)) {
		first, found := s.QueuedBefore(ctx, p)
		if !errors.Is(found, ErrNotFound) {
			return first, found == nil, found
		}
	}
	return o, false, err
}

// sender is what Queue knows of the account.
type sender struct {
	Now          time.Time
	Pace         int
	Budget       int
	RestrictedTo *time.Time // no new chats before; nil: they are allowed
	Backlog      int        // bubbles that go out before this one
}

func queue(ctx context.Context, tx pgx.Tx, p Parcel) (Outbound, error) {
	from, err := one[sender](ctx, tx, `
		select clock() as now, pace_account as pace,
		  coalesce(new_chats_per_day, case when paired_at <= clock() - @young_age::interval then @usual::int else @young::int end) as budget,
		  case when restriction = 'new_chats' and restricted_until > clock() then restricted_until end as restricted_to,
		  case when @origin <> 'api' or pace_account = 0 then 0 else (
		    select count(*) from outbound o where o.account_id = a.id and `+pending+` and o.due_at <= at.due
		      and (at.due <= clock() + @backlog::interval or o.due_at > at.due - @backlog::interval))::int end as backlog
		from account a, (select greatest(clock(), @due::timestamptz) as due) at where a.id = @account`,
		pgx.NamedArgs{
			"account": p.AccountID, "origin": p.Origin, "due": p.DueAt, "backlog": mostBacklog * time.Minute,
			"usual": usualNewChats, "young": youngNewChats, "young_age": youngAge,
		})
	if err != nil {
		return Outbound{}, err
	}
	if err := from.checkPace(); err != nil {
		return Outbound{}, err
	}
	c, err := chatOf(ctx, tx, p)
	if err == nil {
		err = c.checkConsent(p)
	}
	if err == nil && c.New {
		err = from.checkNewChat(ctx, tx, p)
	}
	if err != nil {
		return Outbound{}, err
	}
	return insert(ctx, tx, c, p)
}

// chat is where a parcel goes. New: the customer never wrote, nor have we.
type chat struct {
	ID       int64
	New      bool
	OptedOut bool
}

// checkConsent refuses what the customer does not want.
func (c chat) checkConsent(p Parcel) error {
	if c.OptedOut && p.Origin != "person" {
		return &RefusedError{Code: "opted_out", Says: "this customer has opted out of automated messages; only a person may write to them"}
	}
	return nil
}

// chatOf locks the parcel's conversation. Whether we wrote there is asked in a
// statement of its own, which sees what others did before the lock was ours.
func chatOf(ctx context.Context, tx pgx.Tx, p Parcel) (chat, error) {
	contact, err := living(ctx, tx, p.ContactID)
	if err != nil {
		return chat{}, err
	}
	c, err := one[chat](ctx, tx, `
		insert into conversation as c (account_id, contact_id, chat, out_seq) values (@account, @contact, @chat, 1)
		on conflict (account_id, contact_id) do update set out_seq = c.out_seq + 1, active_at = clock()
		returning id, last_seq = 0 as new, opted_out_at is not null as opted_out`,
		pgx.NamedArgs{"account": p.AccountID, "contact": contact, "chat": p.Chat})
	if err != nil || !c.New {
		return c, err
	}
	err = tx.QueryRow(ctx, `
		select not exists (select from outbound where conversation_id = $1 and failed_at is null and cancelled_at is null)
		  and not exists (select from message where conversation_id = $1)`, c.ID).Scan(&c.New)
	return c, err
}

func insert(ctx context.Context, tx pgx.Tx, c chat, p Parcel) (Outbound, error) {
	target := p.ReplyTo // the earlier message that this one speaks of
	if changed, changes := p.Extra["wa_id"].(string); changes {
		target = changed
	}
	o, err := one[Outbound](ctx, tx, `
		insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, kind, body, file_id, extra, reply_to, new_chat, due_at, idempotency_key, request_hash)
		select @wa_id, id, account_id, @origin, out_seq, last_seq, @kind, @body, @file, @extra::jsonb, @reply_to, @new, coalesce(@due::timestamptz, clock()), nullif(@key, ''), @hash
		from conversation where id = @conversation and (@target = '' or exists (
		    select from message where conversation_id = @conversation and wa_id = @target) or exists (
		    select from outbound where conversation_id = @conversation and wa_id = @target))
		returning `+outboundColumns,
		pgx.NamedArgs{
			"conversation": c.ID, "new": c.New, "wa_id": NewMessageID(), "origin": p.Origin, "body": p.Body, "reply_to": p.ReplyTo, "target": target,
			"due": p.DueAt, "key": p.IdempotencyKey, "hash": p.RequestHash,
			"kind": cmp.Or(p.Kind, "text"), "file": p.FileID, "extra": extraOf(p.Extra),
		})
	if errors.Is(err, ErrNotFound) {
		return o, ErrNoQuoted
	}
	return o, err
}

// checkPace refuses what would wait for longer than five minutes.
func (f sender) checkPace() error {
	room := f.Pace * mostBacklog
	if f.Pace == 0 || f.Backlog < room {
		return nil
	}
	return &RefusedError{
		Code:  "pace",
		Says:  fmt.Sprintf("This account sends %d messages a minute, and %d wait already; nothing was stored, send it again later", f.Pace, f.Backlog),
		After: time.Duration(math.Ceil(float64(f.Backlog-room+1)*60/float64(f.Pace))) * time.Second,
	}
}

// newChatLock is the advisory lock, with the account's id, that serialises the
// counting of new chats: "fc".
const newChatLock = 0x6663

// NewChats is how many chats the account that began most has begun in 24 hours.
func (s *Store) NewChats(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `
		select coalesce(max(n), 0) from (
		  select count(*) as n from outbound
		  where new_chat and cancelled_at is null and coalesce(sent_at, failed_at, 'infinity') > clock() - $1::interval group by account_id) begun`,
		budgetWindow).Scan(&n)
	return n, err
}

// checkNewChat refuses a new chat that WhatsApp does not allow now, or that is more
// than the account may begin in any 24 hours. What waits to be sent counts for the
// moment when it may be sent. The lock is held until tx ends.
func (f sender) checkNewChat(ctx context.Context, tx pgx.Tx, p Parcel) error {
	if f.RestrictedTo != nil && (p.DueAt == nil || p.DueAt.Before(*f.RestrictedTo)) {
		return &RefusedError{
			Code:  "restricted",
			Says:  "WhatsApp lets this account answer running chats only, until " + f.RestrictedTo.UTC().Format(time.RFC1123) + "; nothing was stored",
			After: f.RestrictedTo.Sub(f.Now),
		}
	}
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, $2)`, newChatLock, int32(p.AccountID)); err != nil {
		return err
	}
	begun, err := one[struct {
		Most int
		Free *time.Time
	}](ctx, tx, `
		with due as (select greatest(clock(), @due::timestamptz) as at),
		begun as (
		  select coalesce(sent_at, failed_at, greatest(due_at, clock())) as at from outbound
		  where account_id = @account and new_chat and cancelled_at is null
		    and coalesce(sent_at, failed_at, 'infinity') > clock() - @window::interval),
		near as (
		  select begun.at, begun.at <= due.at as before from begun, due
		  where begun.at > due.at - @window::interval and begun.at < due.at + @window::interval
		  union all select at, true from due),
		counted as (
		  select before, count(*) over (order by at range between current row and (@window::interval - interval '1 microsecond') following) as n from near)
		select coalesce((select max(n) from counted where before), 0)::int as most,
		  (select at + @window::interval from begun order by at desc offset greatest(@budget::int - 1, 0) limit 1) as free`,
		pgx.NamedArgs{"account": p.AccountID, "due": p.DueAt, "window": budgetWindow, "budget": f.Budget})
	if err != nil || begun.Most <= f.Budget {
		return err
	}
	after := budgetWindow
	if begun.Free != nil && f.Budget > 0 {
		after = max(begun.Free.Sub(f.Now), time.Second)
	}
	return &RefusedError{
		Code:  "new_chat_budget",
		Says:  fmt.Sprintf("This account may begin %d chats in 24 hours, and they are used up; nothing was stored. Answers to people who wrote first are not limited", f.Budget),
		After: after,
	}
}

// QueuedBefore is what the parcel's key queued. It reads in a statement of its own: only a
// new snapshot sees what a concurrent winner committed. ErrNotFound: the key was never
// used; ErrKeyReused: for something else.
func (s *Store) QueuedBefore(ctx context.Context, p Parcel) (Outbound, error) {
	found, err := many[struct {
		Outbound

		Same bool
	}](ctx, s.pool, `
		select `+outboundColumns+`, request_hash is not distinct from @hash as same from outbound
		where account_id = @account and idempotency_key = @key`,
		pgx.NamedArgs{"account": p.AccountID, "key": p.IdempotencyKey, "hash": p.RequestHash})
	switch {
	case err != nil:
		return Outbound{}, err
	case len(found) == 0:
		return Outbound{}, ErrNotFound
	case !found[0].Same:
		return Outbound{}, ErrKeyReused
	}
	return found[0].Outbound, nil
}

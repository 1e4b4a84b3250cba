package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Outbound is one bubble on its way to a customer.
type Outbound struct {
	ID             int64
	WaID           string
	ConversationID int64
	AccountID      int64
	Origin         string
	OutSeq         int64
	Body           string
	Attempts       int
	Status         string // queued, sending, perhaps_sent, sent, delivered, read, played, failed, cancelled
	Failure        string
	ReplyTo        string    // WhatsApp id of the quoted message; "": none
	DueAt          time.Time // it is not tried before; a restriction of WhatsApp may put it off
	CreatedAt      time.Time
	ClaimedAt      *time.Time // the last try began
	PerhapsAt      *time.Time // a try ended without an answer: the message may have arrived
	SentAt         *time.Time
	DeliveredAt    *time.Time
	ReadAt         *time.Time
	PlayedAt       *time.Time
	FailedAt       *time.Time
	CancelledAt    *time.Time
}

// outboundStatus is how far a bubble got. One that was claimed long ago and never
// marked was cut off by a crash.
const outboundStatus = `
	case when failed_at is not null then 'failed' when cancelled_at is not null then 'cancelled'
	     when played_at is not null then 'played' when read_at is not null then 'read' when delivered_at is not null then 'delivered'
	     when sent_at is not null then 'sent'
	     when perhaps_at is not null or claimed_at < clock() - interval '2 minutes' then 'perhaps_sent'
	     when claimed_at is not null then 'sending' else 'queued' end as status`

const outboundColumns = `id, wa_id, conversation_id, account_id, origin, out_seq, body, attempts, failure, reply_to, due_at, created_at,
	claimed_at, perhaps_at, sent_at, delivered_at, read_at, played_at, failed_at, cancelled_at,` + outboundStatus

// pending is a bubble that still has to be sent.
const pending = `sent_at is null and failed_at is null and cancelled_at is null`

// NewMessageID is a WhatsApp message id in the form that linked devices use, so
// that we know the id before we send: "3EB0" and 18 hexadecimal digits.
func NewMessageID() string {
	var raw [9]byte
	_, _ = rand.Read(raw[:])
	return "3EB0" + strings.ToUpper(hex.EncodeToString(raw[:]))
}

// Claimed is a bubble that the caller, and nobody else, may send now.
type Claimed struct {
	ID             int64
	WaID           string
	AccountID      int64
	ConversationID int64
	Chat           string
	Body           string
	ReplyTo        string
	Kind           string // text, that of a file, location, or a change of an earlier message
	Extra          map[string]any
	FileID         *int64
	Reference      []byte // what WhatsApp has of the file; nil: it has to be uploaded
	Attempts       int
	LastSeq        int64          // the last that the customer had said when it was taken
	NextIn         *time.Duration // until the conversation's next bubble is due, if that is within Horizon
	Answers        bool           // the next ones answer a customer
}

// Horizon is how far ahead Claim and PendingSends look for bubbles with a time of
// their own.
const Horizon = 10 * time.Second

// automated says that nobody wrote a bubble by hand: it never leaves once the
// customer has opted out.
const automated = `origin <> 'person'`

// wanted says that a customer who has opted out may still get bubble o: a person
// wrote it, or it confirms just that, or it may have arrived already.
func wanted(c, o string) string {
	return `(` + c + `.opted_out_at is null or ` + o + `.origin = 'person' or ` + o + `.extra ? 'opt_out' or ` + o + `.claimed_at is not null)`
}

// answers are the origins that answer customers: they go first when there is not
// room for all.
const answers = `origin in ('bot', 'person')`

// held says that WhatsApp would refuse a bubble of conversation c now: its account a
// may not begin chats, and the chat has not begun, or WhatsApp refused it since the
// customer wrote last.
const held = `(a.restriction = 'new_chats' and a.restricted_until > clock() and (c.last_seq <= c.held_seq
	or (c.last_seq = 0 and not exists (select from outbound s where s.conversation_id = c.id and s.sent_at is not null))))`

// Claim takes the next bubble of a conversation for sending, in order. None:
// ErrNotFound. Between the bot and a person who takes over, this row decides:
// exactly one wins. Only the owner of the account's lease gets a bubble, and
// nobody gets one that is held. A bubble still claimed had a try that nobody told
// the end of: it may have arrived.
func (s *Store) Claim(ctx context.Context, conversation int64, p Process) (Claimed, error) {
	return s.claimed(one[Claimed](ctx, s.hasty, `
		update outbound o set claimed_at = clock(), attempts = o.attempts + 1, perhaps_at = coalesce(o.perhaps_at, o.claimed_at)
		from conversation c, account_lease l, account a
		where o.id = (select b.id from outbound b join conversation d on d.id = b.conversation_id
		              where d.id = @conversation and `+pending+` and b.due_at <= clock()
		                and (b.origin <> 'bot' or d.state = 'bot' or b.claimed_at is not null) and `+wanted("d", "b")+`
		              order by b.out_seq limit 1)
		  and c.id = o.conversation_id and (o.origin <> 'bot' or c.state = 'bot' or o.claimed_at is not null) and `+wanted("c", "o")+`
		  and l.account_id = o.account_id and l.owner = @me and l.lease_until > clock()
		  and a.id = o.account_id and not `+held+`
		  and o.sent_at is null and o.cancelled_at is null and o.failed_at is null
		returning o.id, o.wa_id, o.conversation_id, c.chat, o.body, o.reply_to, o.kind, o.extra, o.file_id, o.reference, o.account_id, o.attempts, c.last_seq,
		  (select greatest(min(n.due_at) - clock(), interval '0') from outbound n
		   where n.conversation_id = o.conversation_id and n.id <> o.id and `+pending+` and n.due_at <= clock() + @horizon::interval
		   having count(*) > 0) as next_in,
		  exists (select from outbound n where n.conversation_id = o.conversation_id and n.id <> o.id and `+pending+`
		            and n.due_at <= clock() and `+answers+`) as answers`,
		pgx.NamedArgs{"conversation": conversation, "me": p.ID, "horizon": Horizon}))
}

// claimed opens the reference of a bubble's file.
func (s *Store) claimed(c Claimed, err error) (Claimed, error) {
	if err == nil && c.Reference != nil {
		c.Reference, err = s.openReference(c.AccountID, c.WaID, c.Reference)
	}
	return c, err
}

// MarkSent records WhatsApp's acknowledgement of a bubble.
func (s *Store) MarkSent(ctx context.Context, id int64) error {
	_, err := s.hasty.Exec(ctx, `update outbound set sent_at = coalesce(sent_at, clock()) where id = @id`, pgx.NamedArgs{"id": id})
	return err
}

// MarkFailed gives a bubble up for good, and the rest of its reply with it.
func (s *Store) MarkFailed(ctx context.Context, id int64, failure string) error {
	_, err := s.pool.Exec(ctx, `
		with o as (
		  update outbound set failed_at = clock(), failure = @failure where id = @id and sent_at is null
		  returning conversation_id, out_seq, after_seq, origin)
		update outbound r set cancelled_at = clock() from o
		where r.conversation_id = o.conversation_id and r.after_seq = o.after_seq and r.origin = o.origin and o.origin = 'bot'
		  and r.out_seq > o.out_seq and r.claimed_at is null and r.sent_at is null`,
		pgx.NamedArgs{"id": id, "failure": failure})
	return err
}

// MarkUncertain notes that a try of a bubble ended without WhatsApp's word: it may
// have arrived, and only the same id may be sent again.
func (s *Store) MarkUncertain(ctx context.Context, id int64) error {
	_, err := s.hasty.Exec(ctx, `
		update outbound set perhaps_at = coalesce(perhaps_at, clock()) where id = @id and `+pending, pgx.NamedArgs{"id": id})
	return err
}

// MarkUnsent notes that a try of a bubble ended and that nothing arrived by it,
// and why ("": for no fault). Unless an earlier try may have arrived, it is as if it had never been
// tried: it may still be cancelled, and is if a person took the conversation from
// the bot since it was written.
func (s *Store) MarkUnsent(ctx context.Context, id int64, why string) error {
	_, err := s.hasty.Exec(ctx, `
		update outbound o set failure = coalesce(nullif(@why, ''), failure),
		  claimed_at = case when o.perhaps_at is null then null else o.claimed_at end,
		  cancelled_at = case when o.perhaps_at is null and o.origin = 'bot' and (c.state <> 'bot' or o.created_at < c.state_since) then clock() end
		from conversation c where o.id = @id and c.id = o.conversation_id and `+pending, pgx.NamedArgs{"id": id, "why": why})
	return err
}

// Hold leaves a conversation alone while its account is restricted, as WhatsApp
// refused a bubble of it that was claimed when the customer had said all up to seq;
// a later word of theirs ends that.
func (s *Store) Hold(ctx context.Context, conversation, seq int64) error {
	_, err := s.pool.Exec(ctx, `update conversation set held_seq = greatest(held_seq, @seq) where id = @id`, pgx.NamedArgs{"id": conversation, "seq": seq})
	return err
}

// Receipt is what the customer's phone says of our messages.
type Receipt string

// The receipts we keep.
const (
	Sent      Receipt = "sent" // WhatsApp's own: it took the message
	Delivered Receipt = "delivered"
	Read      Receipt = "read"
	Played    Receipt = "played" // a voice note
)

// Mark is a receipt for one message of an account.
type Mark struct {
	AccountID int64
	WaID      string
	Receipt   Receipt
}

// MarkReceipts records receipts; earlier ones stay as they are. What has arrived
// was sent, with or without WhatsApp's word.
func (s *Store) MarkReceipts(ctx context.Context, marks []Mark) error {
	var accounts []int64
	var ids, receipts []string
	for _, m := range marks {
		accounts, ids, receipts = append(accounts, m.AccountID), append(ids, clean(m.WaID)), append(receipts, string(m.Receipt))
	}
	_, err := s.hasty.Exec(ctx, `
		update outbound o set
		  sent_at = coalesce(o.sent_at, clock()),
		  delivered_at = case when arrived then coalesce(o.delivered_at, clock()) else o.delivered_at end,
		  read_at = case when was_read then coalesce(o.read_at, clock()) else o.read_at end,
		  played_at = case when was_played then coalesce(o.played_at, clock()) else o.played_at end
		from (
		  select account, id, bool_or(receipt <> 'sent') as arrived, bool_or(receipt in ('read', 'played')) as was_read, bool_or(receipt = 'played') as was_played
		  from unnest(@accounts::bigint[], @ids::text[], @receipts::text[]) as m (account, id, receipt) group by account, id) m
		where o.wa_id = m.id and o.account_id = m.account`,
		pgx.NamedArgs{"accounts": accounts, "ids": ids, "receipts": receipts})
	return err
}

// SentMessage is one message of an account, or ErrNotFound. What is held is due
// when the restriction ends.
func (s *Store) SentMessage(ctx context.Context, account, id int64) (Outbound, error) {
	return one[Outbound](ctx, s.pool, `
		select `+strings.Replace(outboundColumns, "due_at", "greatest(due_at, until) as due_at", 1)+` from (
		  select o.*, h.until from outbound o join conversation c on c.id = o.conversation_id join account a on a.id = o.account_id,
		  lateral (select case when `+held+` then a.restricted_until end as until) h
		  where o.id = @id and o.account_id = @account) outbound`,
		pgx.NamedArgs{"id": id, "account": account})
}

// ErrTooLate says that a message cannot be cancelled any more.
var ErrTooLate = errors.New("the message is being sent or was sent already; it cannot be cancelled any more")

// CancelMessage has a queued message never sent. One that was tried already, or
// failed: ErrTooLate. A second call does nothing.
func (s *Store) CancelMessage(ctx context.Context, account, id int64) (Outbound, error) {
	_, err := s.pool.Exec(ctx, `
		update outbound set cancelled_at = clock() where id = @id and account_id = @account and claimed_at is null and `+pending,
		pgx.NamedArgs{"id": id, "account": account})
	if err != nil {
		return Outbound{}, err
	}
	o, err := s.SentMessage(ctx, account, id)
	if err == nil && o.CancelledAt == nil {
		err = ErrTooLate
	}
	return o, err
}

// OutboundContent is a message we sent, for WhatsApp's request to encrypt it anew.
// ErrNotFound when it is not ours.
func (s *Store) OutboundContent(ctx context.Context, account int64, waID string) (Claimed, error) {
	return s.claimed(one[Claimed](ctx, s.pool, `
		select o.id, o.wa_id, o.conversation_id, c.chat, o.body, o.reply_to, o.kind, o.extra, o.file_id, o.reference, o.account_id, o.attempts, c.last_seq, null::interval as next_in, false as answers
		from outbound o join conversation c on c.id = o.conversation_id
		where o.wa_id = @wa_id and o.account_id = @account`,
		pgx.NamedArgs{"account": account, "wa_id": waID}))
}

// Quote is an earlier message of a conversation that a new one replies to.
type Quote struct {
	Body string
	Ours bool // we wrote it, or somebody on the account's phone
}

// Quoted is the message of a conversation with that WhatsApp id, or ErrNotFound.
func (s *Store) Quoted(ctx context.Context, conversation int64, waID string) (Quote, error) {
	return one[Quote](ctx, s.pool, `
		select body, direction = 'out' as ours from message where conversation_id = @conversation and wa_id = @wa_id
		union all
		select body, true from outbound where conversation_id = @conversation and wa_id = @wa_id limit 1`,
		pgx.NamedArgs{"conversation": conversation, "wa_id": waID})
}

// Tried is one try of a bubble, as a send ledger counts it.
type Tried struct {
	ConversationID int64
	WaID           string
	Age            time.Duration
}

// mostTried is how many tries Tries returns: more than any pace asks for.
const mostTried = 1000

// Tries are the newest tries of an account in the last window, oldest first; of
// one conversation, or of all (0).
func (s *Store) Tries(ctx context.Context, account, conversation int64, window time.Duration) ([]Tried, error) {
	return many[Tried](ctx, s.pool, `
		select conversation_id, wa_id, age from (
		  select conversation_id, wa_id, clock() - claimed_at as age from outbound
		  where account_id = @account and claimed_at > clock() - @window::interval and (@conversation = 0::bigint or conversation_id = @conversation)
		  order by claimed_at desc limit @limit) newest
		order by age desc`,
		pgx.NamedArgs{"account": account, "conversation": conversation, "window": window, "limit": mostTried})
}

// Pending is a conversation with bubbles to send.
type Pending struct {
	AccountID      int64
	ConversationID int64
	DueIn          time.Duration // until the first of them may be sent
	Answers        bool          // some of them answer a customer
}

// PendingSends are the conversations of the given accounts that have something
// to send now or within Horizon, oldest bubble first.
func (s *Store) PendingSends(ctx context.Context, accounts []int64, limit int) ([]Pending, error) {
	return many[Pending](ctx, s.pool, `
		select account_id, conversation_id, greatest(min(due_at) - clock(), interval '0') as due_in, bool_or(`+answers+`) as answers
		from outbound
		where account_id = any(@accounts) and `+pending+` and due_at <= clock() + @horizon::interval
		group by account_id, conversation_id order by min(id) limit @limit`,
		pgx.NamedArgs{"accounts": accounts, "limit": limit, "horizon": Horizon})
}

// PendingOutbound counts the bubbles that wait to be sent.
func (s *Store) PendingOutbound(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `select count(*) from outbound where `+pending).Scan(&n)
	return n, err
}

// ChatMessage is a message of either direction as a chat shows it.
type ChatMessage struct {
	Direction string
	Origin    string
	WaID      string
	Kind      string
	Body      string
	Status    string
	At        time.Time
	Seq       int64
	OutSeq    int64
	Quoted    string // WhatsApp id of the message it replies to
	Extra     map[string]any
	EditedAt  *time.Time
	Reactions []string // signs, the customer's first
	FileID    *int64   // a file that is here
	FileState string   // wanted, stored, failed, too_large or gone; "": there is none
	FileLabel string
	FileMime  string
	FileBytes int64
	Seconds   int

	Transcript string // of a voice note, by machine
}

// MessagePage asks for messages before a place in a conversation: that of a
// ChatMessage's Seq and OutSeq. Zeroes ask for the newest.
type MessagePage struct {
	BeforeSeq    int64
	BeforeOutSeq int64
	Limit        int
}

// Messages are messages of a conversation, oldest first.
func (s *Store) Messages(ctx context.Context, conversation int64, p MessagePage) ([]ChatMessage, error) {
	return many[ChatMessage](ctx, s.pool, `
		select direction, origin, wa_id, kind, body, status, at, seq, out_seq, quoted, extra, edited_at,
		  array(select sign from reaction r where r.conversation_id = @id and r.wa_id = newest.wa_id order by ours) as reactions,
		  file_id, coalesce(state, case when file_id is not null then 'stored' end, '') as file_state,
		  coalesce(f.label, newest.label, '') as file_label, coalesce(f.mime, newest.mime, '') as file_mime,
		  coalesce(f.bytes, newest.bytes, 0) as file_bytes, coalesce(seconds, 0) as seconds, transcript
		from (
		  (select direction, case direction when 'in' then 'customer' else 'phone' end as origin, wa_id, `+shownKind+` as kind, `+shownBody+` as body,
		     'received' as status, sent_at as at, seq, `+first+` as out_seq, quoted_wa_id as quoted, extra, edited_at,
		     file_id, state, label, mime, bytes, seconds, case when deleted_at is null then coalesce(transcript, '') else '' end as transcript
		   from message left join media on message_id = id and deleted_at is null
		   where conversation_id = @id and ((@seq = 0::bigint and @out_seq = 0::bigint) or (seq, `+first+`) < (@seq, @out_seq))
		   order by seq desc limit @limit)
		  union all
		  (select 'out', origin, wa_id, kind, body, status, created_at, after_seq, out_seq, reply_to, extra, null,
		     file_id, null, null, null, null, null, ''
		   from (
		     select *, `+outboundStatus+` from outbound
		     where conversation_id = @id and kind <> all(@changes) and ((@seq = 0::bigint and @out_seq = 0::bigint) or (after_seq, out_seq) < (@seq, @out_seq))
		     order by after_seq desc, out_seq desc limit @limit) o)
		  order by seq desc, out_seq desc limit @limit) newest
		left join file f on f.id = file_id
		order by seq, out_seq`,
		pgx.NamedArgs{"id": conversation, "seq": p.BeforeSeq, "out_seq": p.BeforeOutSeq, "limit": p.Limit, "changes": changeKinds})
}

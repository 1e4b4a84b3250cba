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
	Status         string // queued, sending, sent, delivered, read, failed, cancelled
	Failure        string
	DueAt          time.Time
	CreatedAt      time.Time
}

const outboundStatus = `
	case when failed_at is not null then 'failed' when cancelled_at is not null then 'cancelled'
	     when read_at is not null then 'read' when delivered_at is not null then 'delivered'
	     when sent_at is not null then 'sent' when claimed_at is not null then 'sending' else 'queued' end as status`

const outboundColumns = `id, wa_id, conversation_id, account_id, origin, out_seq, body, attempts, failure, due_at, created_at,` + outboundStatus

// NewMessageID is a WhatsApp message id in the form that linked devices use, so
// that we know the id before we send: "3EB0" and 18 hexadecimal digits.
func NewMessageID() string {
	var raw [9]byte
	_, _ = rand.Read(raw[:])
	return "3EB0" + strings.ToUpper(hex.EncodeToString(raw[:]))
}

// Parcel is a message that somebody other than the bot wants sent.
type Parcel struct {
	AccountID      int64
	ContactID      int64
	Chat           string
	Origin         string // api, person, flow or system
	Body           string
	DueAt          *time.Time // nil: now
	IdempotencyKey string
	RequestHash    []byte
}

// ErrKeyReused says that an idempotency key came again with another request.
var ErrKeyReused = errors.New("this Idempotency-Key was used for another request")

// Queue stores a message to send, once for each idempotency key: the same key
// with the same request returns the first row and replayed.
func (s *Store) Queue(ctx context.Context, p Parcel) (o Outbound, replayed bool, err error) {
	o, err = one[Outbound](ctx, s.pool, `
		with c as (
		  insert into conversation as c (account_id, contact_id, chat, out_seq) values (@account, @contact, @chat, 1)
		  on conflict (account_id, contact_id) do update set out_seq = c.out_seq + 1, active_at = clock()
		  returning id, account_id, out_seq, last_seq)
		insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, body, due_at, idempotency_key, request_hash)
		select @wa_id, id, account_id, @origin, out_seq, last_seq, @body, coalesce(@due::timestamptz, clock()), nullif(@key, ''), @hash from c
		returning `+outboundColumns,
		pgx.NamedArgs{
			"account": p.AccountID, "contact": p.ContactID, "chat": p.Chat, "wa_id": NewMessageID(), "origin": p.Origin,
			"body": p.Body, "due": p.DueAt, "key": p.IdempotencyKey, "hash": p.RequestHash,
		})
	if breaks(err, "outbound_idempotency") {
		o, err = s.queuedBefore(ctx, p)
		return o, err == nil, err
	}
	return o, false, err
}

// queuedBefore reads in a statement of its own: only a new snapshot sees what
// the concurrent winner committed.
func (s *Store) queuedBefore(ctx context.Context, p Parcel) (Outbound, error) {
	o, err := one[Outbound](ctx, s.pool, `
		select `+outboundColumns+` from outbound
		where account_id = @account and idempotency_key = @key and request_hash = @hash`,
		pgx.NamedArgs{"account": p.AccountID, "key": p.IdempotencyKey, "hash": p.RequestHash})
	if errors.Is(err, ErrNotFound) {
		return o, ErrKeyReused
	}
	return o, err
}

// Claimed is a bubble that the caller, and nobody else, may send now.
type Claimed struct {
	ID       int64
	WaID     string
	Chat     string
	Body     string
	Attempts int
	More     bool // another bubble of the conversation waits behind it
}

// Claim takes the next bubble of a conversation for sending, in order. None:
// ErrNotFound. Between the bot and a person who takes over, this row decides:
// exactly one wins. Only the owner of the account's lease gets a bubble.
func (s *Store) Claim(ctx context.Context, conversation int64, p Process) (Claimed, error) {
	return one[Claimed](ctx, s.hasty, `
		update outbound o set claimed_at = clock(), attempts = o.attempts + 1
		from conversation c, account_lease l
		where o.id = (select id from outbound
		              where conversation_id = @conversation and sent_at is null and failed_at is null and cancelled_at is null
		                and due_at <= clock() order by out_seq limit 1)
		  and c.id = o.conversation_id and (o.origin <> 'bot' or c.state = 'bot' or o.claimed_at is not null)
		  and l.account_id = o.account_id and l.owner = @me and l.lease_until > clock()
		  and o.sent_at is null and o.cancelled_at is null and o.failed_at is null
		returning o.id, o.wa_id, c.chat, o.body, o.attempts,
		  exists (select from outbound n where n.conversation_id = o.conversation_id and n.out_seq > o.out_seq
		            and n.sent_at is null and n.failed_at is null and n.cancelled_at is null and n.due_at <= clock()) as more`,
		pgx.NamedArgs{"conversation": conversation, "me": p.ID})
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

// Receipt is what the customer's phone says of our messages.
type Receipt string

// The receipts we keep.
const (
	Delivered Receipt = "delivered"
	Read      Receipt = "read"
)

// MarkReceipt records a receipt for messages of an account; earlier receipts
// stay as they are.
func (s *Store) MarkReceipt(ctx context.Context, account int64, ids []string, r Receipt) error {
	_, err := s.hasty.Exec(ctx, `
		update outbound set
		  delivered_at = coalesce(delivered_at, clock()),
		  read_at = case when @receipt = 'read' then coalesce(read_at, clock()) else read_at end
		where wa_id = any(@ids) and account_id = @account`,
		pgx.NamedArgs{"account": account, "ids": ids, "receipt": r})
	return err
}

// OutboundText is the text of a message we sent, for WhatsApp's request to
// encrypt it anew. ErrNotFound when it is not ours.
func (s *Store) OutboundText(ctx context.Context, account int64, waID string) (string, error) {
	texts, err := column[string](ctx, s.pool, `select body from outbound where wa_id = @wa_id and account_id = @account`,
		pgx.NamedArgs{"account": account, "wa_id": waID})
	if err == nil && len(texts) == 0 {
		return "", ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return texts[0], nil
}

// Pending is a conversation with bubbles to send now.
type Pending struct {
	AccountID      int64
	ConversationID int64
}

// PendingSends are the conversations of the given accounts that have something
// to send now, oldest bubble first.
func (s *Store) PendingSends(ctx context.Context, accounts []int64, limit int) ([]Pending, error) {
	return many[Pending](ctx, s.pool, `
		select account_id, conversation_id from outbound
		where account_id = any(@accounts) and sent_at is null and failed_at is null and cancelled_at is null and due_at <= clock()
		group by account_id, conversation_id order by min(id) limit @limit`,
		pgx.NamedArgs{"accounts": accounts, "limit": limit})
}

// PendingOutbound counts the bubbles that wait to be sent.
func (s *Store) PendingOutbound(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `select count(*) from outbound where sent_at is null and failed_at is null and cancelled_at is null`).Scan(&n)
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
		select direction, origin, wa_id, kind, body, status, at, seq, out_seq from (
		  (select direction, case direction when 'in' then 'customer' else 'phone' end as origin, wa_id, kind, body,
		     'received' as status, sent_at as at, seq, 0::bigint as out_seq
		   from message where conversation_id = @id and (@seq = 0 or (seq, 0) < (@seq, @out_seq))
		   order by seq desc limit @limit)
		  union all
		  (select 'out', origin, wa_id, 'text', body, status, created_at, after_seq, out_seq from (
		     select *, `+outboundStatus+` from outbound
		     where conversation_id = @id and (@seq = 0 or (after_seq, out_seq) < (@seq, @out_seq))
		     order by after_seq desc, out_seq desc limit @limit) o)
		  order by seq desc, out_seq desc limit @limit) newest
		order by seq, out_seq`,
		pgx.NamedArgs{"id": conversation, "seq": p.BeforeSeq, "out_seq": p.BeforeOutSeq, "limit": p.Limit})
}

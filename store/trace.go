package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Trace is all that happened to one message of a customer.
type Trace struct {
	Seq        int64
	WaID       string
	SentAt     time.Time // by WhatsApp's clock
	ReceivedAt time.Time
	Settled    bool    // false: it waits
	SettledSeq *int64  // it was settled together with the messages up to this one; nil: a person had the conversation, or it waits
	Together   []int64 // the other messages that were settled with it

	Entries []TimelineEntry `db:"-"` // oldest first
	Sent    []Outbound      `db:"-"` // what answered it
}

// Trace tells what happened to message seq of a conversation, or ErrNotFound.
func (s *Store) Trace(ctx context.Context, conversation, seq int64) (Trace, error) {
	args := pgx.NamedArgs{"id": conversation, "seq": seq}
	t, err := one[Trace](ctx, s.pool, `
		select m.seq, m.wa_id, m.sent_at, m.received_at, m.seq <= c.answered_seq as settled, settled.seq as settled_seq,
		  array(select o.seq from message o where o.conversation_id = @id and o.direction = 'in' and o.seq <> @seq and o.seq <= settled.seq
		          and o.seq > coalesce((select max(e.seq) from timeline e where e.conversation_id = @id and e.seq < @seq and `+settles+`), 0)
		        order by o.seq) as together
		from message m join conversation c on c.id = m.conversation_id left join lateral (
		  select e.seq from timeline e where e.conversation_id = @id and e.seq >= @seq and `+settles+` order by e.seq, e.id limit 1) settled on true
		where m.conversation_id = @id and m.seq = @seq and m.direction = 'in'`, args)
	if err != nil {
		return t, err
	}
	args["settled"] = t.SettledSeq
	t.Entries, err = many[TimelineEntry](ctx, s.pool, `
		select id, seq, kind, detail, at from timeline
		where conversation_id = @id and seq >= @seq and (@settled::bigint is null or seq <= @settled) order by id limit 100`, args)
	if err != nil {
		return t, err
	}
	t.Sent, err = many[Outbound](ctx, s.pool, `
		select `+outboundColumns+` from outbound where conversation_id = @id and after_seq = @settled order by out_seq limit 100`, args)
	return t, err
}

// settles are the entries e of a timeline that leave nothing waiting before them.
const settles = `(e.kind in ('answered', 'answered_by_person', 'drafted', 'skipped', 'handed_off', 'paused', 'taken_over') or (e.kind = 'state' and e.detail->>'state' <> 'bot'))`

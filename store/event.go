package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// EventHours is how long events are kept.
const EventHours = 24

// Event is something that happened. Those of an execution are numbered by Seq without
// a gap; Epoch grows with every process that goes on with it.
type Event struct {
	ID             int64
	XID            int64 `db:"xid"` // with ID its place in the order of all
	Type           string
	ExecutionID    *int64
	FlowID         *int64
	Flow           string // its name
	AccountID      *int64
	ConversationID *int64
	MessageID      *int64
	OutboundID     *int64
	Epoch          int64
	Seq            int64
	Test           bool
	Data           json.RawMessage // an object
	At             time.Time

	// Of the message that it speaks of, as it is now.
	WaID   string
	Chat   string
	Kind   string
	Body   string
	FileID *int64
	Status string // as in Outbound, "received", or "phone": typed there
	Origin string // as in Outbound, "customer" or "phone"
}

// Place is where a reader of all events is; the zero value is before the first.
type Place struct {
	XID int64 `db:"xid"`
	ID  int64
}

// Place is the event's own.
func (e Event) Place() Place { return Place{e.XID, e.ID} }

// eventRows are the rows of e, which the statement defines, with what they speak of: a
// look by key for each, as limits keep planners from reading whole tables for a few rows.
const eventRows = `
	select e.id, e.xid::text::bigint as xid, e.type, e.execution_id, e.flow_id, coalesce(f.name, '') as flow, e.account_id, e.conversation_id,
	  e.message_id, e.outbound_id, e.epoch, e.seq, e.test, e.data, e.at,
	  coalesce(m.wa_id, o.wa_id, '') as wa_id, coalesce(c.chat, '') as chat, coalesce(m.kind, o.kind, '') as kind,
	  coalesce(m.body, o.body, '') as body, coalesce(d.file_id, o.file_id) as file_id,
	  coalesce(m.status, o.status, '') as status, coalesce(m.origin, o.origin, '') as origin
	from e
	left join lateral (select name from flow where id = e.flow_id limit 1) f on true
	left join lateral (select chat from conversation where id = e.conversation_id limit 1) c on true
	left join lateral (
	  select wa_id, ` + shownKind + ` as kind, ` + shownBody + ` as body, case direction when 'in' then 'received' else 'phone' end as status,
	    case direction when 'in' then 'customer' else 'phone' end as origin from message where id = e.message_id limit 1) m on true
	left join lateral (select file_id from media where message_id = e.message_id limit 1) d on true
	left join lateral (select wa_id, kind, body, file_id, origin,` + outboundStatus + ` from outbound where id = e.outbound_id limit 1) o on true`

// EventsAfter are the events behind a place that no transaction under way can come
// before, in order. A reader that goes on behind the last one misses none.
func (s *Store) EventsAfter(ctx context.Context, p Place, limit int) ([]Event, error) {
	strangers, err := s.strangers(ctx)
	if err != nil {
		return nil, err
	}
	return many[Event](ctx, s.pool, `
		with e as (
		  select * from event
		  where (xid, id) > (@xid::bigint::text::xid8, @id) and xid < `+horizon+`
		  order by xid, id limit @limit)`+eventRows+` order by e.xid, e.id`,
		pgx.NamedArgs{"xid": p.XID, "id": p.ID, "limit": limit, "strangers": strangers})
}

// horizon is the oldest transaction under way that may still add events. Those of
// @strangers cannot.
const horizon = `(
	select coalesce(min(x::text::bigint), pg_snapshot_xmax(pg_current_snapshot())::text::bigint)::text::xid8
	from pg_snapshot_xip(pg_current_snapshot()) as x where x::text::bigint % 4294967296 <> all(@strangers::bigint[]))`

// strangers are transactions under way in other databases of the same Postgres, which
// would hold all events up for as long as they take. They are asked for first: what
// ends in between stays a stranger.
func (s *Store) strangers(ctx context.Context) ([]int64, error) {
	return column[int64](ctx, s.pool, `
		select backend_xid::text::bigint from pg_stat_activity
		where backend_xid is not null and datid <> (select oid from pg_database where datname = current_database())`, nil)
}

// LatestPlace is behind all that EventsAfter would return now.
func (s *Store) LatestPlace(ctx context.Context) (Place, error) {
	strangers, err := s.strangers(ctx)
	if err != nil {
		return Place{}, err
	}
	return one[Place](ctx, s.pool, `select `+horizon+`::text::bigint - 1 as xid, 9223372036854775807 as id`, pgx.NamedArgs{"strangers": strangers})
}

// EventsOf are events of one execution with a Seq above after, in order.
func (s *Store) EventsOf(ctx context.Context, execution, after int64, limit int) ([]Event, error) {
	return many[Event](ctx, s.pool, `
		with e as (select * from event where execution_id = @execution and seq > @after order by seq limit @limit)`+eventRows+` order by e.seq`,
		pgx.NamedArgs{"execution": execution, "after": after, "limit": limit})
}

// EventFilter says which events are meant: all, or those of any of these.
type EventFilter struct {
	All                                        bool
	Executions, Flows, Accounts, Conversations []int64
}

// EventsBetween are the events of f behind one place and up to another, in order.
// EventsAfter must have come to upTo before; then none is missing.
func (s *Store) EventsBetween(ctx context.Context, f EventFilter, after, upTo Place, limit int) ([]Event, error) {
	return many[Event](ctx, s.pool, `
		with e as (
		  select * from event
		  where (xid, id) > (@xid::bigint::text::xid8, @id) and (xid, id) <= (@to_xid::bigint::text::xid8, @to_id) and (
		    @all or execution_id = any(@executions::bigint[]) or flow_id = any(@flows::bigint[])
		    or account_id = any(@accounts::bigint[]) or conversation_id = any(@conversations::bigint[]))
		  order by xid, id limit @limit)`+eventRows+` order by e.xid, e.id`,
		pgx.NamedArgs{
			"xid": after.XID, "id": after.ID, "to_xid": upTo.XID, "to_id": upTo.ID, "limit": limit,
			"all": f.All, "executions": f.Executions, "flows": f.Flows, "accounts": f.Accounts, "conversations": f.Conversations,
		})
}

// droppedCursor is the newest event that was dropped. It stands among the cursors, as a
// place that all dropped events are at or before, but reads for nobody.
const droppedCursor = "dropped"

// EventsKeptSince says whether every event behind p is still there: none of those that
// were dropped is behind it. A database that has noted no drop yet (one of an earlier
// release may have dropped some) knows it only of places that have an event at or
// before them, as the oldest go first. A place of another Postgres, from which this one
// was restored, says nothing here.
func (s *Store) EventsKeptSince(ctx context.Context, p Place) (bool, error) {
	var kept bool
	err := s.pool.QueryRow(ctx, `
		select @xid < pg_snapshot_xmax(pg_current_snapshot())::text::bigint and coalesce(
		  (select (xid, id) <= (@xid::bigint::text::xid8, @id) from event_cursor where name = @dropped),
		  exists (select from event where (xid, id) <= (@xid::bigint::text::xid8, @id)))`,
		pgx.NamedArgs{"xid": p.XID, "id": p.ID, "dropped": droppedCursor}).Scan(&kept)
	return kept, err
}

// DropEvents forgets what is older than EventHours, at most limit of it, and says how
// many that were. What somebody who follows for all has not read yet is kept three times
// as long.
func (s *Store) DropEvents(ctx context.Context, limit int) (int, error) {
	var dropped int
	err := s.hasty.QueryRow(ctx, `
		with gone as (
		  delete from event where id in (
		    select id from (select id, at from event order by id limit @limit) oldest
		    where at < clock() - @hours * interval '1 hour'
		      and (at < clock() - 3 * @hours * interval '1 hour' or (
		        select bool_and((c.xid, c.id) >= (e.xid, e.id)) from event_cursor c, event e
		        where e.id = oldest.id and c.name <> @dropped) is not false))
		  returning xid, id),
		noted as (
		  insert into event_cursor as c (name, xid, id)
		  select @dropped, xid, id from gone order by xid desc, id desc limit 1
		  on conflict (name) do update set xid = excluded.xid, id = excluded.id where (c.xid, c.id) < (excluded.xid, excluded.id))
		select count(*) from gone`,
		pgx.NamedArgs{"hours": EventHours, "limit": limit, "dropped": droppedCursor}).Scan(&dropped)
	return dropped, err
}

// Cursor is how far a reader for everybody has come, or ErrNotFound.
func (s *Store) Cursor(ctx context.Context, name string) (Place, error) {
	return one[Place](ctx, s.pool, `select xid::text::bigint as xid, id from event_cursor where name = @name`, pgx.NamedArgs{"name": name})
}

// MoveCursor notes that a reader has come to a place. It never goes back.
func (s *Store) MoveCursor(ctx context.Context, name string, to Place) error {
	_, err := s.pool.Exec(ctx, `
		insert into event_cursor as c (name, xid, id) values (@name, @xid::bigint::text::xid8, @id)
		on conflict (name) do update set xid = excluded.xid, id = excluded.id where (c.xid, c.id) < (excluded.xid, excluded.id)`,
		pgx.NamedArgs{"name": name, "xid": to.XID, "id": to.ID})
	return err
}

// Lag is how far a reader for everybody is behind.
type Lag struct {
	Name   string
	Behind time.Duration // age of the first event that it has not read
}

// Lags are how far all of these readers are behind.
func (s *Store) Lags(ctx context.Context) ([]Lag, error) {
	return many[Lag](ctx, s.pool, `
		select name, coalesce(clock() - (select at from event e where (e.xid, e.id) > (c.xid, c.id) order by e.xid, e.id limit 1), '0') as behind
		from event_cursor c where name <> @dropped order by name`, pgx.NamedArgs{"dropped": droppedCursor})
}

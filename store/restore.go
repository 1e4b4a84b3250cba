package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// adoptEvents has the events and the places of their readers go on in a Postgres that
// was restored from a dump. It counts transactions anew, so that all that happens here
// would come before the places that the dump knows, and nobody would ever be told. Those
// events get numbers that come before all others: 1 where deliveries were made of them,
// 2 where not, so that none is made twice. Other readers go to before the first that they
// have not read, and may read some again.
func (s *Store) adoptEvents(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var foreign bool
		if err := tx.QueryRow(ctx, `
			select exists (select from event where xid >= pg_snapshot_xmax(pg_current_snapshot()))
			  or exists (select from event_cursor where xid >= pg_snapshot_xmax(pg_current_snapshot()))`).Scan(&foreign); err != nil || !foreign {
			return err
		}
		s.log.WarnContext(ctx, "This database was restored from a dump, its events are numbered anew")
		args := pgx.NamedArgs{"deliveries": deliveryCursor, "dropped": droppedCursor}
		if _, err := tx.Exec(ctx, `
			with was as (
			  select id, xid, case when exists (
			      select from event_cursor c where c.name = @deliveries and (c.xid, c.id) >= (e.xid, e.id)) then '1' else '2' end::xid8 as now
			  from event e),
			numbered as (
			  update event e set xid = was.now from was where was.id = e.id)
			update event_cursor c set xid = coalesce(unread.now, '2'), id = coalesce(unread.id - 1, 9223372036854775807)
			from event_cursor k left join lateral (
			  select now, id from was where (was.xid, was.id) > (k.xid, k.id) order by now, id limit 1) unread on true
			where c.name = k.name`, args); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `delete from event_cursor where name = @dropped`, args)
		return err
	})
}

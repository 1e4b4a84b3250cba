package store_test

import "testing"

// What goes away takes its rows along, or leaves them, without a look at every row of
// the large tables. A partial index will do if it leaves out only what names nothing.
func TestWhatExecutionsAndDeliveriesNameIsFoundByAnIndex(t *testing.T) {
	_, db := newDeskAt(t)
	rows, err := db.Query(t.Context(), `
		select c.conrelid::regclass::text || '.' || a.attname
		from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
		where c.contype = 'f'
		  and (c.confrelid = 'file'::regclass or c.conrelid in (
		    'execution'::regclass, 'execution_step'::regclass, 'execution_file'::regclass, 'flow_file'::regclass, 'delivery'::regclass, 'webhook'::regclass))
		  and not exists (
		    select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]
		      and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = '(' || a.attname || ' IS NOT NULL)'))
		order by 1`)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var column string
		must(t, rows.Scan(&column))
		t.Errorf("%s has no index that begins with it", column)
	}
	must(t, rows.Err())
}

package store_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"frontdesk/store"
)

// A Postgres restored from a dump counts transactions anew: what happens there comes
// before all that the dump knows. It is told all the same, once.
func TestAfterARestoreFromADumpWhatHappensIsToldOnce(t *testing.T) {
	d := newDesk(t)
	shop := d.subscribe(t, "message.received")
	d.receive(t, "A")
	d.receive(t, "B")
	d.dispatch(t)
	happened, err := d.EventsAfter(t.Context(), store.Place{}, 10)
	must(t, err)
	first := happened[slices.IndexFunc(happened, func(e store.Event) bool { return e.WaID == "A" })]
	must(t, d.MoveCursor(t.Context(), "another", first.Place()))
	d.receive(t, "C")
	for _, table := range []string{"event", "event_cursor"} { // as another Postgres had them
		_, err := d.db.Exec(t.Context(), `update `+table+` set xid = (xid::text::bigint + 4000000000)::text::xid8`)
		must(t, err)
	}
	abroad := store.Place{XID: first.XID + 4_000_000_000, ID: first.ID}
	for range 2 { // the second time there is nothing to do
		must(t, d.Migrate(t.Context(), func(context.Context, *sql.DB) error { return nil }))
	}
	d.receive(t, "D")
	d.dispatch(t)
	told := map[int64]bool{}
	for _, one := range d.told(t, shop.ID) {
		told[one.EventID] = true
	}
	if n := len(d.told(t, shop.ID)); len(told) != 4 || n != 4 {
		t.Errorf("%d deliveries tell of %d events, want 4 of 4", n, len(told))
	}
	at, err := d.Cursor(t.Context(), "another")
	must(t, err)
	unread, err := d.EventsAfter(t.Context(), at, 10)
	must(t, err)
	var left string
	for _, e := range unread {
		left += e.WaID
	}
	if left != "BCD" {
		t.Errorf("another reader goes on with %q, want BCD", left)
	}
	if kept, err := d.EventsKeptSince(t.Context(), abroad); err != nil || kept {
		t.Errorf("a place of the other Postgres is taken for one of ours: %v, %v", kept, err)
	}
	if kept, err := d.EventsKeptSince(t.Context(), at); err != nil || !kept {
		t.Errorf("a place of this Postgres is not known: %v, %v", kept, err)
	}
}

package store_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"frontdesk/store"
)

// A reader of events misses none: what was begun first and committed last is not passed
// over, though others have higher numbers by then.
func TestNoEventIsPassedOver(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	place, err := d.LatestPlace(t.Context())
	must(t, err)
	slow, err := d.db.Begin(t.Context())
	must(t, err)
	_, err = slow.Exec(t.Context(), `insert into event (type) values ('test.slow')`)
	must(t, err)
	_, err = d.db.Exec(t.Context(), `insert into event (type) values ('test.quick')`)
	must(t, err)
	if found, err := d.EventsAfter(t.Context(), place, 10); err != nil || len(found) != 0 {
		t.Errorf("while a transaction is under way that comes before, %d events are seen (%v), want none", len(found), err)
	}
	must(t, slow.Commit(t.Context()))
	var seen []string
	for range 3 { // one at a time, as a reader with a small step would
		found, err := d.EventsAfter(t.Context(), place, 1)
		must(t, err)
		for _, v := range found {
			seen, place = append(seen, v.Type), v.Place()
		}
	}
	if want := []string{"test.slow", "test.quick"}; !slices.Equal(seen, want) {
		t.Errorf("read %v, want %v", seen, want)
	}
}

// Who comes back reads what it missed of its rooms, each event once, between where it
// was and where the reader of all is.
func TestEventsBetweenTwoPlacesAreThoseOfTheFilter(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	from, err := d.LatestPlace(t.Context())
	must(t, err)
	_, err = d.db.Exec(t.Context(), `
		insert into event (type, execution_id, flow_id, account_id, conversation_id) values
		  ('a', 1, 7, null, null), ('b', 2, 7, 9, null), ('c', null, null, 9, 4), ('d', null, null, null, null), ('e', 1, 7, 9, 4)`)
	must(t, err)
	all, err := d.EventsAfter(t.Context(), from, 10)
	must(t, err)
	for _, c := range []struct {
		filter      store.EventFilter
		after, upTo int // of all; -1: from
		limit       int
		want        string
	}{
		{store.EventFilter{}, -1, 4, 10, ""},
		{store.EventFilter{All: true}, -1, 4, 10, "abcde"},
		{store.EventFilter{All: true}, 0, 3, 10, "bcd"},
		{store.EventFilter{All: true}, -1, 4, 2, "ab"},
		{store.EventFilter{Executions: []int64{1}}, -1, 4, 10, "ae"},
		{store.EventFilter{Executions: []int64{1}, Flows: []int64{7}}, -1, 4, 10, "abe"},
		{store.EventFilter{Accounts: []int64{9}}, -1, 3, 10, "bc"},
		{store.EventFilter{Conversations: []int64{4, 5}}, -1, 4, 10, "ce"},
	} {
		after := from
		if c.after >= 0 {
			after = all[c.after].Place()
		}
		found, err := d.EventsBetween(t.Context(), c.filter, after, all[c.upTo].Place(), c.limit)
		must(t, err)
		seen := ""
		for _, v := range found {
			seen += v.Type
		}
		if seen != c.want {
			t.Errorf("%+v: found %q, want %q", c, seen, c.want)
		}
	}
}

// A gap is announced for what was dropped, and for nothing else: who has the last event
// that was dropped has missed nothing, however quiet the day was since.
func TestOnlyDroppedEventsAreNotCalledKept(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, err := d.db.Exec(t.Context(), `delete from event`) // as in a new database
	must(t, err)
	from, err := d.LatestPlace(t.Context())
	must(t, err)
	kept := func(when string, p store.Place, want bool) {
		t.Helper()
		if got, err := d.EventsKeptSince(t.Context(), p); err != nil || got != want {
			t.Errorf("%s: kept behind %+v: %v (%v), want %v", when, p, got, err, want)
		}
	}
	for range 2 {
		_, err = d.db.Exec(t.Context(), `insert into event (type) values ('old')`)
		must(t, err)
	}
	old, err := d.EventsAfter(t.Context(), from, 10)
	must(t, err)
	kept("all is there", old[0].Place(), true)
	_, err = d.db.Exec(t.Context(), `update event set at = clock() - interval '25 hours'`)
	must(t, err)
	n, err := d.DropEvents(t.Context(), 10)
	must(t, err)
	if n != 2 {
		t.Fatalf("dropped %d events, want 2", n)
	}
	kept("after a day of silence", from, false)
	kept("after a day of silence", old[0].Place(), false)
	kept("after a day of silence", old[1].Place(), true)
	quiet, err := d.LatestPlace(t.Context())
	must(t, err)
	kept("after a day of silence", quiet, true)
	_, err = d.db.Exec(t.Context(), `insert into event (type) values ('new')`)
	must(t, err)
	n, err = d.DropEvents(t.Context(), 10)
	must(t, err)
	if n != 0 {
		t.Fatalf("dropped %d events, want none", n)
	}
	kept("when something happens again", old[0].Place(), false)
	kept("when something happens again", old[1].Place(), true)
	if lags, err := d.Lags(t.Context()); err != nil || len(lags) != 0 {
		t.Errorf("%d readers for all are behind (%v); there is none", len(lags), err)
	}
}

func TestWhatHappensToAMessageIsAnEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	place, err := d.LatestPlace(t.Context())
	must(t, err)
	r := d.receive(t, "M1")
	o, _, err := d.Queue(t.Context(), store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "877770000001@lid", Origin: "api", Body: "hi"})
	must(t, err)
	must(t, d.MarkSent(t.Context(), o.ID))
	must(t, d.MarkSent(t.Context(), o.ID)) // nothing more happened
	must(t, d.MarkReceipts(t.Context(), []store.Mark{{AccountID: d.account, WaID: o.WaID, Receipt: store.Read}}))
	must(t, d.SetState(t.Context(), r.ConversationID, store.StateHuman, "Ana"))
	found, err := d.EventsAfter(t.Context(), place, 100)
	must(t, err)
	var seen []string
	for _, v := range found {
		seen = append(seen, v.Type)
		if v.ConversationID == nil || *v.ConversationID != r.ConversationID || *v.AccountID != d.account {
			t.Errorf("%s is not of the conversation: %+v", v.Type, v)
		}
	}
	want := []string{"message.received", "message.queued", "message.sent", "message.delivered", "message.read", "conversation.state"}
	if !slices.Equal(seen, want) {
		t.Errorf("happened %v, want %v", seen, want)
	}
	if in := found[0]; in.Body != "hello" || in.WaID != "M1" || in.Status != "received" || in.Origin != "customer" {
		t.Errorf("the first speaks of %+v", in)
	}
	if out := found[2]; out.Body != "hi" || out.WaID != o.WaID || out.Status != "read" || out.Origin != "api" {
		t.Errorf("the third speaks of %+v, as it is now", out)
	}
}

func TestAFlowsVersionNeverChanges(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{"steps": [1]}`), "Ana")
	must(t, err)
	same, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{"steps":[1]}`), "Ben")
	must(t, err)
	second, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{"steps": [2]}`), "Ben")
	must(t, err)
	if first.Version != 1 || same.Version != 1 || same.By != "Ana" || second.Version != 2 || second.ID != first.ID {
		t.Errorf("versions %d, %d by %s, %d", first.Version, same.Version, same.By, second.Version)
	}
	old, err := d.FlowVersion(t.Context(), first.ID, 1)
	must(t, err)
	if string(old.Definition) != `{"steps": [1]}` {
		t.Errorf("version 1 is now %s", old.Definition)
	}
}

func TestTwoSecretsOfAWebhookAreGoodUntilTheOldOneEnds(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{}`), "Ana")
	must(t, err)
	w := store.Webhook{ID: store.NewWebhookID(), FlowID: f.ID, Auth: "bearer"}
	if _, err := d.PutWebhook(t.Context(), w, nil); !errors.Is(err, store.ErrNoSecret) {
		t.Fatalf("without a secret: %v", err)
	}
	if _, err := d.Webhook(t.Context(), w.ID); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("what was refused is there: %v", err)
	}
	for _, secret := range []string{"one", "two"} {
		_, err := d.PutWebhook(t.Context(), w, &secret)
		must(t, err)
	}
	now, err := d.PutWebhook(t.Context(), w, nil) // any other change
	must(t, err)
	secrets, err := d.WebhookSecrets(now)
	must(t, err)
	if !slices.Equal(secrets, []string{"two", "one"}) {
		t.Errorf("good are %v", secrets)
	}
	must(t, d.ForgetOldSecret(t.Context(), w.ID))
	now, err = d.Webhook(t.Context(), w.ID)
	must(t, err)
	if secrets, err = d.WebhookSecrets(now); err != nil || !slices.Equal(secrets, []string{"two"}) {
		t.Errorf("good are %v, %v", secrets, err)
	}
	must(t, d.RemoveWebhook(t.Context(), w.ID))
	if now, err = d.Webhook(t.Context(), w.ID); err != nil || now.DeletedAt == nil || now.Secret != nil {
		t.Errorf("deleted, it is %+v, %v", now, err)
	}
}

// Another database of the same Postgres may have a transaction open for hours.
func TestTransactionsOfOtherDatabasesHoldNoEventUp(t *testing.T) {
	t.Parallel()
	d, other := newDesk(t), newDesk(t)
	foreign, err := other.db.Begin(t.Context())
	must(t, err)
	_, err = foreign.Exec(t.Context(), `insert into event (type) values ('test.foreign')`)
	must(t, err)
	defer foreign.Rollback(t.Context())
	place, err := d.LatestPlace(t.Context())
	must(t, err)
	_, err = d.db.Exec(t.Context(), `insert into event (type) values ('test.own')`)
	must(t, err)
	found, err := d.EventsAfter(t.Context(), place, 10)
	must(t, err)
	if len(found) != 1 || found[0].Type != "test.own" {
		t.Errorf("%d events are seen, want the own one", len(found))
	}
}

// A column that keys rotate without would be unreadable afterwards: every sealed one is
// asked of Postgres itself.
func TestRotateKeysKnowsEverySealedColumn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f, err := d.PutFlow(t.Context(), "hello", json.RawMessage(`{}`), "Ana")
	must(t, err)
	hook := store.Webhook{ID: "w", FlowID: f.ID, Auth: "bearer"}
	for _, secret := range []string{"one", "two"} {
		_, err := d.PutWebhook(t.Context(), hook, &secret)
		must(t, err)
	}
	must(t, d.SetSecret(t.Context(), "shop", "sesame"))
	if n, err := d.RotateKeys(t.Context()); err != nil || n != 3 {
		t.Fatalf("sealed %d anew, want 3 (%v)", n, err)
	}
	now, err := d.Webhook(t.Context(), "w")
	must(t, err)
	if open, err := d.WebhookSecrets(now); err != nil || !slices.Equal(open, []string{"two", "one"}) {
		t.Errorf("the webhook's are %v, %v", open, err)
	}
	if open, err := d.Secret(t.Context(), "shop"); err != nil || open != "sesame" {
		t.Errorf("the secret is %q, %v", open, err)
	}
	var columns int
	must(t, d.db.QueryRow(t.Context(), `
		select count(*) from information_schema.columns
		where table_schema = 'frontdesk' and data_type = 'bytea' and (table_name, column_name) not in (
		  ('file', 'sha256'), ('token', 'hash'), ('sign_in_link', 'hash'), ('outbound', 'request_hash'), ('execution', 'request_hash'),
		  ('media', 'reference'), ('outbound', 'reference'), ('pairing_link', 'hash'), ('sessions', 'data'))`).Scan(&columns))
	if columns != 8 {
		t.Errorf("%d columns look sealed, RotateKeys knows 8: add the new one, or say here why not", columns)
	}
}

package store_test

import (
	"errors"
	"testing"
	"time"

	"frontdesk/store"
)

// drafting is a desk whose bot does not send by itself.
func drafting(t *testing.T, a store.Answering) desk {
	t.Helper()
	d := newDesk(t)
	_, err := d.ChangeAccount(t.Context(), d.account, store.AccountChange{Answering: &a})
	must(t, err)
	return d
}

func (d desk) sent(t *testing.T) int {
	t.Helper()
	return d.count(t, `select count(*) from outbound where cancelled_at is null`)
}

func (d desk) newest(t *testing.T, conversation int64) store.Draft {
	t.Helper()
	found, err := d.Drafts(t.Context(), conversation, store.Page{Limit: 10})
	must(t, err)
	if len(found) == 0 {
		t.Fatal("there is no draft")
	}
	return found[0]
}

func TestNothingLeavesBeforeAPersonApproves(t *testing.T) {
	t.Parallel()
	d := drafting(t, store.AnsweringApprove)
	c := d.receive(t, "M1").ConversationID
	if !d.answer(t, c, 0, 1, false) {
		t.Fatal("the answer was refused")
	}
	if n := d.sent(t); n != 0 {
		t.Fatalf("%d messages are queued before anybody approved", n)
	}
	if now, err := d.Turn(t.Context(), c); err != nil || now.AnsweredSeq != 1 {
		t.Fatalf("the bot would draft again: %v, %v", now.AnsweredSeq, err)
	}
	draft, err := d.SendDraft(t.Context(), d.newest(t, c).ID, "", "admin")
	must(t, err)
	if draft.Decision != "sent" || d.count(t, `select count(*) from outbound where origin = 'bot' and after_seq = 1`) != 2 {
		t.Fatalf("the draft is %q, and %d messages are queued", draft.Decision, d.sent(t))
	}
	if _, err := d.SendDraft(t.Context(), draft.ID, "", "admin"); !errors.Is(err, store.ErrDecided) {
		t.Fatalf("the second approval says %v", err)
	}
	if n := d.sent(t); n != 2 {
		t.Fatalf("%d messages after two approvals", n)
	}
}

func TestApprovalSendsWhatAPersonMadeOfTheDraft(t *testing.T) {
	t.Parallel()
	d := drafting(t, store.AnsweringApprove)
	c := d.receive(t, "M1").ConversationID
	d.answer(t, c, 0, 1, false)
	_, err := d.SendDraft(t.Context(), d.newest(t, c).ID, "better words", "admin")
	must(t, err)
	if n := d.count(t, `select count(*) from outbound where body = 'better words'`); n != 1 || d.sent(t) != 1 {
		t.Fatalf("%d of %d messages are in the person's words", n, d.sent(t))
	}
	if draft := d.newest(t, c); draft.Decision != "edited" || draft.Sent != "better words" || draft.DecidedBy != "admin" {
		t.Fatalf("the draft says %+v", draft)
	}
}

func TestDraftIsIdleOnceSomethingElseHappened(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(*testing.T, desk, int64)
		becomes string
	}{
		"the customer wrote again": {func(t *testing.T, d desk, c int64) { d.receive(t, "M2"); d.answer(t, c, 1, 2, false) }, "superseded"},
		"a person wrote on the phone": {func(t *testing.T, d desk, _ int64) {
			must(t, d.ReceiveOwn(t.Context(), store.Inbound{
				AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "P1", Kind: "text", Body: "I am here", SentAt: time.Now(),
			}))
		}, "overtaken"},
		"a person wrote in the console": {func(t *testing.T, d desk, _ int64) {
			_, _, err := d.Queue(t.Context(), store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "877770000001@lid", Origin: "person", Body: "I am here"})
			must(t, err)
		}, "overtaken"},
		"somebody rejected it": {func(t *testing.T, d desk, c int64) {
			_, err := d.RejectDraft(t.Context(), d.newest(t, c).ID, "admin")
			must(t, err)
		}, "rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := drafting(t, store.AnsweringApprove)
			conversation := d.receive(t, "M1").ConversationID
			d.answer(t, conversation, 0, 1, false)
			old := d.newest(t, conversation)
			c.happens(t, d, conversation)
			before := d.sent(t)
			if _, err := d.SendDraft(t.Context(), old.ID, "", "admin"); !errors.Is(err, store.ErrDecided) {
				t.Fatalf("the approval says %v", err)
			}
			got, err := d.Draft(t.Context(), old.ID)
			if err != nil || got.Decision != c.becomes || d.sent(t) != before {
				t.Fatalf("the draft is %q, %v, and %d messages more are queued", got.Decision, err, d.sent(t)-before)
			}
		})
	}
}

func TestCustomerWhoOptedOutGetsNoDraft(t *testing.T) {
	t.Parallel()
	d := drafting(t, store.AnsweringApprove)
	c := d.receive(t, "M1").ConversationID
	d.answer(t, c, 0, 1, false)
	_, err := d.db.Exec(t.Context(), `update conversation set opted_out_at = clock()`)
	must(t, err)
	if _, err := d.SendDraft(t.Context(), d.newest(t, c).ID, "", "admin"); !errors.Is(err, store.ErrDecided) || d.sent(t) != 0 {
		t.Fatalf("%d messages are queued: %v", d.sent(t), err)
	}
}

func TestShadowDraftsWhilePeopleAnswer(t *testing.T) {
	t.Parallel()
	d := drafting(t, store.AnsweringShadow)
	c := d.receive(t, "M1").ConversationID
	d.answer(t, c, 0, 1, false)
	must(t, d.ReceiveOwn(t.Context(), store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "P1", Kind: "text", Body: "I am here", SentAt: time.Now(),
	}))
	hi := d.receive(t, "M2").Seq
	if !d.answer(t, c, hi-1, hi, false) || d.sent(t) != 0 {
		t.Fatalf("the bot stopped drafting, or %d messages are queued", d.sent(t))
	}
	if draft := d.newest(t, c); draft.Decision != "shadow" || draft.AfterSeq != hi {
		t.Fatalf("the draft says %+v", draft)
	}
	if _, err := d.SendDraft(t.Context(), d.newest(t, c).ID, "", "admin"); !errors.Is(err, store.ErrDecided) {
		t.Fatalf("the approval says %v", err)
	}
}

func TestPeopleAreAlertedToDraftsThatWaitForLong(t *testing.T) {
	t.Parallel()
	d := drafting(t, store.AnsweringApprove)
	c := d.receive(t, "M1").ConversationID
	d.answer(t, c, 0, 1, false)
	open := func() []store.Alert {
		t.Helper()
		must(t, d.WatchDrafts(t.Context(), []int64{d.account}))
		alerts, err := d.Alerts(t.Context(), false, store.Page{Limit: 10})
		must(t, err)
		return alerts
	}
	if alerts := open(); len(alerts) != 0 {
		t.Errorf("at once: %+v", alerts)
	}
	must(t, d.Skew(t.Context(), 16*time.Minute))
	if alerts := open(); len(alerts) != 1 || alerts[0].Kind != "drafts_wait" || *alerts[0].AccountID != d.account {
		t.Errorf("after 16 minutes: %+v", alerts)
	}
	if alerts := open(); len(alerts) != 1 || alerts[0].Times != 1 {
		t.Errorf("looked at twice: %+v", alerts)
	}
	_, err := d.RejectDraft(t.Context(), d.newest(t, c).ID, "admin")
	must(t, err)
	if alerts := open(); len(alerts) != 0 {
		t.Errorf("after the draft was rejected: %+v", alerts)
	}
}

package flow_test

import (
	"testing"
	"time"

	"frontdesk/store"
)

// followUp greets somebody, waits for a word of theirs, and does not want to bother them.
const followUp = `
	{"id": "hi", "type": "send", "text": "hello"},
	{"id": "reply", "type": "wait", "reply": "1h"},
	{"id": "out", "type": "contact", "opt_in": false, "tags": ["asked"]},
	{"id": "hand", "type": "handoff", "note": "look"}`

// hidden is a contact of whom only the LID is known, as the first of two that turn out
// to be one person.
func (h *house) hidden() int64 {
	h.t.Helper()
	id, err := h.store.ResolveContact(h.t.Context(), "", "999000111", "Ana")
	h.must(err)
	return id
}

// merge makes two contacts one.
func (h *house) merge(one, other int64) {
	h.t.Helper()
	_, err := h.store.MergeContacts(h.t.Context(), one, other, "test")
	h.must(err)
}

// says has the person of the LID of hidden write something.
func (h *house) says(waID, body string) store.Received {
	h.t.Helper()
	r, err := h.store.Receive(h.t.Context(), store.Inbound{
		AccountID: h.account, LID: "999000111", Chat: "999000111@lid", WaID: waID, Kind: "text", Body: body, SentAt: time.Now(),
	})
	h.must(err)
	return r
}

func TestAReplyToAMergedContactEndsTheWait(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	kept := h.says("BEFORE", "old words").ConversationID
	x := h.becomes(h.accept(h.put("followup", followUp), person(1), nil), "waiting")
	h.merge(older, *x.ContactID)
	x, err := h.store.Execution(t.Context(), x.ID)
	h.must(err)
	if *x.ContactID != older || *x.ConversationID != kept || x.Status != "waiting" {
		t.Errorf("it is of contact %d and waits (%s) in conversation %d, want %d, %d", *x.ContactID, x.Status, *x.ConversationID, older, kept)
	}
	h.says("AFTER", "yes please")
	_, err = h.store.WakeExecutions(t.Context(), []int64{kept}, nil)
	h.must(err)
	h.engine.Wake()
	r := h.results(h.ended(x))["reply"]
	if r["replied"] != true || r["text"] != "yes please" {
		t.Errorf("the reply is %v", r)
	}
}

func TestWhatWasSaidBeforeTheWaitIsNoReplyAfterAMerge(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	h.says("BEFORE", "old words")
	x := h.becomes(h.accept(h.put("followup", followUp), person(1), nil), "waiting")
	h.merge(older, *x.ContactID)
	n, err := h.store.WakeExecutions(t.Context(), nil, nil)
	h.must(err)
	x, err = h.store.Execution(t.Context(), x.ID)
	h.must(err)
	if n != 0 || x.Status != "waiting" || !x.DueAt.After(x.Now) {
		t.Errorf("%d were woken; it is %s until %v", n, x.Status, x.DueAt)
	}
}

// The person answers from their other address before anybody knows that they are one.
func TestAReplyFromTheOtherAddressEndsTheWaitOnceTheyAreOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	h.says("BEFORE", "old words")
	x := h.becomes(h.accept(h.put("followup", followUp), person(1), nil), "waiting")
	h.says("MEANWHILE", "yes please")
	h.merge(older, *x.ContactID)
	h.engine.Wake()
	r := h.results(h.ended(x))["reply"]
	if r["replied"] != true || r["text"] != "yes please" {
		t.Errorf("the reply is %v", r)
	}
}

func TestStepsGoOnWithTheSurvivorOfAMerge(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	f := h.put("held", `{"id": "hi", "type": "send", "text": "hello"}, {"id": "held", "type": "http", "url": "SERVICE/hold"},
		{"id": "out", "type": "contact", "opt_in": false, "tags": ["asked"]}, {"id": "hand", "type": "handoff", "note": "look"}`)
	x := h.accept(f, person(1), nil)
	h.eventually("held", func() bool { return h.service.held(0) == 1 })
	x = h.becomes(x, "running")
	h.merge(older, *x.ContactID)
	close(h.service.hold)
	x = h.ended(x)
	if x.Status != "completed" || h.results(x)["hand"]["status of step"] != "completed" {
		t.Errorf("it is %s: %v", x.Status, h.results(x))
	}
	if h.count(`select count(*) from conversation where contact_id = $1 and merged_into is null and opted_out_at is not null and state = 'human'`, older) != 1 {
		t.Error("the survivor still gets automated messages, or was not handed over")
	}
	if h.count(`select count(*) from contact where id = $1 and 'asked' = any(tags)`, older) != 1 {
		t.Error("the tag is lost")
	}
}

// Two executions that run already go on; what waits becomes the survivor's.
func TestTwoWhoseExecutionsRunCanBecomeOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	f := h.define(`{"name": "held", "trigger": {"type": "call"}, "steps": [{"id": "held", "type": "http", "url": "` + h.service.URL + `/hold"}]}`)
	first := h.becomes(h.add(f, older), "running")
	other, err := h.store.ResolveContact(t.Context(), "12025550001", "", "Ana")
	h.must(err)
	second := h.becomes(h.add(f, other), "running")
	third := h.add(f, other)
	h.merge(older, other)
	third, err = h.store.Execution(t.Context(), third.ID)
	h.must(err)
	if *third.ContactID != older || third.Status != "queued" {
		t.Errorf("the third is %s, of contact %d", third.Status, *third.ContactID)
	}
	close(h.service.hold)
	for _, x := range []store.Execution{first, second, third} {
		if x = h.ended(x); x.Status != "completed" {
			t.Errorf("execution %d is %s: %s", x.ID, x.Status, x.Failure)
		}
	}
}

// add starts a flow for a contact.
func (h *house) add(f store.Flow, contact int64) store.Execution {
	h.t.Helper()
	x, _, err := h.store.AddExecution(h.t.Context(), store.NewExecution{
		FlowID: f.ID, Version: f.Version, AccountID: &h.account, ContactID: &contact, Trigger: []byte(`{"type": "call"}`),
	})
	h.must(err)
	h.engine.Wake()
	return x
}

func TestAMergedContactsRunningExecutionHoldsBackTheSurvivors(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	older := h.hidden()
	f := h.define(`{"name": "held", "trigger": {"type": "call"}, "steps": [{"id": "held", "type": "http", "url": "` + h.service.URL + `/hold"}]}`)
	other, err := h.store.ResolveContact(t.Context(), "12025550001", "", "Ana")
	h.must(err)
	x := h.becomes(h.add(f, other), "running")
	h.merge(older, other)
	h.add(f, older)
	bystander, err := h.store.ResolveContact(t.Context(), "12025550002", "", "Bo")
	h.must(err)
	h.becomes(h.add(f, bystander), "running") // it came later, and was claimed
	if n := h.count(`select count(*) from execution where status = 'running'`); n != 2 {
		t.Errorf("%d run, want 2", n)
	}
	close(h.service.hold)
	h.ended(x)
}

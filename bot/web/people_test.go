package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/web"
	"frontdesk/store"
)

// talking is a house with a customer who has written.
func talking(t *testing.T) (h *house, account, conversation int64) {
	t.Helper()
	h = newHouse(t)
	account = h.paired("12025550111")
	r, err := h.store.Receive(t.Context(), store.Inbound{
		AccountID: account, Phone: "12025550122", Name: "A customer", Chat: "12025550122@s.whatsapp.net", WaID: "A", Kind: "text", Body: "is there a table?", SentAt: time.Now(),
	})
	must(t, err)
	return h, account, r.ConversationID
}

func TestBallGoesToPeopleAndBackOverTheAPI(t *testing.T) {
	t.Parallel()
	h, _, id := talking(t)
	for _, step := range []struct{ act, state string }{{"takeover", "human"}, {"pause", "paused"}, {"release", "bot"}, {"close", "closed"}, {"release", "bot"}} {
		c := decoded[web.Conversation](t, h.admin(http.MethodPost, fmt.Sprintf("/api/v1/conversations/%d/%s", id, step.act), ""), http.StatusOK)
		if c.State != step.state || (c.ReturnAt != nil) != (step.state == "human" || step.state == "paused") {
			t.Errorf("after %s: %s until %v", step.act, c.State, c.ReturnAt)
		}
	}
	if a := h.admin(http.MethodPost, "/api/v1/conversations/999/takeover", ""); a.status != http.StatusNotFound {
		t.Errorf("a conversation that is not there: %d", a.status)
	}
	m := decoded[web.SentMessage](t, h.admin(http.MethodPost, fmt.Sprintf("/api/v1/conversations/%d/messages", id), `{"text":"yes, by the window"}`), http.StatusAccepted)
	c := decoded[web.Conversation](t, h.admin(http.MethodGet, fmt.Sprint("/api/v1/conversations/", id), ""), http.StatusOK)
	if m.Status != "queued" || c.State != "human" || c.SeenSeq != 1 {
		t.Errorf("after a reply: %+v, %+v", m, c)
	}
	c = decoded[web.Conversation](t, h.admin(http.MethodPatch, fmt.Sprint("/api/v1/conversations/", id), `{"assigned_to":"evening shift","tags":["VIP","order","vip"]}`), http.StatusOK)
	if c.AssignedTo != "evening shift" || fmt.Sprint(c.Tags) != "[order vip]" {
		t.Errorf("assigned to %q, tagged %v", c.AssignedTo, c.Tags)
	}
	decoded[web.Note](t, h.admin(http.MethodPost, fmt.Sprintf("/api/v1/conversations/%d/notes", id), `{"text":"likes the window"}`), http.StatusCreated)
	if a := h.admin(http.MethodGet, fmt.Sprintf("/api/v1/conversations/%d/notes", id), ""); !strings.Contains(a.body, "likes the window") || !strings.Contains(a.body, `"by":"token`) {
		t.Errorf("notes: %s", a.body)
	}
}

func TestDraftsAreDecidedOverTheAPIAndTheConsole(t *testing.T) {
	t.Parallel()
	h, account, id := talking(t)
	decoded[web.Account](t, h.admin(http.MethodPatch, fmt.Sprint("/api/v1/accounts/", account), `{"answering":"approve"}`), http.StatusOK)
	answer := func(lo, hi int64, text string) {
		t.Helper()
		queued, err := h.store.Answer(t.Context(), store.Reply{ConversationID: id, Lo: lo, Hi: hi, Force: true, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: text}}})
		if err != nil || !queued {
			t.Fatalf("no draft: %v, %v", queued, err)
		}
	}
	waiting := func() []web.Draft {
		t.Helper()
		return decoded[struct{ Items []web.Draft }](t, h.admin(http.MethodGet, fmt.Sprint("/api/v1/drafts?account=", account), ""), http.StatusOK).Items
	}
	answer(0, 1, "At seven?")
	if d := waiting(); len(d) != 1 || d[0].Text != "At seven?" || d[0].ConversationID != id {
		t.Fatalf("drafts that wait: %+v", d)
	}
	page := fmt.Sprint("/conversations/", id)
	contains(t, h.page(h.signedIn(), page, http.StatusOK), "The bot would say", "At seven?")
	contains(t, h.page(h.signedIn(), "/conversations?drafted=on", http.StatusOK), ">draft<")
	contains(t, h.page(h.signedIn(), page+"?edit=on", http.StatusOK), "What the bot would say")

	send := fmt.Sprintf("/api/v1/drafts/%d/send", waiting()[0].ID)
	if d := decoded[web.Draft](t, h.admin(http.MethodPost, send, `{"text":" At  seven? "}`), http.StatusOK); d.Decision != "sent" {
		t.Errorf("the same words are %q", d.Decision)
	}
	if a := h.admin(http.MethodPost, send, `{}`); a.status != http.StatusConflict || !strings.Contains(a.body, "draft_decided") {
		t.Errorf("the second approval: %d %s", a.status, a.body)
	}
	contains(t, h.page(h.signedIn(), page, http.StatusOK), "At seven?", "The draft was sent by token")

	_, err := h.store.Receive(t.Context(), store.Inbound{
		AccountID: account, Phone: "12025550122", Chat: "12025550122@s.whatsapp.net", WaID: "B", Kind: "text", Body: "or at eight?", SentAt: time.Now(),
	})
	must(t, err)
	answer(1, 2, "At eight")
	if a := h.visit(h.signedIn(), http.MethodPost, page+"/reject-draft", fmt.Sprint("draft=", waiting()[0].ID)); a.status != http.StatusSeeOther || len(waiting()) != 0 {
		t.Errorf("rejected on the page: %d, %d drafts wait", a.status, len(waiting()))
	}
}

func TestReplyOfAPersonIsSentOnceForEachKey(t *testing.T) {
	t.Parallel()
	h, _, id := talking(t)
	path := fmt.Sprintf("/api/v1/conversations/%d/messages", id)
	first := h.admin(http.MethodPost, path, `{"text":"yes, by the window"}`, "Idempotency-Key", "a")
	again := h.admin(http.MethodPost, path, `{"text":"yes, by the window"}`, "Idempotency-Key", "a")
	if first.status != http.StatusAccepted || first.body != again.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	if other := h.admin(http.MethodPost, path, `{"text":"no"}`, "Idempotency-Key", "a"); other.problem(t).Code != "idempotency_key_reused" {
		t.Errorf("other words with the same key: %s", other.body)
	}
	page, c := fmt.Sprint("/conversations/", id), h.signedIn()
	for _, to := range []string{page, page + "?sent=before"} {
		if a := h.visit(c, http.MethodPost, page+"/reply", "key=b&text=and+a+cake"); a.status != http.StatusSeeOther || a.header.Get("Location") != to {
			t.Errorf("the form: %d, and on to %s, not %s", a.status, a.header.Get("Location"), to)
		}
	}
	contains(t, h.page(c, page+"?sent=before", http.StatusOK), "was not sent twice")
	changed := h.visit(c, http.MethodPost, page+"/reply", "key=b&text=and+two+cakes")
	if changed.status != http.StatusConflict {
		t.Errorf("the form with other words: %d", changed.status)
	}
	contains(t, changed.body, "was sent after all", ">and two cakes</textarea>")
	if n, err := h.store.PendingOutbound(t.Context()); err != nil || n != 2 {
		t.Errorf("%d messages are queued: %v", n, err)
	}
	must(t, h.store.SetState(t.Context(), id, store.StateBot, "test"))
	h.admin(http.MethodPost, path, `{"text":"yes, by the window"}`, "Idempotency-Key", "a")
	h.admin(http.MethodPost, path, `{"text":"no"}`, "Idempotency-Key", "a")
	if got := decoded[web.Conversation](t, h.admin(http.MethodGet, fmt.Sprint("/api/v1/conversations/", id), ""), http.StatusOK); got.State != "bot" {
		t.Errorf("what was not sent again made it a conversation of %q", got.State)
	}
}

func TestTraceSaysWhatBecameOfAMessage(t *testing.T) {
	t.Parallel()
	h, _, id := talking(t)
	trace := fmt.Sprintf("/api/v1/conversations/%d/messages/1/trace", id)
	if got := decoded[web.Trace](t, h.admin(http.MethodGet, trace, ""), http.StatusOK); got.Settled || len(got.Sent) != 0 {
		t.Errorf("before the answer: %+v", got)
	}
	_, err := h.store.Answer(t.Context(), store.Reply{
		ConversationID: id, Hi: 1, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "yes"}}, Detail: map[string]any{"provider": "first"},
	})
	must(t, err)
	must(t, h.store.KeepPrompt(t.Context(), store.Prompt{ConversationID: id, Seq: 1, Provider: "first", Model: "m", Messages: []byte(`[{"role":"system","text":"You sell flowers."}]`)}))
	got := decoded[web.Trace](t, h.admin(http.MethodGet, trace, ""), http.StatusOK)
	if !got.Settled || len(got.Entries) != 1 || got.Entries[0].Kind != "answered" || len(got.Sent) != 1 || got.Sent[0].Text != "yes" {
		t.Errorf("after the answer: %+v", got)
	}
	if p := h.admin(http.MethodGet, fmt.Sprintf("/api/v1/conversations/%d/messages/1/prompt", id), ""); !strings.Contains(p.body, "You sell flowers.") {
		t.Errorf("the prompt: %s", p.body)
	}
	contains(t, h.page(h.signedIn(), fmt.Sprintf("/conversations/%d/messages/1", id), http.StatusOK), "Why this answer?", "You sell flowers.", "“yes”")
}

func TestToolsKeepTheirSecret(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body := `{"name":"stock","description":"How many there are","url":"https://shop.example/stock","parameters":{"type":"object"},"headers":{"Authorization":"Bearer {{secret}}"},"secret":"sk-hidden"}`
	d := decoded[web.Tool](t, h.admin(http.MethodPost, "/api/v1/tools", body), http.StatusCreated)
	if !d.HasSecret || d.Method != http.MethodPost || d.Active == nil || !*d.Active {
		t.Errorf("added %+v", d)
	}
	if a := h.admin(http.MethodGet, "/api/v1/tools", ""); strings.Contains(a.body, "sk-hidden") || !strings.Contains(a.body, `"stock"`) {
		t.Errorf("listed %s", a.body)
	}
	if a := h.admin(http.MethodPost, "/api/v1/tools", body); a.problem(t).Code != "name_taken" {
		t.Errorf("a second one: %s", a.body)
	}
	for _, bad := range []string{
		strings.Replace(body, `"stock"`, `"hand_off"`, 1), strings.Replace(body, "https://shop.example/stock", "shop", 1), strings.Replace(body, `{"type":"object"}`, `{"type":7}`, 1),
	} {
		if a := h.admin(http.MethodPost, "/api/v1/tools", bad); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s answered %d", bad, a.status)
		}
	}
	if a := h.admin(http.MethodDelete, fmt.Sprint("/api/v1/tools/", d.ID), ""); a.status != http.StatusNoContent {
		t.Errorf("removing answered %d", a.status)
	}
}

func TestPageOfHoursKeepsWhatWasTypedAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h, account, _ := talking(t)
	c := h.signedIn()
	path := fmt.Sprintf("/accounts/%d/house", account)
	contains(t, h.page(c, path, http.StatusOK), "Hours and people", "This is an automated answer.")
	form := "zone=Europe/Madrid&mon=09:00-13:30,+15:00-19:00&closed=12-25&when=text&closed_text=Closed+now&language=es&takeover_hours=2&handoff_words=refund&answers_limit=5&spend_day=2.50&disclose=on&answering=approve"
	if a := h.visit(c, http.MethodPost, path, form); a.status != http.StatusSeeOther {
		t.Fatalf("saving answered %d: %s", a.status, a.body)
	}
	a, err := h.store.Account(t.Context(), account)
	must(t, err)
	if a.Disclosure != nil || a.HandoffText == nil || *a.HandoffText != "" || a.TakeoverMinutes != 120 || *a.SpendDay != 2_500_000 || a.SpendContactDay != nil || a.Language != "es" {
		t.Errorf("kept %+v", a)
	}
	contains(t, h.page(c, path, http.StatusOK), "09:00-13:30, 15:00-19:00", "Closed now", "2.5")
	for _, wrong := range []string{"zone=Mars/Base", "mon=nine+to+five", "closed=christmas", "when=text&closed_text=", "takeover_hours=x", "answers_limit=-1", "spend_day=lots", "answering=nobody"} {
		bad := h.visit(c, http.MethodPost, path, wrong+"&takeover_hours=2&answers_limit=5&language=en&answering=live")
		if bad.status != http.StatusUnprocessableEntity {
			t.Errorf("%s answered %d", wrong, bad.status)
		}
	}
}

func TestInboxShowsWhoWaitsWithTheLastWordsAndFindsThem(t *testing.T) {
	t.Parallel()
	h, account, id := talking(t)
	_, err := h.store.Receive(t.Context(), store.Inbound{
		AccountID: account, Phone: "12025550133", Name: "Another", Chat: "12025550133@s.whatsapp.net", WaID: "B", Kind: "text", Body: "do you deliver?", SentAt: time.Now(),
	})
	must(t, err)
	c := h.signedIn()
	contains(t, h.page(c, "/conversations", http.StatusOK), "is there a table?", "do you deliver?", "A customer", "Another")
	decoded[web.Conversation](t, h.admin(http.MethodPost, fmt.Sprintf("/api/v1/conversations/%d/takeover", id), ""), http.StatusOK)
	for query, found := range map[string][2]bool{"q=TABLE": {true, false}, "q=another": {false, true}, "q=5550133": {false, true}, "state=human": {true, false}, "unseen=on": {true, false}, "q=nothing": {false, false}} {
		page := h.page(c, "/conversations?"+query, http.StatusOK)
		if got := [2]bool{strings.Contains(page, "is there a table?"), strings.Contains(page, "do you deliver?")}; got != found {
			t.Errorf("%s shows %v, want %v", query, got, found)
		}
	}
}

func TestAnswerIsRehearsedWithAnotherPersonaOrProvider(t *testing.T) {
	t.Parallel()
	h, account, id := talking(t)
	queued, err := h.store.Answer(t.Context(), store.Reply{ConversationID: id, Lo: 0, Hi: 1, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "Yes."}}})
	if err != nil || !queued {
		t.Fatal(queued, err)
	}
	note := decoded[web.Note](t, h.call(h.tokens[store.RoleAgent], http.MethodPost, fmt.Sprintf("/api/v1/conversations/%d/summary", id), ""), http.StatusOK)
	if note.Text != "Wants a table." || note.By != "frontdesk" {
		t.Errorf("summed up as %+v", note)
	}
	said := h.admin(http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/answers", account), "")
	contains(t, said.body, `"said":"Yes."`, `"seq":1`)
	path := fmt.Sprintf("/api/v1/conversations/%d/rehearse", id)
	r := decoded[web.Rehearsal](t, h.admin(http.MethodPost, path, `{"seq":1,"persona":"a pirate"}`), http.StatusOK)
	if r.Asked != "is there a table?" || fmt.Sprint(r.Said) != "[As a pirate]" || r.Provider != "stage" {
		t.Errorf("rehearsed %+v", r)
	}
	if p := h.admin(http.MethodPost, path, `{"seq":1,"provider_id":2}`).problem(t); p.Code != "no_answer" || !strings.Contains(p.Detail, "it is away") {
		t.Errorf("a provider that is away: %+v", p)
	}
	if p := h.admin(http.MethodPost, path, `{"seq":2}`).problem(t); p.Status != http.StatusNotFound {
		t.Errorf("a message that never came: %+v", p)
	}
	if a := h.call(h.tokens[store.RoleAgent], http.MethodPost, path, `{"seq":1}`); a.status != http.StatusForbidden {
		t.Errorf("an agent may spend money: %d", a.status)
	}
}

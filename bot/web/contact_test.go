package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/web"
	"frontdesk/store"
)

func TestContactIsFoundByEveryFormOfItsAddressAndMergedAndUnmerged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	write := func(phone, lid, id string) store.Received {
		r, err := h.store.Receive(t.Context(), store.Inbound{
			AccountID: account, Phone: phone, LID: lid, Chat: "c", WaID: id, Kind: "text", Body: id, SentAt: time.Now(),
		})
		must(t, err)
		return r
	}
	kept := write("", "812025550122", "A")
	closed := write("12025550122", "", "B")
	find := func(address string) (c web.KnownContact) {
		t.Helper()
		a := h.admin(http.MethodGet, "/api/v1/contacts/lookup?address="+url.QueryEscape(address), "")
		if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.status != http.StatusOK {
			t.Fatalf("looking up %s answered %d: %s", address, a.status, a.body)
		}
		return c
	}
	one, other := find("812025550122@lid"), find("+1 (202) 555-0122")
	merged := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/contacts/%d/merge", one.ID), fmt.Sprintf(`{"other":%d}`, other.ID))
	if merged.status != http.StatusOK {
		t.Fatalf("merging answered %d: %s", merged.status, merged.body)
	}
	for _, address := range []string{"12025550122@s.whatsapp.net", "12025550122@c.us", "12025550122:3@s.whatsapp.net", "812025550122@lid", "1 202 555 0122"} {
		if c := find(address); c.ID != one.ID || c.Phone != "12025550122" || c.LID != "812025550122" || len(c.Merges) != 1 {
			t.Errorf("%s leads to %+v", address, c)
		}
	}
	var c web.Conversation
	must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, fmt.Sprint("/api/v1/conversations/", closed.ConversationID), "").body), &c))
	if c.ID != kept.ConversationID {
		t.Errorf("the closed conversation leads to %d, want %d", c.ID, kept.ConversationID)
	}
	if page := h.admin(http.MethodGet, fmt.Sprint("/api/v1/conversations?contact=", one.ID), "").body; strings.Count(page, `"contact_id"`) != 1 || !strings.Contains(page, fmt.Sprintf(`"id":%d,`, kept.ConversationID)) {
		t.Errorf("the contact's conversations: %s", page)
	}
	if page := h.admin(http.MethodGet, "/api/v1/conversations?contact=999", "").body; strings.Contains(page, `"contact_id"`) {
		t.Errorf("a stranger's conversations: %s", page)
	}
	if again := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/contacts/%d/merge", one.ID), fmt.Sprintf(`{"other":%d}`, other.ID)); again.problem(t).Code != "already_merged" {
		t.Errorf("merging twice answered %s", again.body)
	}
	undone := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/contacts/%d/unmerge", other.ID), "")
	if undone.status != http.StatusOK || find("+12025550122").ID != other.ID {
		t.Errorf("unmerging answered %d: %s", undone.status, undone.body)
	}
	log, err := h.store.AuditLog(t.Context(), "", store.Page{Limit: 10})
	must(t, err)
	if len(log) != 2 || log[0].Action != "contact.unmerge" || log[1].By != "token admin" {
		t.Errorf("the audit log holds %+v", log)
	}
	if p := h.admin(http.MethodGet, "/api/v1/contacts/lookup?address=120363@g.us", "").problem(t); p.Code != "bad_address" {
		t.Errorf("a group's address gives %+v", p)
	}
}

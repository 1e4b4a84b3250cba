package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"frontdesk/bot/web"
)

func TestDocumentsAreAddedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	body := fmt.Sprintf(`{"account_id":%d,"title":"Hours","text":"We are open on the weekend and you can write to us for a table."}`, account)
	d := decoded[web.Document](t, h.admin(http.MethodPost, "/api/v1/knowledge", body), http.StatusCreated)
	if d.State != "waiting" || d.Kind != "markdown" || d.Language != "english" {
		t.Errorf("added %+v", d)
	}
	d = decoded[web.Document](t, h.admin(http.MethodPut, fmt.Sprint("/api/v1/knowledge/", d.ID), `{"title":"Horario","text":"Abrimos de lunes a viernes.","language":"spanish"}`), http.StatusOK)
	if d.AccountID != nil || d.Language != "spanish" {
		t.Errorf("changed %+v", d)
	}
	for _, bad := range []string{`{"title":"x","text":" "}`, `{"title":"x","kind":"qa","text":"no pairs"}`, `{"title":"x","text":"y","language":"klingon"}`} {
		if a := h.admin(http.MethodPost, "/api/v1/knowledge", bad); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s answered %d", bad, a.status)
		}
	}
	c := h.signedIn()
	form := url.Values{"title": {"Menu"}, "kind": {"qa"}, "text": {"soup"}}
	if a := h.visit(c, http.MethodPost, "/knowledge", form.Encode()); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "question-answer pairs look like") || !strings.Contains(a.body, ">soup<") {
		t.Errorf("a bad form answered %d and does not keep what was typed", a.status)
	}
	form.Set("text", `[{"question": "Is there soup?", "answer": "Every day."}]`)
	if a := h.visit(c, http.MethodPost, "/knowledge", form.Encode()); a.status != http.StatusSeeOther {
		t.Errorf("a good form answered %d", a.status)
	}
	contains(t, h.page(c, "/knowledge", http.StatusOK), "Menu", "Horario", "for all accounts")
	if a := h.admin(http.MethodDelete, fmt.Sprint("/api/v1/knowledge/", d.ID), ""); a.status != http.StatusNoContent {
		t.Errorf("removing answered %d", a.status)
	}
}

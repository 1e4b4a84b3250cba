package web_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
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

func TestDocumentsAreMadeOfFilesAndPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	f := fileIn(t, h.upload("# Hours\n\nFrom nine to five.", "application/octet-stream", "?name=Hours.md"))
	d := decoded[web.Document](t, h.admin(http.MethodPost, "/api/v1/knowledge", fmt.Sprintf(`{"file_id":%d}`, f.ID)), http.StatusCreated)
	if d.Title != "Hours" || d.Kind != "markdown" || !strings.Contains(d.Text, "From nine") {
		t.Errorf("of a file came %+v", d)
	}
	d = decoded[web.Document](t, h.admin(http.MethodPost, "/api/v1/knowledge", `{"address":"https://example.com/prices"}`), http.StatusCreated)
	if d.Title != "example.com/prices" || d.Kind != "page" || d.Text != "" || d.State != "waiting" {
		t.Errorf("of an address came %+v", d)
	}
	f = fileIn(t, h.upload(picture, "application/octet-stream", "?name=plan.png"))
	if p := h.admin(http.MethodPost, "/api/v1/knowledge", fmt.Sprintf(`{"file_id":%d}`, f.ID)).problem(t); !strings.Contains(p.Detail, "plan.png: image/png is not read") {
		t.Errorf("of a picture came %+v", p)
	}
	c := h.signedIn()
	texts := map[int]string{
		http.StatusSeeOther: strings.Repeat("soup\n", 20_000), http.StatusUnprocessableEntity: "MZ\x00\x01", http.StatusRequestEntityTooLarge: strings.Repeat("soup\n", 5_000_000),
	}
	for file, want := range map[string]int{
		"Dishes.txt": http.StatusSeeOther, "dishes.exe": http.StatusUnprocessableEntity, "all-dishes.txt": http.StatusRequestEntityTooLarge,
	} {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		must(t, w.WriteField("kind", "markdown"))
		part, err := w.CreateFormFile("file", file)
		must(t, err)
		fmt.Fprint(part, texts[want])
		must(t, w.Close())
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+"/knowledge", &form)
		must(t, err)
		q.Header.Set("Content-Type", w.FormDataContentType())
		if a := h.do(c, q); a.status != want {
			t.Errorf("%s answered %d: %s", file, a.status, a.body)
		}
	}
	contains(t, h.page(c, "/knowledge", http.StatusOK), "Dishes", "example.com/prices")
}

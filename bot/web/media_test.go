package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"frontdesk/bot/web"
	"frontdesk/store"
)

// picture begins as a PNG does.
var picture = "\x89PNG\r\n\x1a\n" + strings.Repeat("frontdesk", 100)

// upload sends a body to POST /files.
func (h *house) upload(body, kind, query string) answer {
	h.t.Helper()
	q, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.server.URL+"/api/v1/files"+query, strings.NewReader(body))
	must(h.t, err)
	q.Header.Set("X-Api-Key", h.tokens[store.RoleAgent])
	q.Header.Set("Content-Type", kind)
	return h.do(http.DefaultClient, q)
}

func fileIn(t *testing.T, a answer) web.File {
	t.Helper()
	var f web.File
	if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.status != http.StatusCreated {
		t.Fatalf("an upload answered %d: %s", a.status, a.body)
	}
	return f
}

func TestFileIsUploadedSentAndHandedOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	f := fileIn(t, h.upload(picture, "application/octet-stream", "?name=../plan.png"))
	if f.Mime != "image/png" || f.Name != "plan.png" || f.Bytes != int64(len(picture)) {
		t.Errorf("the file is %+v", f)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "note.txt")
	must(t, err)
	fmt.Fprint(part, "hello")
	must(t, w.Close())
	if note := fileIn(t, h.upload(form.String(), w.FormDataContentType(), "")); note.Name != "note.txt" || !strings.HasPrefix(note.Mime, "text/plain") {
		t.Errorf("the file of a form is %+v", note)
	}
	back := h.call(h.tokens[store.RoleViewer], http.MethodGet, fmt.Sprint("/api/v1/files/", f.ID), "")
	if back.body != strings.TrimSpace(picture) || back.header.Get("Content-Type") != "image/png" || back.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the file came back as %d bytes of %s", len(back.body), back.header.Get("Content-Type"))
	}
	sent := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/messages", account),
		fmt.Sprintf(`{"to":"+12025550122","text":"the plan","media":{"file_id":%d}}`, f.ID))
	if sent.status != http.StatusAccepted {
		t.Fatalf("sending answered %d: %s", sent.status, sent.body)
	}
	c, err := h.store.Conversations(t.Context(), account, 0, store.Page{Limit: 1})
	must(t, err)
	m, err := h.store.Messages(t.Context(), c[0].ID, store.MessagePage{Limit: 1})
	must(t, err)
	if m[0].Kind != "image" || *m[0].FileID != f.ID || m[0].Body != "the plan" {
		t.Errorf("queued %+v", m[0])
	}
}

func TestWrongFilesAreRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	if p := h.upload("", "application/octet-stream", "").problem(t); p.Code != "no_file" {
		t.Errorf("an empty file gives %+v", p)
	}
	if p := h.upload(strings.Repeat("x", 64<<20+1), "application/octet-stream", "").problem(t); p.Code != "file_too_large" || p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a file of more than 64 MiB gives %+v", p)
	}
	f := fileIn(t, h.upload(picture, "image/png", ""))
	for body, code := range map[string]string{
		`{"to":"+12025550122"}`:                                                            "no_text",
		`{"to":"+12025550122","media":{}}`:                                                 "no_file",
		`{"to":"+12025550122","media":{"file_id":4711}}`:                                   "no_such_file",
		`{"to":"+12025550122","media":{"url":"http://127.0.0.1/secret"}}`:                  "no_such_url",
		fmt.Sprintf(`{"to":"+12025550122","media":{"file_id":%d,"kind":"voice"}}`, f.ID):   "no_voice",
		fmt.Sprintf(`{"to":"+12025550122","media":{"file_id":%d,"kind":"sticker"}}`, f.ID): "wrong_kind",
		`{"to":"+12025550122","text":"a","react":{"wa_id":"X"},"delete":{"wa_id":"X"}}`:    "too_much",
		`{"to":"+12025550122","text":"👍","react":{"wa_id":"X"}}`:                           "no_such_message",
	} {
		p := h.admin(http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/messages", account), body).problem(t)
		if p.Code != code || p.Detail == "" {
			t.Errorf("%s gives %s: %s, want %s", body, p.Code, p.Detail, code)
		}
	}
	if n, err := h.store.PendingOutbound(t.Context()); err != nil || n != 0 {
		t.Errorf("%d messages were queued all the same, %v", n, err)
	}
}

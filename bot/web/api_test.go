package web_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/web"
	"frontdesk/store"
)

var update = flag.Bool("update", false, "write the description of the API anew")

const described = "testdata/openapi.json"

func TestDescriptionOfTheAPIIsCurrent(t *testing.T) {
	t.Parallel()
	var document map[string]any
	text, err := web.OpenAPI("")
	must(t, err)
	must(t, json.Unmarshal(text, &document))
	pretty, err := json.MarshalIndent(document, "", "  ")
	must(t, err)
	pretty = append(pretty, '\n')
	if *update {
		must(t, os.WriteFile(described, pretty, 0o600))
	}
	kept, err := os.ReadFile(described)
	must(t, err)
	if string(kept) != string(pretty) {
		t.Fatal("testdata/openapi.json is not what the code describes; run make generate and look at the difference")
	}
}

// operation is one route of the description with the role it names.
type operation struct {
	method, path string
	role         store.Role
}

func operations(t *testing.T) []operation {
	t.Helper()
	text, err := web.OpenAPI("")
	must(t, err)
	var document struct {
		Paths map[string]map[string]struct{ Description string }
	}
	must(t, json.Unmarshal(text, &document))
	var all []operation
	for path, methods := range document.Paths {
		for method, o := range methods {
			role, _, _ := strings.Cut(strings.TrimPrefix(o.Description, "Role: "), " ")
			all = append(all, operation{strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "999"), store.Role(role)})
		}
	}
	return all
}

func TestEveryRouteLetsInItsRoleAndStrongerOnesOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	roles := []store.Role{store.RoleViewer, store.RoleAgent, store.RoleAdmin, store.RoleOwner}
	all := append(operations(t), operation{http.MethodGet, "/metrics", store.RoleViewer})
	if len(all) < 20 {
		t.Fatalf("only %d routes are described", len(all))
	}
	for _, o := range all {
		if a := h.call("", o.method, o.path, ""); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token answered %d", o.method, o.path, a.status)
		}
		if a := h.call("fd_unknown", o.method, o.path, ""); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s with a wrong token answered %d", o.method, o.path, a.status)
		}
		for _, role := range roles {
			a := h.call(h.tokens[role], o.method, o.path, "")
			let, may := a.status != http.StatusForbidden && a.status != http.StatusUnauthorized, slices.Index(roles, role) >= slices.Index(roles, o.role)
			if let != may {
				t.Errorf("%s %s answered %d to %s; it is for %s", o.method, o.path, a.status, role, o.role)
			}
		}
	}
}

func TestErrorsAreProblemsThatSayWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	fresh, err := h.store.AddAccount(t.Context(), store.KindWhatsApp, "New", 100)
	must(t, err)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no such route":     {http.MethodGet, "/api/v1/nothing", "", 404, "no_such_route"},
		"no such account":   {http.MethodGet, "/api/v1/accounts/999", "", 404, "not_found"},
		"not JSON":          {http.MethodPost, "/api/v1/accounts", "{", 400, "bad_request"},
		"an empty name":     {http.MethodPost, "/api/v1/accounts", `{"name":""}`, 422, "invalid"},
		"unknown fields":    {http.MethodPost, "/api/v1/accounts", `{"name":"x","colour":"red"}`, 422, "invalid"},
		"a long debounce":   {http.MethodPatch, fmt.Sprint("/api/v1/accounts/", account), `{"debounce_ms":10001}`, 422, "invalid"},
		"a strange address": {http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/messages", account), `{"to":"somebody","text":"hi"}`, 422, "bad_recipient"},
		"not paired":        {http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/messages", fresh.ID), `{"to":"12025550122","text":"hi"}`, 409, "not_paired"},
		"paired already":    {http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/qr", account), "", 409, "already_paired"},
		"a strange cursor":  {http.MethodGet, "/api/v1/conversations?after=x", "", 422, "bad_cursor"},
		"a strange URL":     {http.MethodPost, "/api/v1/providers", `{"name":"x","base_url":"nowhere","model":"m"}`, 422, "invalid"},
	} {
		a := h.admin(c.method, c.path, c.body)
		if p := a.problem(t); a.status != c.status || p.Status != c.status || p.Code != c.code || p.Detail == "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestFailureOfTheInsideIsAReferenceOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.Close()
	a := h.admin(http.MethodGet, "/api/v1/accounts", "")
	if p := a.problem(t); a.status != http.StatusInternalServerError || p.Reference == "" || strings.Contains(a.body, "pool") {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func TestCodeComesInTheFormThatIsAskedFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, err := h.store.AddAccount(t.Context(), store.KindWhatsApp, "New", 100)
	must(t, err)
	path := fmt.Sprintf("/api/v1/accounts/%d/qr", a.ID)
	_, err = h.store.WantPairing(t.Context(), a.ID, time.Minute)
	must(t, err)
	must(t, h.store.OfferPairing(t.Context(), a.ID, "2@code,noise,identity,secret", time.Minute))

	if got := h.admin(http.MethodGet, path, "", "Accept", "text/plain"); got.body != "2@code,noise,identity,secret" {
		t.Errorf("text: %q", got.body)
	}
	if got := h.admin(http.MethodGet, path, "", "Accept", "image/svg+xml"); !strings.HasPrefix(got.body, "<svg") || got.header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("SVG: %q", got.body[:40])
	}
	got := h.admin(http.MethodGet, path, "", "Accept", "image/png")
	if picture, err := png.Decode(strings.NewReader(got.body)); err != nil || picture.Bounds().Dx() < 21 {
		t.Errorf("PNG: %v", err)
	}
	var code web.PairingCode
	must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, path, "", "Accept", "application/json").body), &code))
	if code.Code != "2@code,noise,identity,secret" || time.Until(code.ExpiresAt) < 30*time.Second || code.Renewals != 1 {
		t.Errorf("JSON: %+v", code)
	}
}

func TestMessageIsQueuedOnceForEachIdempotencyKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	path := fmt.Sprintf("/api/v1/accounts/%d/messages", h.paired("12025550111"))
	first := h.admin(http.MethodPost, path, `{"to":"+1 202 555 0122","text":"hi"}`, "Idempotency-Key", "a")
	again := h.admin(http.MethodPost, path, `{"to":"+1 202 555 0122","text":"hi"}`, "Idempotency-Key", "a")
	if first.status != http.StatusAccepted || again.status != http.StatusAccepted || first.body != again.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	other := h.admin(http.MethodPost, path, `{"to":"12025550122","text":"bye"}`, "Idempotency-Key", "a")
	if other.problem(t).Code != "idempotency_key_reused" {
		t.Fatal(other.body)
	}
	if n, err := h.store.PendingOutbound(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d messages are queued: %v", n, err)
	}
}

func TestMessagesComeInPagesWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	_, err := h.store.ResolveContact(t.Context(), "12025550122", "", "")
	must(t, err)
	var conversation int64
	for i := range 7 {
		r, err := h.store.Receive(t.Context(), store.Inbound{AccountID: account, Phone: "12025550122", Chat: "c", WaID: fmt.Sprint(i), Kind: "text", Body: fmt.Sprint("m", i), SentAt: time.Now()})
		must(t, err)
		conversation = r.ConversationID
		_, err = h.store.Answer(t.Context(), store.Reply{ConversationID: conversation, Lo: int64(i), Hi: int64(i + 1), Origin: "bot", Bubbles: []store.Bubble{
			{WaID: fmt.Sprint("a", i), Body: fmt.Sprint("a", i)}, {WaID: fmt.Sprint("b", i), Body: fmt.Sprint("b", i)},
		}})
		must(t, err)
	}
	var texts []string
	for after := ""; ; {
		var page struct {
			Items []web.Message
			Next  string
		}
		must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, fmt.Sprintf("/api/v1/conversations/%d/messages?limit=4&after=%s", conversation, after), "").body), &page))
		var part []string
		for _, m := range page.Items {
			part = append(part, m.Text)
		}
		texts = append(part, texts...)
		if after = page.Next; after == "" {
			break
		}
	}
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprint("m", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	if !slices.Equal(texts, want) {
		t.Fatalf("got %v", texts)
	}
}

func TestPagesGoOnBeyondTheFirstTwoThousandMillion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	for _, path := range []string{
		"/api/v1/conversations?", "/api/v1/contacts?", "/api/v1/alerts?", "/api/v1/audit?", "/api/v1/attempts?", fmt.Sprintf("/api/v1/accounts/%d/history?", account),
	} {
		if got := h.admin(http.MethodGet, path+"after=3000000000", ""); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestAttemptsAreReadWithWhatWentWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	must(t, h.store.NoteAttempts(t.Context(), []store.ProviderAttempt{
		{At: time.Now(), TurnID: 71, Kind: "chat", ProviderID: 3, Provider: "first", Model: "m", Class: "credential", Error: "first refused the API key", Took: 40 * time.Millisecond},
		{At: time.Now(), TurnID: 71, Kind: "chat", ProviderID: 4, Provider: "second", Model: "m", Class: "ok", Took: time.Second, First: new(200 * time.Millisecond), Cost: new(int64(12))},
	}))
	var all, one struct{ Items []web.ProviderAttempt }
	must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, "/api/v1/attempts", "").body), &all))
	must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, "/api/v1/attempts?provider=3", "").body), &one))
	if len(all.Items) != 2 || all.Items[0].TurnID != all.Items[1].TurnID || *all.Items[0].FirstMs != 200 || *all.Items[0].Cost != 12 {
		t.Errorf("all attempts: %+v", all.Items)
	}
	if len(one.Items) != 1 || one.Items[0].Error != "first refused the API key" || one.Items[0].TookMs != 40 {
		t.Errorf("those of one: %+v", one.Items)
	}
}

func TestProviderKeyIsNeverShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	added := h.admin(http.MethodPost, "/api/v1/providers", `{"name":"first","base_url":"https://api.example.org/v1","model":"m","key":"sk-very-secret-9876"}`)
	if added.status != http.StatusCreated {
		t.Fatal(added.body)
	}
	pages := h.signedIn()
	for _, said := range []string{
		added.body, h.admin(http.MethodGet, "/api/v1/providers", "").body, h.visit(pages, http.MethodGet, "/providers", "").body,
		h.visit(pages, http.MethodGet, "/providers/1", "").body,
	} {
		if strings.Contains(said, "very-secret") || !strings.Contains(said, "first") {
			t.Errorf("%s", said)
		}
	}
}

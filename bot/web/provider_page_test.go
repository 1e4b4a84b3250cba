package web_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

func (h *house) provider(p store.Provider) int64 {
	h.t.Helper()
	p.BaseURL, p.Model, p.Active = "https://api.example.org/v1", "m", true
	added, err := h.store.AddProvider(h.t.Context(), p)
	must(h.t, err)
	return added.ID
}

func (h *house) order() (names []string) {
	h.t.Helper()
	all, err := h.store.Providers(h.t.Context())
	must(h.t, err)
	for _, p := range all {
		if !p.Demo {
			names = append(names, p.Name)
		}
	}
	return names
}

func TestProvidersChangePlacesOneByOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.provider(store.Provider{Name: "a", Priority: 5}), h.provider(store.Provider{Name: "b", Priority: 5})
	c := h.provider(store.Provider{Name: "c", Priority: 4})
	pages := h.signedIn()
	for _, move := range []struct {
		id   int64
		way  string
		want string
	}{
		{c, "up", "[a c b]"}, {b, "up", "[a b c]"}, {a, "up", "[a b c]"}, {a, "down", "[b a c]"}, {c, "down", "[b a c]"}, {b, "down", "[a b c]"},
	} {
		if answer := h.visit(pages, http.MethodPost, fmt.Sprintf("/providers/%d/%s", move.id, move.way), ""); answer.status != http.StatusSeeOther {
			t.Fatalf("moving answered %d: %s", answer.status, answer.body)
		}
		if got := fmt.Sprint(h.order()); got != move.want {
			t.Errorf("after %d went %s: %s, want %s", move.id, move.way, got, move.want)
		}
	}
	log, err := h.store.AuditLog(t.Context(), fmt.Sprint("provider:", c), store.Page{Limit: 10})
	must(t, err)
	if len(log) != 2 || log[0].Action != "provider.move" {
		t.Errorf("the audit log holds %+v", log)
	}
}

func TestProviderFormSavesEveryFieldAndShowsItAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pages, id := h.signedIn(), h.provider(store.Provider{Name: "a"})
	at := fmt.Sprint("/providers/", id)
	form := url.Values{
		"name": {"Second"}, "base_url": {"https://api.example.org/v2"}, "model": {"large"}, "key": {"sk-very-secret-9876"}, "active": {"on"},
		"capability": {"streaming", "vision"}, "request_limit": {"100"}, "token_limit": {"5000"}, "cost_limit": {"2.50"}, "reset_tz": {"Europe/Madrid"},
		"input_price": {"0,15"}, "output_price": {"0.6"}, "priority": {"-3"}, "weight": {"2"}, "requests_per_minute": {"30"}, "concurrency": {"4"},
		"pools": {"europe, cheap"}, "context_tokens": {"32000"}, "max_output_tokens": {"700"}, "timeout": {"25"}, "temperature": {"0.3"},
		"param_style": {"reasoning"}, "answer_filtered": {"on"},
	}
	if a := h.visit(pages, http.MethodPost, at, form.Encode()); a.status != http.StatusSeeOther {
		t.Fatalf("saving answered %d: %s", a.status, a.body)
	}
	p, err := h.store.Provider(t.Context(), id)
	must(t, err)
	if p.Name != "Second" || p.BaseURL != "https://api.example.org/v2" || p.Model != "large" || p.KeyHint != "9876" || !p.Active ||
		!slices.Equal(p.Capabilities, []string{"streaming", "vision"}) || *p.RequestLimit != 100 || *p.TokenLimit != 5000 || *p.CostLimit != 2_500_000 ||
		p.ResetTZ != "Europe/Madrid" || *p.InputPrice != 150_000 || *p.OutputPrice != 600_000 || p.Priority != -3 || p.Weight != 2 ||
		*p.RequestsPerMinute != 30 || *p.Concurrency != 4 || !slices.Equal(p.Pools, []string{"europe", "cheap"}) || p.ContextTokens != 32000 ||
		p.MaxOutputTokens != 700 || p.TimeoutMs != 25_000 || *p.Temperature != 0.3 || p.ParamStyle != "reasoning" || !p.AnswerFiltered {
		t.Errorf("saved: %+v", p)
	}
	page := h.page(pages, at, http.StatusOK)
	contains(t, page, `value="0.15"`, `value="2.5"`, `value="europe, cheap"`, `value="25"`, "ends in 9876", "0 of 100 calls", "0 of 5000 tokens", "0 of 2.5 spent")
	lacks(t, page, "very-secret")
	for field, wrong := range map[string]struct{ typed, said string }{
		"request_limit": {"many", "calls a day"}, "input_price": {"cheap", "such as 0.15"}, "temperature": {"9", "from 0 to 2"},
		"capability": {"flying", "flying"}, "reset_tz": {"Nowhere/Town", "time zone"}, "output_price": {"", "both prices"},
	} {
		bad := maps.Clone(form)
		bad[field] = []string{wrong.typed}
		bad["name"] = []string{"Kept as typed"}
		a := h.visit(pages, http.MethodPost, at, bad.Encode())
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s %q answered %d", field, wrong.typed, a.status)
		}
		contains(t, a.body, wrong.said, "Kept as typed")
	}
	if p, _ := h.store.Provider(t.Context(), id); p.Name != "Second" {
		t.Error("a wrong form was saved")
	}
}

func TestEveryPresetFillsTheFormAndCanBeKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pages := h.signedIn()
	contains(t, h.page(pages, "/providers/new", http.StatusOK), "Begin with a well-known service", "Ollama", "gpt-4o-mini")
	contains(t, h.page(pages, "/providers/new?preset=groq&model=llama-3.1-8b-instant", http.StatusOK),
		`value="https://api.groq.com/openai/v1"`, `value="llama-3.1-8b-instant"`, `value="0.05"`, "console.groq.com")
	var listed struct {
		AsOf  string `json:"as_of"`
		Items []providers.Preset
	}
	must(t, json.Unmarshal([]byte(h.admin(http.MethodGet, "/api/v1/providers/presets", "").body), &listed))
	all, asOf := providers.Presets()
	if len(listed.Items) != len(all) || listed.AsOf != asOf {
		t.Errorf("%d presets of %q are listed", len(listed.Items), listed.AsOf)
	}
	for _, p := range all {
		models := p.Models
		if p.Local {
			models = []providers.PresetModel{{Model: "any"}}
		}
		for _, m := range models {
			kept := p.Provider(m.Model)
			kept.Name = fmt.Sprint(p.ID, " ", m.Model)
			if _, err := h.store.AddProvider(t.Context(), kept); err != nil {
				t.Errorf("%s %s: %v", p.Name, m.Model, err)
			}
		}
	}
}

func TestProviderPageShowsItsCallsAndWhatWentWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pages, id := h.signedIn(), h.provider(store.Provider{Name: "a", RequestLimit: new(int64(4))})
	at := fmt.Sprint("/providers/", id)
	contains(t, h.page(pages, at, http.StatusOK), "None yet")
	var calls []store.ProviderAttempt
	for range 21 {
		calls = append(calls, store.ProviderAttempt{
			At: time.Now(), TurnID: 1, Kind: "chat", ProviderID: id, Provider: "a", Model: "m", Class: "credential", Error: "a refused the API key",
			Took: 1500 * time.Millisecond, ConversationID: new(int64(7)),
		})
	}
	must(t, h.store.NoteAttempts(t.Context(), calls))
	must(t, h.store.BookUsage(t.Context(), []store.Usage{{ProviderID: id, Requests: 3, PromptTokens: 30, CompletionTokens: 12}}))
	contains(t, h.page(pages, at+"/live", http.StatusOK), "key refused", "a refused the API key", "in 1.5 s", "/conversations/7", "3 of 4 calls", "3 calls, 42 tokens", "All calls")
	contains(t, h.page(pages, at+"/attempts", http.StatusOK), "key refused")
	contains(t, h.page(h.as(store.RoleViewer), "/providers", http.StatusOK), "3 of 4 calls")
	lacks(t, h.page(h.as(store.RoleViewer), "/providers", http.StatusOK), "Ask earlier", "Add a provider")
}

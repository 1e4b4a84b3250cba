package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"frontdesk/store"
)

// settings is an account's form as the page sends it unchanged.
func settings(change ...string) string {
	form := url.Values{
		"name": {"Front desk"}, "persona": {"A calm hotel"}, "debounce_ms": {"1500"}, "fallback": {"later"}, "fallback_text": {""},
		"call_text": {"Please write to us."}, "presence": {"on"}, "pace_account": {"30"}, "pace_recipient": {"0"}, "new_chats_per_day": {""},
	}
	for i := 0; i < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return form.Encode()
}

func TestSettingsAreSavedAndShownAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id := h.signedIn(), h.paired("12025550111")
	at := fmt.Sprint("/accounts/", id)
	contains(t, h.push(owner, at, settings("new_chats_per_day", "7")), "Saved.", "Please write to us.", `value="30"`, `value="7"`, `name="presence" checked`)
	a, err := h.store.Account(t.Context(), id)
	must(t, err)
	if a.PaceAccount != 30 || a.PaceRecipient != 0 || a.CallText != "Please write to us." || !a.Presence || a.NewChatsPerDay == nil || *a.NewChatsPerDay != 7 {
		t.Errorf("saved %+v", a)
	}
	h.push(owner, at, settings())
	if a, err = h.store.Account(t.Context(), id); err != nil || a.NewChatsPerDay != nil {
		t.Errorf("an empty field keeps %v: %v", a.NewChatsPerDay, err)
	}
}

func TestWrongSettingsSayWhatIsWrongAndKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id := h.signedIn(), h.paired("12025550111")
	for field, typed := range map[string]string{"name": " ", "debounce_ms": "soon", "pace_account": "601", "pace_recipient": "-1", "new_chats_per_day": "10001", "proxy": "nowhere"} {
		a := h.visit(owner, http.MethodPost, fmt.Sprint("/accounts/", id), settings("persona", "Typed with care", field, typed))
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s=%q answered %d", field, typed, a.status)
		}
		contains(t, a.body, `role="alert"`, "Typed with care")
	}
	if a, err := h.store.Account(t.Context(), id); err != nil || a.Persona == "Typed with care" {
		t.Errorf("half of a wrong form was saved: %v", err)
	}
}

func TestProxyIsWrittenAndRemovedButNeverShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id := h.signedIn(), h.paired("12025550111")
	at := fmt.Sprint("/accounts/", id)
	contains(t, h.page(owner, at, http.StatusOK), "Direct")
	saved := h.push(owner, at, settings("proxy", "socks5://desk:hush@proxy.example:1080"))
	contains(t, saved, "socks5://proxy.example:1080", "Remove the proxy", "Changed its way to WhatsApp")
	lacks(t, saved, "hush")
	lacks(t, h.push(owner, at, settings()), "Direct\n") // an empty field changes nothing
	if a, err := h.store.Account(t.Context(), id); err != nil || a.ProxyHint == "" {
		t.Fatalf("the proxy went away by itself: %v", err)
	}
	lacks(t, h.push(owner, at, settings("no_proxy", "on")), "proxy.example")
}

func TestAccountSaysWhatIsWrongSinceWhenAndWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id, ctx := h.paired("12025550111"), t.Context()
	must(t, h.store.NoteProgress(ctx, map[int64]time.Time{id: time.Now().Add(-3*time.Minute - 5*time.Second)}))
	must(t, h.store.Restrict(ctx, id, store.NoNewChats, time.Now().Add(time.Hour)))
	must(t, h.store.SetStatus(ctx, id, "", store.StatusRestricted, "WhatsApp limits new chats"))
	page := h.page(h.as(store.RoleViewer), fmt.Sprint("/accounts/", id), http.StatusOK)
	contains(t, page, "WhatsApp limits new chats", "3 minutes ago", "begin no new chats", "until", "Next step", "wait with new chats", "Status history")
	contains(t, h.page(h.as(store.RoleViewer), "/accounts", http.StatusOK), "begin no new chats", "until")
}

func TestStatusHistoryShowsTwentyAndLeadsToOlder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.paired("12025550111")
	for i := range 30 {
		must(t, h.store.SetStatus(t.Context(), id, "", store.StatusStopped, fmt.Sprintf("cause %02d.", i)))
	}
	viewer := h.as(store.RoleViewer)
	page := h.page(viewer, fmt.Sprint("/accounts/", id), http.StatusOK)
	contains(t, page, "cause 29.", "cause 10.", "/history?after=")
	lacks(t, page, "cause 09.")
	_, rest, _ := strings.Cut(page, "/history?after=")
	after, _, _ := strings.Cut(rest, `"`)
	older := h.page(viewer, fmt.Sprintf("/accounts/%d/history?after=%s", id, after), http.StatusOK)
	contains(t, older, "cause 09.", "cause 00.")
	lacks(t, older, "cause 10.")
}

func TestListOfAccountsShowsAlertsUntilTheyAreSeen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id, ctx := h.paired("12025550111"), t.Context()
	must(t, h.store.SetStatus(ctx, id, "", store.StatusLoggedOut, "The phone removed this device"))
	alerts, err := h.store.Alerts(ctx, false, store.Page{Limit: 5})
	if err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts: %v", len(alerts), err)
	}
	seen := fmt.Sprintf("/alerts/%d/seen", alerts[0].ID)
	viewer, agent := h.as(store.RoleViewer), h.as(store.RoleAgent)
	said := h.page(viewer, "/accounts", http.StatusOK)
	contains(t, said, "Needs a look", "Front desk: The phone removed this device", "logged out", "+12025550111", `hx-trigger="every 3s"`)
	lacks(t, said, seen, "Add an account")
	if a := h.visit(viewer, http.MethodPost, seen, ""); a.status != http.StatusForbidden {
		t.Errorf("a viewer may see to alerts: %d", a.status)
	}
	contains(t, h.page(agent, "/accounts/live", http.StatusOK), seen)
	after := h.push(agent, seen, "")
	contains(t, after, "seen a moment ago")
	lacks(t, after, seen)
}

func TestProcessesSayWhoLivesAndWhatWaits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.unpaired()
	viewer := h.as(store.RoleViewer)
	contains(t, h.page(viewer, "/accounts", http.StatusOK), `href="/processes"`)
	contains(t, h.page(viewer, "/processes", http.StatusOK), "1 account waits for a place.", "FRONTDESK_LIMIT_ACCOUNTS", `aria-current`)
	_, err := h.store.RenewLeases(t.Context(), store.Process{ID: "p1", Kind: store.KindWhatsApp, Cap: 100, Host: "desk-1", Version: "1.2.3"}, time.Minute)
	must(t, err)
	contains(t, h.page(viewer, "/processes/live", http.StatusOK), "desk-1", "1.2.3", "1 of 100", "Last heartbeat", ">live<", "Every account has its place.")
}

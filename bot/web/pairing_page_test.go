package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"frontdesk/store"
)

const qrText = "2@the,code,to,scan"

// unpaired is an account that waits for a phone.
func (h *house) unpaired() int64 {
	h.t.Helper()
	a, err := h.store.AddAccount(h.t.Context(), store.KindWhatsApp, "New desk", 100)
	must(h.t, err)
	return a.ID
}

// as is a browser whose session has that role.
func (h *house) as(role store.Role) *http.Client {
	h.t.Helper()
	h.gate.role = role
	defer func() { h.gate.role = "" }()
	return h.signedIn()
}

// page visits and wants that status.
func (h *house) page(c *http.Client, path string, status int) string {
	h.t.Helper()
	a := h.visit(c, http.MethodGet, path, "")
	if a.status != status {
		h.t.Fatalf("%s answered %d, want %d: %s", path, a.status, status, a.body)
	}
	if strings.Contains(a.body, "style=") || strings.Contains(a.body, "<script>") {
		h.t.Errorf("%s has something inline that its policy forbids", path)
	}
	return a.body
}

// push presses a button and follows to the page behind it.
func (h *house) push(c *http.Client, path, form string) string {
	h.t.Helper()
	a := h.visit(c, http.MethodPost, path, form)
	if a.status != http.StatusSeeOther {
		h.t.Fatalf("%s answered %d: %s", path, a.status, a.body)
	}
	return h.page(c, a.header.Get("Location"), http.StatusOK)
}

func contains(t *testing.T, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(page, w) {
			t.Errorf("the page does not say %q:\n%s", w, page)
		}
	}
}

func lacks(t *testing.T, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(page, w) {
			t.Errorf("the page says %q:\n%s", w, page)
		}
	}
}

func TestWizardShowsCodesToScanAndToTypeAndCanBeCancelled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id, ctx := h.signedIn(), h.unpaired(), t.Context()
	at := fmt.Sprint("/accounts/", id)
	contains(t, h.page(owner, at, http.StatusOK), "Asking WhatsApp for a code", "Use a code instead", "Cancel")
	must(t, h.store.OfferPairing(ctx, id, qrText, time.Minute))
	contains(t, h.page(owner, at+"/live", http.StatusOK), "<svg", "Scan this code", `role="timer"`)

	contains(t, h.push(owner, at+"/typed", "phone=%2B1+202+555+0123"), "Type this code on the phone +12025550123", "On Android", "On an iPhone")
	must(t, h.store.OfferTypedCode(ctx, id, "ABCD-EFGH", 160*time.Second))
	shown := h.page(owner, at+"/live", http.StatusOK)
	contains(t, shown, "ABCD-EFGH")
	if !regexp.MustCompile(`role="timer"[^>]*>[^<]*[12]:[0-5]\d`).MatchString(shown) {
		t.Errorf("the page does not say how long the code is good: %s", shown)
	}

	must(t, h.store.PairingProblem(ctx, id, "WhatsApp gave no code for this number"))
	contains(t, h.page(owner, at+"/live", http.StatusOK), "WhatsApp gave no code for this number")
	lacks(t, h.push(owner, at+"/code", ""), "WhatsApp gave no code for this number")

	contains(t, h.push(owner, at+"/cancel", ""), "Cancelled. No code is shown.", "Show a code")
	if _, err := h.store.PairingNow(ctx, id); err == nil {
		t.Error("cancelled, but codes are still asked for")
	}
	contains(t, h.push(owner, at+"/code", ""), "Asking WhatsApp for a code")
}

func TestPageThatIsLeftAloneLetsTheCodeExpire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id := h.signedIn(), h.unpaired()
	contains(t, h.page(owner, fmt.Sprintf("/accounts/%d/live", id), http.StatusOK), "The code has expired.", "Show a new one")
	if _, err := h.store.PairingNow(t.Context(), id); err == nil {
		t.Error("a page that only renews itself asks for codes")
	}
}

func TestOnlyAdminsSeeTheWizard(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at := fmt.Sprint("/accounts/", h.unpaired())
	for _, role := range []store.Role{store.RoleViewer, store.RoleAgent} {
		c := h.as(role)
		lacks(t, h.page(c, at, http.StatusOK), "Use a code instead", "Let somebody else pair it", "<textarea", "Who did what")
		for _, action := range []string{"code", "typed", "cancel", "passkey", "same", "share", "withdraw"} {
			if a := h.visit(c, http.MethodPost, at+"/"+action, "phone=12025550123&minutes=60"); a.status != http.StatusForbidden {
				t.Errorf("a %s may %s: %d", role, action, a.status)
			}
		}
	}
	contains(t, h.page(h.as(store.RoleAdmin), at, http.StatusOK), "Use a code instead", "Let somebody else pair it", "Who did what")
}

func TestTypedCodeIsRefusedForWhatIsNoNumber(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at := fmt.Sprint("/accounts/", h.unpaired())
	a := h.visit(h.signedIn(), http.MethodPost, at+"/typed", "phone=my+phone")
	if a.status != http.StatusUnprocessableEntity {
		t.Fatalf("answered %d", a.status)
	}
	contains(t, a.body, `value="my phone"`, `role="alert"`, "no phone number")
}

func TestWizardTakesAPasskeyAndTheComparisonOfCodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, id, ctx := h.signedIn(), h.unpaired(), t.Context()
	at := fmt.Sprint("/accounts/", id)
	h.page(owner, at, http.StatusOK)
	must(t, h.store.AskPasskey(ctx, id, []byte(`{"challenge":"AAAA","rpId":"whatsapp.com"}`)))
	contains(t, h.page(owner, at, http.StatusOK), "The phone asks for a passkey", "data-passkey=", "/assets/passkey.js")
	contains(t, h.push(owner, at+"/passkey", `credential={"id":"x"}`), "WhatsApp checks the passkey")
	p, err := h.store.PairingNow(ctx, id)
	if err != nil || !strings.Contains(string(p.PasskeyResponse), `"x"`) {
		t.Fatalf("%s %v", p.PasskeyResponse, err)
	}
	must(t, h.store.ShowPasskeyCode(ctx, id, "K7Q2"))
	contains(t, h.page(owner, at+"/live", http.StatusOK), "K7Q2", "The phone shows the same code")
	h.push(owner, at+"/same", "")
	if p, err = h.store.PairingNow(ctx, id); err != nil || !p.PasskeyConfirmed {
		t.Fatalf("not confirmed: %v", err)
	}
}

func TestLoggedOutAccountSaysThatConversationsAreKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.paired("12025550111")
	must(t, h.store.ClearIdentity(t.Context(), id))
	must(t, h.store.SetStatus(t.Context(), id, "", store.StatusLoggedOut, "The phone removed this device"))
	contains(t, h.page(h.signedIn(), fmt.Sprint("/accounts/", id), http.StatusOK), "Conversations are kept", "The phone removed this device", "Use a code instead")
}

func TestSharedLinkPairsOneAccountWithoutASignInAndEndsWithIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner, guest, id, ctx := h.signedIn(), browser(t), h.unpaired(), t.Context()
	at := fmt.Sprint("/accounts/", id)
	made := h.visit(owner, http.MethodPost, at+"/share", "minutes=60")
	link := regexp.MustCompile(`/pair/[^"]+`).FindString(made.body)
	if made.status != http.StatusOK || link == "" {
		t.Fatalf("no link: %d %s", made.status, made.body)
	}
	contains(t, made.body, "shown this once", "data-copy", "Withdraw")
	lacks(t, h.page(owner, at, http.StatusOK), link)

	shown := h.page(guest, link, http.StatusOK)
	contains(t, shown, "noindex", "New desk", "Use a code instead", "This page works until")
	lacks(t, shown, "/accounts", "Sign out", "<nav")
	contains(t, h.push(guest, link+"/typed", "phone=12025550123"), "Type this code on the phone +12025550123")
	if a := h.visit(guest, http.MethodGet, at, ""); a.header.Get("Location") != "/sign-in" {
		t.Errorf("the guest may see more: %d", a.status)
	}
	if a := h.visit(guest, http.MethodPost, link+"/remove", ""); a.status != http.StatusNotFound {
		t.Errorf("the guest may do more: %d", a.status)
	}

	must(t, h.store.SetIdentity(ctx, id, "12025550123:1@s.whatsapp.net", "12025550123", ""))
	done := h.page(guest, link+"/live", http.StatusOK)
	contains(t, done, "Linked. You can close this page.")
	lacks(t, done, "hx-get", "12025550123")
	contains(t, h.page(guest, link, http.StatusNotFound), "no longer good")
	must(t, h.store.ClearIdentity(ctx, id))
	h.page(guest, link, http.StatusNotFound)
}

func TestLinkDiesWithThePairingEvenIfNobodyLooked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.unpaired()
	_, secret, err := h.store.AddPairingLink(t.Context(), id, "test", time.Hour)
	must(t, err)
	must(t, h.store.SetIdentity(t.Context(), id, "12025550123:1@s.whatsapp.net", "12025550123", ""))
	must(t, h.store.ClearIdentity(t.Context(), id))
	for _, path := range []string{"/pair/" + secret, "/pair/" + secret + "/live", "/pair/nonsense"} {
		contains(t, h.page(browser(t), path, http.StatusNotFound), "no longer good")
	}
	if a := h.visit(browser(t), http.MethodPost, "/pair/"+secret+"/code", ""); a.status != http.StatusNotFound {
		t.Errorf("a dead link's button answered %d", a.status)
	}
}

func TestWithdrawnLinkIsNoLongerGood(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.unpaired()
	_, secret, err := h.store.AddPairingLink(t.Context(), id, "test", time.Hour)
	must(t, err)
	page := h.push(h.signedIn(), fmt.Sprintf("/accounts/%d/withdraw", id), "")
	contains(t, page, "Withdrew the links for pairing")
	h.page(browser(t), "/pair/"+secret, http.StatusNotFound)
}

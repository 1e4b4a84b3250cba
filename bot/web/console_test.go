package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSignInLinkWorksOnceAndOnlyByItsButton(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	link, err := h.store.AddSignInLink(t.Context(), time.Hour)
	must(t, err)
	c := browser(t)
	for range 3 { // previews and prefetches spend nothing
		if a := h.visit(c, http.MethodGet, "/sign-in?link="+link, ""); a.status != http.StatusOK || !strings.Contains(a.body, "Enter frontdesk") {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := h.visit(c, http.MethodPost, "/sign-in", "link="+link); a.status != http.StatusSeeOther {
		t.Fatalf("the button answered %d", a.status)
	}
	if a := h.visit(c, http.MethodGet, "/accounts", ""); a.status != http.StatusOK {
		t.Fatalf("signed in, but /accounts answered %d", a.status)
	}
	if a := h.visit(browser(t), http.MethodPost, "/sign-in", "link="+link); a.status != http.StatusForbidden {
		t.Fatalf("the link worked twice: %d", a.status)
	}
	if a := h.visit(c, http.MethodPost, "/sign-out", ""); a.status != http.StatusSeeOther {
		t.Fatalf("signing out answered %d", a.status)
	}
	if a := h.visit(c, http.MethodGet, "/accounts", ""); a.header.Get("Location") != "/sign-in" {
		t.Fatalf("signed out, but /accounts answered %d", a.status)
	}
}

func TestPagesAskStrangersToSignInAndShowThemselvesToOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	account := h.paired("12025550111")
	stranger, owner := browser(t), h.signedIn()
	for _, path := range []string{
		"/accounts", fmt.Sprint("/accounts/", account), fmt.Sprintf("/accounts/%d/live", account), "/conversations", "/providers", "/providers/new",
		"/accounts/live", fmt.Sprintf("/accounts/%d/history", account), "/processes", "/processes/live", "/try", "/try/live",
		"/flows", "/flows?example=order-update", "/executions", "/executions/live",
	} {
		if a := h.visit(stranger, http.MethodGet, path, ""); a.header.Get("Location") != "/sign-in" {
			t.Errorf("%s showed itself to a stranger: %d", path, a.status)
		}
		a := h.visit(owner, http.MethodGet, path, "")
		if a.status != http.StatusOK || strings.Contains(a.body, "style=") {
			t.Errorf("%s answered %d", path, a.status)
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'self'") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s forbids too little: %q", path, policy)
		}
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner := h.signedIn()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+"/accounts", strings.NewReader("name=Evil"))
	must(t, err)
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := h.do(owner, q); a.status != http.StatusForbidden {
		t.Fatalf("answered %d", a.status)
	}
	if accounts, err := h.store.Accounts(t.Context()); err != nil || len(accounts) != 0 {
		t.Fatalf("%d accounts were made: %v", len(accounts), err)
	}
}

func TestWhatACustomerWritesIsTextOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.paired("12025550111")
	a := h.visit(h.signedIn(), http.MethodGet, "/try", "")
	if strings.Contains(a.body, "<b>hello</b>") || !strings.Contains(a.body, "&lt;b&gt;hello&lt;/b&gt;") {
		t.Fatal(a.body)
	}
}

func TestFormKeepsWhatWasTypedAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.visit(h.signedIn(), http.MethodPost, "/providers", "name=My+model&base_url=ftp://x&model=m&priority=1&active=on")
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `value="My model"`) || !strings.Contains(a.body, `role="alert"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

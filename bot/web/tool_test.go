package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"frontdesk/store"
)

func TestToolIsDefinedChangedAndRemovedInTheConsole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.signedIn()
	form := url.Values{
		"name": {"order_status"}, "description": {"The state of an order"}, "method": {"GET"}, "url": {"https://example.com/orders"},
		"parameters": {`{"type": "object"`}, "headers": {"Authorization: Bearer {{secret}}\n"}, "secret": {"sesame"}, "active": {"on"},
	}
	save := func(want int) string {
		t.Helper()
		a := h.visit(c, http.MethodPost, "/tools", form.Encode())
		if a.status != want {
			t.Fatalf("saving answered %d: %s", a.status, a.body)
		}
		return a.body
	}
	contains(t, save(http.StatusUnprocessableEntity), "The arguments are no JSON", "The state of an order", "https://example.com/orders")
	form.Set("parameters", `{"type": "object"}`)
	form.Set("url", "ftp://example.com")
	contains(t, save(http.StatusUnprocessableEntity), "ftp://example.com")
	form.Set("url", "https://example.com/orders")
	form.Set("name", "Order Status")
	contains(t, save(http.StatusUnprocessableEntity), "small letters")
	form.Set("name", "order_status")
	save(http.StatusSeeOther)
	contains(t, save(http.StatusConflict), "order_status") // twice
	tools, err := h.store.Tools(t.Context(), 0)
	must(t, err)
	secret, err := h.store.OpenSecret(tools[0])
	must(t, err)
	if len(tools) != 1 || secret != "sesame" || tools[0].Headers["Authorization"] != "Bearer {{secret}}" || !tools[0].IsActive {
		t.Fatalf("kept %+v", tools)
	}
	page := h.page(c, "/tools", http.StatusOK)
	contains(t, page, "order_status", "Authorization: Bearer {{secret}}", "active")
	if strings.Contains(page, "sesame") {
		t.Error("the page shows the secret")
	}
	form.Set("id", "1")
	form.Del("secret")
	form.Del("active")
	save(http.StatusSeeOther)
	tools, err = h.store.Tools(t.Context(), 0)
	must(t, err)
	if secret, err = h.store.OpenSecret(tools[0]); err != nil || secret != "sesame" || tools[0].IsActive {
		t.Errorf("after a change without a secret: %q, %v, active %t", secret, err, tools[0].IsActive)
	}
	form.Set("forget", "on")
	save(http.StatusSeeOther)
	if tools, err = h.store.Tools(t.Context(), 0); err != nil || tools[0].Secret != nil {
		t.Errorf("the secret was not forgotten: %v", err)
	}
	if a := h.visit(c, http.MethodPost, "/tools/1/remove", ""); a.status != http.StatusSeeOther {
		t.Errorf("removing answered %d", a.status)
	}
	contains(t, h.page(c, "/tools", http.StatusOK), "No tool yet")
	h.page(h.as(store.RoleAgent), "/tools", http.StatusForbidden)
}

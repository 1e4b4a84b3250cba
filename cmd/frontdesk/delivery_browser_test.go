package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestAdminTellsAnotherSystemAndWatchesWhatArrives(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	var ill atomic.Bool
	var calls atomic.Int64
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 || ill.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(shop.Close)
	say := func(words string) {
		evaluated[bool](ctx, t, fmt.Sprintf(`fetch("/try", {method: "POST", body: new URLSearchParams({text: %q})}) && true`, words))
	}
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/deliveries"), chromedp.SendKeys(chromedp.CSS("input[name=label]"), "Shop"),
		chromedp.SendKeys(chromedp.CSS("input[name=url]"), shop.URL+"/hooks/frontdesk"), chromedp.Click(chromedp.CSS("input[value='message.*']")),
		chromedp.Click(chromedp.CSS("#new form > button")), chromedp.WaitVisible(chromedp.CSS("#made-secret")),
	))
	for _, width := range []int64{360, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("delivery-secret-%d.jpg", width))
	}
	press(ctx, t, "#subscriptions h2 a")
	page := evaluated[string](ctx, t, `location.pathname`)
	say("Are you open on Sunday?")
	failed, arrived := shown(ctx, t, "#deliveries", "the receiver answered 500"), shown(ctx, t, "#deliveries", "The receiver answered 200") // five seconds later
	eventually(t, time.Minute, "the first failure to be shown by itself", func() bool { return failed() || arrived() })
	eventually(t, time.Minute, "the delivery to be shown by itself", arrived)
	press(ctx, t, "#deliveries .steps button")
	eventually(t, time.Minute, "all to arrive", shown(ctx, t, "#deliveries", "Nothing waits."))
	ill.Store(true)
	say("And on Monday?")
	eventually(t, time.Minute, "a failure beside what arrived", shown(ctx, t, "#deliveries", "Nothing has arrived since"))
	var other item
	r.api(http.MethodPost, "/api/v1/subscriptions", map[string]any{
		"url": "https://hooks.a-service-with-a-rather-long-name.eu-central-1.shops.example/frontdesk", "events": []string{"conversation.answered_by_person", "*"},
	}, &other)
	for _, path := range []string{"/deliveries", page, page + "?status=dead", fmt.Sprint("/deliveries/", other.ID), "/flows", "/accounts"} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(360, 844), chromedp.Navigate(r.address+path)))
		evaluated[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true) || true`)
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 360 {
			t.Errorf("%s is %d pixels wide on a phone of 360", path, width)
		}
		picture(ctx, t, fmt.Sprintf("delivery-open-%s-360.jpg", strings.NewReplacer("/", "-", "?", "-").Replace(path)))
	}
	shoot(ctx, t, r, "/deliveries", page, "/flows", "/accounts")
}

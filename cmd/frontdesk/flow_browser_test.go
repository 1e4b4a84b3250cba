package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestAdminMendsAFlowTriesItAndLooksAtItsExecution(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	shown := func(where, words string) func() bool {
		return func() bool {
			return strings.Contains(evaluated[string](ctx, t, fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, where)), words)
		}
	}
	eventually(t, time.Minute, "the sandbox's examples", func() bool {
		must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/flows")))
		return shown("main", "order-update")()
	})
	const definition = "textarea[name=definition]"
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/flows?example=order-update"), chromedp.WaitVisible(chromedp.CSS(definition))))
	text := evaluated[string](ctx, t, `document.querySelector("`+definition+`").value`)
	must(t, chromedp.Do(ctx,
		chromedp.SetValue(chromedp.CSS(definition), strings.Replace(text, "steps.told.wa_id", "steps.tell.wa_id", 1)),
		chromedp.Click(chromedp.CSS("#new form > .beside button")), chromedp.WaitVisible(chromedp.CSS("#new .problems")),
	))
	if !shown("#new .problems", "/steps/2/body/wa_id")() || !strings.Contains(evaluated[string](ctx, t, `document.querySelector("`+definition+`").value`), "steps.tell.wa_id") {
		t.Errorf("the page says %q", evaluated[string](ctx, t, `document.querySelector("#new").textContent`))
	}
	for _, width := range []int64{390, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("flow-problems-%d.jpg", width))
	}
	must(t, chromedp.Do(ctx,
		chromedp.SetValue(chromedp.CSS(definition), text), chromedp.Click(chromedp.CSS("#new form > .beside button")),
		chromedp.WaitVisible(chromedp.CSS("#try")), chromedp.Click(chromedp.CSS("#try form button")), chromedp.WaitVisible(chromedp.CSS("#tried .steps")),
	))
	eventually(t, time.Minute, "the steps to complete", shown("#tried", "It is done."))
	for _, words := range []string{"told", "known", "answer", "completed"} {
		if !shown("#tried .steps", words)() {
			t.Errorf("the steps do not show %q", words)
		}
	}
	eventually(t, time.Minute, "the list of executions to renew itself", shown("#executions", "completed"))
	page := evaluated[string](ctx, t, `location.pathname`)
	for _, width := range []int64{390, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("flow-tried-%d.jpg", width))
	}
	must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#tried a[href^='/executions/']")), chromedp.WaitVisible(chromedp.CSS("#trigger"))))
	execution := evaluated[string](ctx, t, `location.pathname`)
	must(t, chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#events summary")), chromedp.Click(chromedp.CSS("#trigger summary")), chromedp.Click(chromedp.CSS(".steps details summary"))))
	eventually(t, time.Minute, "the events", shown("#events", "execution.completed"))
	if !shown(".steps details[open]", "Your order order is sent.")() || !shown("#trigger", "+12025550123")() {
		t.Errorf("the page says %q", evaluated[string](ctx, t, `document.querySelector("main").textContent`))
	}
	picture(ctx, t, "execution-open-1200.jpg")
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(360, 844)))
	picture(ctx, t, "execution-open-360.jpg")
	for _, path := range []string{"/flows", "/flows?example=crm-event", page, page + "/versions/1", "/executions?tests=on", execution} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(360, 844), chromedp.Navigate(r.address+path)))
		evaluated[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true) || true`)
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 360 {
			t.Errorf("%s is %d pixels wide on a phone of 360", path, width)
		}
	}
	shoot(ctx, t, r, "/flows", "/flows?example=crm-event", page, "/executions?tests=on", execution)
}

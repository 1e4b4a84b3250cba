package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// newSandbox is frontdesk as a stranger starts it: with the sandbox and the demo.
// The real WhatsApp is out of reach.
func newSandbox(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.env = append(r.env, "FRONTDESK_WHATSAPP_URL=", "FRONTDESK_WHATSAPP_CERT_KEY=", "HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1")
	r.start()
	return r
}

// browse opens a headless browser that ends with the test.
func browse(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.WSURLReadTimeout(time.Minute), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options = append(options, chromedp.ExecPath(path))
			break
		}
	}
	ctx, cancel := chromedp.NewExecAllocator(deadline(t, 5*time.Minute), options...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	return ctx
}

// newCustomer is a sandbox with somebody signed in who is about to write as a customer.
func newCustomer(t *testing.T) (*rig, context.Context) {
	t.Helper()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	eventually(t, time.Minute, "the sandbox's account", func() bool {
		must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/try")))
		return evaluated[bool](ctx, t, `document.querySelector("#text") !== null`)
	})
	return r, ctx
}

// shown says whether a part of the page has these words now.
func shown(ctx context.Context, t *testing.T, where, words string) func() bool {
	return func() bool {
		return strings.Contains(evaluated[string](ctx, t, fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, where)), words)
	}
}

func TestStrangerSignsInAndIsAnsweredOnTryIt(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	answer := `.bubble:not(.out):not(.typing) .text`
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Are you open on Sunday?\r"), chromedp.WaitVisible(chromedp.CSS(answer))))
	if said := evaluated[string](ctx, t, "document.querySelector('"+answer+"').textContent"); !strings.Contains(said, "demo") || !strings.Contains(said, "Are you open on Sunday?") {
		t.Fatalf("the answer was %q", said)
	}
	for _, page := range []string{"/try", "/accounts/1", "/conversations/1", "/providers", "/docs"} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(r.address+page)))
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", page, width)
		}
	}
	shoot(ctx, t, r, "/try", "/processes", "/accounts", "/accounts/1", "/conversations", "/conversations/1", "/providers", "/providers/new", "/docs")
}

func TestRealAccountBesideTheSandboxSaysThatWhatsAppIsOutOfReach(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/accounts"),
		chromedp.SendKeys(chromedp.CSS("input[name=name]"), "Real desk\r"),
		chromedp.WaitVisible(chromedp.CSS("#status .pair")),
	))
	eventually(t, time.Minute, "the cause on the page", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#status")?.textContent ?? ""`), "WhatsApp could not be reached")
	})
	page := strings.TrimPrefix(evaluated[string](ctx, t, `location.pathname`), r.address)
	shoot(ctx, t, r, page)
}

func TestAdminAddsAProviderTriesItAndPutsItFirst(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/providers/new?preset=vllm"),
		chromedp.SetValue(chromedp.CSS("input[name=name]"), "Front room"), chromedp.SetValue(chromedp.CSS("input[name=base_url]"), r.ai.url()),
		chromedp.SetValue(chromedp.CSS("input[name=request_limit]"), "100"),
		chromedp.SendKeys(chromedp.CSS("input[name=model]"), "small\r"),
		chromedp.WaitVisible(chromedp.CSS("#health")),
	))
	press(ctx, t, "form[action$='/test'] button")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(".notice.good"))))
	eventually(t, time.Minute, "the call to appear by itself", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#health")?.textContent ?? ""`), "answered")
	})
	var read struct{ Health struct{ State string } }
	r.api(http.MethodGet, "/api/v1/providers/2", nil, &read)
	if n := r.gauge(`frontdesk_provider_attempts_total{class="ok",provider="Front room"}`); n < 1 || read.Health.State != "ready" {
		t.Errorf("%v calls are counted, its health is %q", n, read.Health.State)
	}
	page := evaluated[string](ctx, t, `location.pathname`)
	page = strings.TrimSuffix(page, "/test")
	r.provider(r.ai, "second", 10)
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/providers"), chromedp.SendKeys(chromedp.CSS("form[action$='/up'] button"), "\r")))
	eventually(t, time.Minute, "the first of them to be the other one", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#providers h2")?.textContent ?? ""`), "Front room")
	})
	for _, page := range []string{"/providers", "/providers/new", page, page + "/attempts"} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(r.address+page)))
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", page, width)
		}
	}
	shoot(ctx, t, r, "/providers", "/providers/new", page, page+"/attempts")
}

func TestPersonTakesAConversationFromTheBotAndGivesItBack(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	answer := `.bubble:not(.out):not(.typing) .text`
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Is there a table for four?\r"), chromedp.WaitVisible(chromedp.CSS(answer))))
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/conversations")))
	press(ctx, t, ".inbox a")
	const reply, note = `document.querySelector(".write textarea").value`, `document.querySelector("form[action$='/notes'] textarea").value`
	must(t, chromedp.Do(ctx,
		chromedp.SendKeys(chromedp.CSS("form[action$='/notes'] textarea"), "Likes the window."), chromedp.SendKeys(chromedp.CSS("#text"), "Yes, by the window."),
	))
	click(ctx, t, "form[action$='/takeover'] button")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("form[action$='/release']"))))
	click(ctx, t, ".write button")
	eventually(t, time.Minute, "the reply to be on its way", func() bool { return evaluated[string](ctx, t, reply) == "" })
	if kept := evaluated[string](ctx, t, note); kept != "Likes the window." {
		t.Errorf("of the note that was being written, %q is left", kept)
	}
	click(ctx, t, "form[action$='/notes'] button")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(".notes li"))))
	if left := evaluated[string](ctx, t, note); left != "" {
		t.Errorf("the note was added, and %q is still in the form", left)
	}
	page := evaluated[string](ctx, t, `location.pathname`)
	eventually(t, time.Minute, "the reply on the page", shown(ctx, t, "body", "Yes, by the window."))
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/try")))
	eventually(t, time.Minute, "the reply on the customer's phone", shown(ctx, t, "body", "Yes, by the window."))
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Thank you!\r")))
	eventually(t, time.Minute, "the thanks on the customer's phone", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#phone").textContent`), "Thank you!") && evaluated[string](ctx, t, `document.querySelector("#text").value`) == ""
	})
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+page)))
	eventually(t, time.Minute, "the customer's thanks", shown(ctx, t, "body", "Thank you!"))
	if body := evaluated[string](ctx, t, `document.querySelector("#talk").textContent`); strings.Count(body, "demo") > 1 || !strings.Contains(body, "A person answers; the bot stays silent") {
		t.Errorf("the page says %q", body)
	}
	for _, page := range []string{"/conversations", page, page + "/messages/1"} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(r.address+page)))
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", page, width)
		}
	}
	if !shown(ctx, t, "body", "What")() || !shown(ctx, t, "body", "Are you open")() && !shown(ctx, t, "body", "Is there a table for four?")() {
		t.Error("the page of a message does not show its prompt")
	}
	shoot(ctx, t, r, "/conversations", page, page+"/messages/1")
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+page)))
	click(ctx, t, "form[action$='/release'] button")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("form[action$='/takeover']"))))
	eventually(t, time.Minute, "the bot to answer what nobody has", func() bool {
		return strings.Count(evaluated[string](ctx, t, `document.querySelector("#talk").textContent`), "demo") > 1
	})
}

// A page that is open while the database or the network is away must not end as a
// picture of that moment, and what was typed is there afterwards.
func TestOpenPageSaysThatNobodyAnswersAndGoesOnAfterwards(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Is there a table for four?\r"), chromedp.WaitVisible(chromedp.CSS(".bubble:not(.out, .typing)"))))
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/conversations")))
	press(ctx, t, ".inbox a")
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Yes, by the window.")))
	const old, unsure = "What you see may be old", "What you sent may not have arrived"
	eventually(t, time.Minute, "the page to say that it may be old", func() bool {
		r.killPostgres()
		evaluated[bool](ctx, t, `htmx.trigger("#talk", "changed", {}, false) || true`)
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			if shown(ctx, t, "#problem", old)() {
				return true
			}
		}
		return false
	})
	if !shown(ctx, t, "#talk", "Is there a table for four?")() {
		t.Errorf("the conversation is gone from its page: %q", evaluated[string](ctx, t, `document.querySelector("main").textContent`))
	}
	picture(ctx, t, "away-1200.jpg")
	eventually(t, time.Minute, "the page to go on", func() bool { return evaluated[string](ctx, t, `document.querySelector("#problem").textContent`) == "" })

	evaluated[bool](ctx, t, `(window.online = window.fetch, window.fetch = () => Promise.reject(new TypeError("no network")), true)`)
	evaluated[bool](ctx, t, `(document.addEventListener("htmx:error", ({ detail }) => { window.missed ||= detail.ctx.request.method === "GET"; }), true)`)
	click(ctx, t, ".write button")
	eventually(t, time.Minute, "the page to say that it is not known whether the reply arrived", shown(ctx, t, "#problem", unsure))
	evaluated[bool](ctx, t, `htmx.trigger("#talk", "changed", {}, false) || true`)
	eventually(t, time.Minute, "a renewal to fail as well", func() bool { return evaluated[bool](ctx, t, `window.missed === true`) })
	evaluated[bool](ctx, t, `(window.fetch = window.online, true)`)
	r.api(http.MethodPost, "/api/v1/conversations/1/pause", nil, nil)
	eventually(t, time.Minute, "the page to renew itself", func() bool {
		return evaluated[bool](ctx, t, `document.querySelector("#talk form[action$='/pause']") === null`)
	})
	if words := evaluated[string](ctx, t, `document.querySelector("#text").value`); words != "Yes, by the window." || !shown(ctx, t, "#problem", unsure)() {
		t.Errorf("of the reply, %q is left in its form, and the page says %q", words, evaluated[string](ctx, t, `document.querySelector("#problem").textContent`))
	}
	const key = `document.querySelector(".write [name=key]").value`
	before := evaluated[string](ctx, t, key)
	evaluated[bool](ctx, t, `(window.fetch = async () => new Response("<p class=notice>Something went wrong</p>", { status: 500, headers: {
		"Frontdesk-Page": "yes", "Hx-Retarget": "#problem", "Hx-Reselect": ".notice", "Hx-Reswap": "innerMorph" } }), true)`)
	click(ctx, t, ".write button")
	eventually(t, time.Minute, "the page to say what went wrong", shown(ctx, t, "#problem", "Something went wrong"))
	if after := evaluated[string](ctx, t, key); after != before {
		t.Error("what may have arrived is sent again under another key")
	}
	evaluated[bool](ctx, t, `(window.fetch = window.online, true)`)
	click(ctx, t, ".write button")
	eventually(t, time.Minute, "the reply on the page", shown(ctx, t, "#talk", "Yes, by the window."))
	eventually(t, time.Minute, "the notice to go", func() bool { return evaluated[string](ctx, t, `document.querySelector("#problem").textContent`) == "" })
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/try")))
	eventually(t, time.Minute, "the reply on the customer's phone", shown(ctx, t, "#phone", "Yes, by the window."))
}

func TestPersonApprovesWhatTheBotWouldSay(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/accounts/1/house"), chromedp.SetValue(chromedp.CSS("select[name=answering]"), "approve"),
	))
	press(ctx, t, "form.card button")
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/try"), chromedp.SendKeys(chromedp.CSS("#text"), "Is there a table for four?\r"),
	))
	eventually(t, time.Minute, "the question to be written", func() bool { return evaluated[string](ctx, t, `document.querySelector("#text").value`) == "" })
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/conversations")))
	press(ctx, t, ".inbox a")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("form[action$='/send-draft'] button"))))
	page := evaluated[string](ctx, t, `location.pathname`)
	if body := evaluated[string](ctx, t, `document.querySelector("#talk").textContent`); !strings.Contains(body, "The bot would say") {
		t.Errorf("the page says %q", body)
	}
	shoot(ctx, t, r, "/conversations", page, page+"?edit=on", "/accounts/1/house")
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+page+"?edit=on"), chromedp.SetValue(chromedp.CSS("form[action$='/send-draft'] textarea"), "Yes, by the window."),
	))
	press(ctx, t, "form[action$='/send-draft'] button")
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/try")))
	eventually(t, time.Minute, "the person's words on the customer's phone", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.body.textContent`), "Yes, by the window.")
	})
	if all := evaluated[string](ctx, t, `document.querySelector(".chat").textContent`); strings.Contains(all, "demo") {
		t.Errorf("the customer reads what nobody approved: %q", all)
	}
}

func TestAdminReplaysAnAnswerWithAnotherPersona(t *testing.T) {
	t.Parallel()
	r, ctx := newCustomer(t)
	must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Is there a table for four?\r"), chromedp.WaitVisible(chromedp.CSS(".bubble:not(.out, .typing)"))))
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/accounts/1/replay"), chromedp.SetValue(chromedp.CSS("textarea[name=persona]"), "A pirate."),
		chromedp.Click(chromedp.CSS("#replay button")), chromedp.WaitVisible(chromedp.CSS(".sides details")),
	))
	for _, words := range []string{"Said", "Would say", "demo", "Is there a table for four?"} {
		if page := evaluated[string](ctx, t, `document.querySelector(".sides").textContent`); !strings.Contains(page, words) {
			t.Errorf("the comparison does not show %q: %s", words, page)
		}
	}
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844)))
	if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 390 {
		t.Errorf("the page is %d pixels wide on a phone of 390", width)
	}
	picture(ctx, t, "replay-light-390.jpg")
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(1200, 844)))
	picture(ctx, t, "replay-light-1200.jpg")
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/try"), chromedp.WaitVisible(chromedp.CSS(".bubble.out"))))
	if n := evaluated[int](ctx, t, `document.querySelectorAll(".bubble:not(.out, .typing)").length`); n != 1 {
		t.Errorf("the customer's phone shows %d answers", n)
	}
}

func TestAdminAddsADocumentAndTriesAQuestion(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(r.address+"/knowledge"),
		chromedp.SendKeys(chromedp.CSS("input[name=title]"), "Opening hours"),
		chromedp.SendKeys(chromedp.CSS("textarea[name=text]"), "We open at nine on weekdays and at ten on Saturdays. On Sundays we are closed."),
	))
	press(ctx, t, "form.card button")
	eventually(t, time.Minute, "the document to be indexed", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#documents").textContent`), "ready")
	})
	for query, words := range map[string]string{"when do you open on saturday": "at ten on Saturdays", "do you sell motorcycles": "Nothing answers this"} {
		must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/knowledge?account=1&q="+url.QueryEscape(query))))
		if page := evaluated[string](ctx, t, `document.body.textContent`); !strings.Contains(page, words) {
			t.Errorf("%q: the page does not say %q", query, words)
		}
	}
	for _, page := range []string{"/knowledge", "/tools", "/accounts/1/house"} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(r.address+page)))
		if width := evaluated[int](ctx, t, `document.documentElement.scrollWidth`); width > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", page, width)
		}
	}
	shoot(ctx, t, r, "/knowledge", "/knowledge?account=1&q=saturday", "/tools", "/accounts/1/house")
}

// signIn uses the link that start printed.
func signIn(ctx context.Context, t *testing.T, r *rig) {
	t.Helper()
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.greeting)))
	press(ctx, t, "main button[type=submit]")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("nav"))))
}

// click clicks by script: what is above it may grow at that moment.
func click(ctx context.Context, t *testing.T, selector string) {
	t.Helper()
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(selector))))
	evaluated[bool](ctx, t, fmt.Sprintf(`document.querySelector(%q).click() ?? true`, selector))
}

// press clicks what leads to another page, or to this one anew, and waits for that.
func press(ctx context.Context, t *testing.T, selector string) {
	t.Helper()
	leave(ctx, t, selector, func() { click(ctx, t, selector) })
}

// leave does what leads to another page, or to this one anew, and waits until that is
// there. What it will show may already be on the old one, which renews itself meanwhile.
func leave(ctx context.Context, t *testing.T, by string, do func()) {
	t.Helper()
	evaluated[bool](ctx, t, `window.left = true`)
	do()
	eventually(t, time.Minute, "the page behind "+by, func() bool {
		there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`!window.left && document.readyState === "complete"`))
		return err == nil && there // between two pages there is nowhere to ask
	})
}

func evaluated[T any](ctx context.Context, t *testing.T, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	must(t, err)
	return value
}

// shoot keeps pictures of pages, wide and narrow, light and dark, in the folder
// that FRONTDESK_SCREENSHOTS names.
func shoot(ctx context.Context, t *testing.T, r *rig, pages ...string) {
	t.Helper()
	if os.Getenv("FRONTDESK_SCREENSHOTS") == "" {
		return
	}
	for _, page := range pages {
		for _, scheme := range []string{"light", "dark"} {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			must(t, err)
			for _, width := range []int64{1200, 390} {
				must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844), chromedp.Navigate(r.address+page)))
				picture(ctx, t, fmt.Sprintf("%s-%s-%d.jpg", strings.Trim(strings.NewReplacer("/", "-", "?", "-", "&", "-", "=", "-").Replace(page), "-"), scheme, width))
			}
		}
	}
}

// picture keeps a picture of what the browser shows, if somebody wants pictures.
func picture(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if dir := os.Getenv("FRONTDESK_SCREENSHOTS"); dir != "" {
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(60))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), shot, 0o600))
	}
}

func TestGuestPairsByASharedLinkWithACodeTypedOnThePhone(t *testing.T) {
	t.Parallel()
	const phone = "12025550177"
	r := newRig(t, nil)
	r.start()
	var a item
	r.api(http.MethodPost, "/api/v1/accounts", map[string]string{"name": "Branch office"}, &a)
	var link struct{ URL string }
	if status := r.api(http.MethodPost, fmt.Sprintf("/api/v1/accounts/%d/pairing-links", a.ID), map[string]int{"minutes": 60}, &link); status >= 300 {
		t.Fatalf("no link: %d", status)
	}
	ctx := browse(t) // a stranger: nobody signs in
	must(t, chromedp.Do(ctx,
		chromedp.Navigate(link.URL), chromedp.WaitVisible(chromedp.CSS("#pairing svg")),
	))
	click(ctx, t, "#ask-typed summary")
	leave(ctx, t, "the number", func() {
		must(t, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("input[name=phone]"), "+1 202 555 0177\r")))
	})
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#typed-code"))))
	shoot(ctx, t, r, strings.TrimPrefix(link.URL, r.address))
	code := evaluated[string](ctx, t, `document.querySelector("#typed-code").textContent`)
	must(t, r.wa.Phone(phone).EnterCode(deadline(t, time.Minute), code))
	eventually(t, time.Minute, "the page to say that the phone is linked", func() bool {
		return strings.Contains(evaluated[string](ctx, t, `document.querySelector("#pairing").textContent`), "Linked. You can close this page.")
	})
	must(t, chromedp.Do(ctx, chromedp.Navigate(link.URL)))
	if said := evaluated[string](ctx, t, `document.body.textContent`); !strings.Contains(said, "no longer good") {
		t.Errorf("the link still opens: %q", said)
	}
}

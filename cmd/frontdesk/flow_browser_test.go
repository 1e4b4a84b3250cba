package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestAdminMendsAFlowTriesItAndLooksAtItsExecution(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	ctx := browse(t)
	signIn(ctx, t, r)
	eventually(t, time.Minute, "the sandbox's examples", func() bool {
		must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/flows")))
		return shown(ctx, t, "main", "order-update")()
	})
	const definition = "textarea[name=definition]"
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+"/flows?example=order-update"), chromedp.WaitVisible(chromedp.CSS(definition))))
	text := evaluated[string](ctx, t, `document.querySelector("`+definition+`").value`)
	must(t, chromedp.Do(ctx,
		chromedp.SetValue(chromedp.CSS(definition), strings.Replace(text, "steps.told.wa_id", "steps.tell.wa_id", 1)),
		chromedp.Click(chromedp.CSS("#new form > .beside button")), chromedp.WaitVisible(chromedp.CSS("#new .problems")),
	))
	if !shown(ctx, t, "#new .problems", "/steps/2/body/wa_id")() || !strings.Contains(evaluated[string](ctx, t, `document.querySelector("`+definition+`").value`), "steps.tell.wa_id") {
		t.Errorf("the page says %q", evaluated[string](ctx, t, `document.querySelector("#new").textContent`))
	}
	for _, width := range []int64{390, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("flow-problems-%d.jpg", width))
	}
	must(t, chromedp.Do(ctx,
		chromedp.SetValue(chromedp.CSS(definition), text),
	))
	press(ctx, t, "#new form > .beside button")
	click(ctx, t, "#try form button")
	must(t, chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("#tried .steps"))))
	eventually(t, time.Minute, "the steps to complete", shown(ctx, t, "#tried", "It is done."))
	for _, words := range []string{"told", "known", "answer", "completed"} {
		if !shown(ctx, t, "#tried .steps", words)() {
			t.Errorf("the steps do not show %q", words)
		}
	}
	eventually(t, time.Minute, "the list of executions to renew itself", shown(ctx, t, "#executions", "completed"))
	page := evaluated[string](ctx, t, `location.pathname`)
	for _, width := range []int64{390, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("flow-tried-%d.jpg", width))
	}
	must(t, chromedp.Do(ctx,
		chromedp.SetValue(chromedp.CSS("#addresses select"), "github"), chromedp.Click(chromedp.CSS("#addresses form button")),
		chromedp.WaitVisible(chromedp.CSS("#made-secret")),
	))
	evaluated[bool](ctx, t, `document.querySelectorAll("details").forEach(d => d.open = true) || true`)
	for _, width := range []int64{360, 1200} {
		must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 844)))
		picture(ctx, t, fmt.Sprintf("flow-address-%d.jpg", width))
	}
	must(t, chromedp.Do(ctx, chromedp.Navigate(r.address+page)))
	press(ctx, t, "#executions a")
	execution := evaluated[string](ctx, t, `location.pathname`)
	click(ctx, t, "#events summary")
	click(ctx, t, "#trigger summary")
	click(ctx, t, ".steps details summary")
	eventually(t, time.Minute, "the events", shown(ctx, t, "#events", "execution.completed"))
	if !shown(ctx, t, ".steps details[open]", "Your order … is sent.")() || !shown(ctx, t, "#trigger", "+12025550123")() {
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

// stage is a page of two rooms with the console's own scripts, and the stream that they
// follow.
type stage struct {
	*httptest.Server

	renewed, open atomic.Int64
	over          atomic.Bool // the first element leaves its room
	beside        string      // what else is on the page

	mu    sync.Mutex
	rooms []string    // of the last stream; guarded by mu
	stirs chan string // the open stream says them
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{stirs: make(chan string)}
	mux := http.NewServeMux()
	mux.Handle("/assets/", http.StripPrefix("/assets/", http.FileServer(http.Dir("../../bot/web/assets"))))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!DOCTYPE html><script src="/assets/htmx.min.js" defer></script><script src="/assets/live.js" defer></script>%s<p data-room="all"></p>%s`, s.part(), s.beside)
	})
	mux.HandleFunc("/part", func(w http.ResponseWriter, _ *http.Request) {
		s.renewed.Add(1)
		fmt.Fprint(w, s.part())
	})
	mux.HandleFunc("/live/events", s.stream)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// part is what renews itself; by itself it would do so once an hour.
func (s *stage) part() string {
	room := `data-room="execution:7" hx-get="/part" hx-trigger="changed, every 3600s" hx-swap="outerMorph"`
	if s.over.Load() {
		room = ""
	}
	return fmt.Sprintf(`<p id="part" %s>%d</p>`, room, s.renewed.Load())
}

func (s *stage) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.rooms = r.URL.Query()["room"]
	s.mu.Unlock()
	s.open.Add(1)
	defer s.open.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case said := <-s.stirs:
			fmt.Fprintf(w, "data: %s\n\n", said)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func (s *stage) followed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.rooms, " ")
}

func TestPageRenewsItselfWhenItsRoomStirsByOneStreamForAllRooms(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx := browse(t)
	must(t, chromedp.Do(ctx, chromedp.Navigate(s.URL)))
	eventually(t, time.Minute, "one stream of both rooms", func() bool { return s.open.Load() == 1 && s.followed() == "all execution:7" })
	for range 5 { // soon after each other: one renewal is enough
		s.stirs <- `{"type": "step.completed"}`
	}
	eventually(t, time.Minute, "the part to renew itself", func() bool { return evaluated[string](ctx, t, `document.querySelector("#part").textContent`) != "0" })
	s.over.Store(true)
	s.stirs <- `{"type": "execution.completed"}`
	eventually(t, time.Minute, "the stream to leave the room that nobody watches", func() bool { return s.open.Load() == 1 && s.followed() == "all" })
	s.stirs <- `{"type": "message.received"}`
	if n := s.renewed.Load(); n < 2 || n > 6 {
		t.Errorf("the part was renewed %d times", n)
	}
}

// What is over at once is shown in its place, and asks the server for nothing.
func TestPageShowsWhoTypesAndHowFarAStepIsWithoutRenewing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.beside = `<p data-typing="3" data-from="customer" hidden>The customer is typing…</p><p data-typing="3" data-from="us" hidden>We are</p><span data-progress="7:1"></span>`
	ctx := browse(t)
	must(t, chromedp.Do(ctx, chromedp.Navigate(s.URL)))
	eventually(t, time.Minute, "the stream", func() bool { return s.open.Load() == 1 })
	shown := func() string {
		return evaluated[string](ctx, t, `[...document.querySelectorAll("[data-typing]")].filter(e => !e.hidden).map(e => e.dataset.from).join() + "|" + document.querySelector("[data-progress]").textContent`)
	}
	shows := func(want string) {
		t.Helper()
		eventually(t, time.Minute, "the page to show "+want, func() bool { return shown() == want })
	}
	s.stirs <- `{"type": "typing", "conversation_id": 4, "data": {"from": "customer", "typing": true}}`
	s.stirs <- `{"type": "step.progress", "execution_id": 8, "step": {"position": 1}, "data": {"characters": 10}}`
	s.stirs <- `{"type": "typing", "conversation_id": 3, "data": {"from": "customer", "typing": true}}`
	shows("customer|")
	s.stirs <- `{"type": "step.progress", "execution_id": 7, "step": {"position": 1}, "data": {"characters": 0}}`
	shows("customer|0 characters so far")
	s.stirs <- `{"type": "step.progress", "execution_id": 7, "step": {"position": 1}, "data": {"characters": 120}}`
	shows("customer|120 characters so far")
	s.stirs <- `{"type": "typing", "conversation_id": 3, "data": {"from": "us", "typing": true}}`
	shows("customer,us|120 characters so far")
	s.stirs <- `{"type": "typing", "conversation_id": 3, "data": {"from": "us", "typing": false}}`
	s.stirs <- `{"type": "step.progress", "execution_id": 7, "step": {"position": 1}, "data": {"bytes": 512}}`
	shows("customer|512 bytes so far")
	evaluated[bool](ctx, t, `setTimeout(() => { document.title = "later"; }, 400) > 0`) // behind every renewal that is due
	eventually(t, time.Minute, "time to pass", func() bool { return evaluated[string](ctx, t, `document.title`) == "later" })
	if n := s.renewed.Load(); n != 0 {
		t.Errorf("the page was renewed %d times by what is over at once", n)
	}
	s.stirs <- `{"type": "message.received", "conversation_id": 3}`
	shows("|512 bytes so far")
	eventually(t, time.Minute, "the part to renew itself", func() bool { return s.renewed.Load() > 0 })
}

package live

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// Who comes back with Last-Event-ID misses nothing and hears nothing twice, over all
// the rooms that it follows.
func TestStreamResumesByLastEventID(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	one, two := d.execution(), d.execution()
	query := fmt.Sprintf("?room=execution:%d&room=execution:%d&room=account:5", one, two)
	r := listen(t, server, query, "")
	r.hears("subscribed", "subscribed", "subscribed", "1", "1")
	d.happen(one, "step.started", 2, `{}`)
	d.noted(5, 1, `{}`)
	got := r.hears("2", "3", "account.status")
	r.body.Close() // in the middle
	d.happen(two, "step.started", 150, `{}`)
	d.noted(5, 1, `{}`)
	d.noted(6, 1, `{}`)
	d.happen(one, "step.started", 1, `{}`)
	eventually(t, "all told", func() bool { return h.Stats().Told == 2+3+153 })

	missed := append(append([]string{}, numbers(2, 151)...), "account.status", "4")
	for _, c := range []struct {
		last said
		want []string
	}{{got[2], missed}, {got[1], append([]string{"account.status"}, missed...)}, {got[0], append([]string{"3", "account.status"}, missed...)}} {
		r := listen(t, server, query, c.last.sseID)
		frames := r.hears(append(slices.Repeat([]string{"subscribed"}, 3), c.want...)...)
		if !frames[0].Recovered || !frames[2].Recovered {
			t.Errorf("behind %s: %s", c.last.sseID, frames[0].text)
		}
		if last := frames[len(frames)-1]; last.sseID != last.Place || last.Place == "" {
			t.Errorf("id %q, place %q", last.sseID, last.Place)
		}
	}
	r = listen(t, server, query, "nonsense")
	r.hears("subscribed", "subscribed", "subscribed") // and begins anew
}

// After a day in which nothing happened all events are gone and none is missing: no gap
// is announced. There is one for who had not heard the last of them.
func TestDayOfSilenceIsNoGap(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	_, server := d.open(Options{})
	r := listen(t, server, "?room=account:5", "")
	r.hears("subscribed")
	d.noted(5, 2, `{}`)
	got := r.hears("account.status", "account.status")
	r.body.Close()
	_, err := d.pool.Exec(t.Context(), `update event set at = clock() - interval '25 hours'`)
	must(t, err)
	_, err = d.store.DropEvents(t.Context(), 100)
	must(t, err)
	if s := listen(t, server, "?room=account:5", got[1].sseID).hears("subscribed")[0]; !s.Recovered {
		t.Errorf("nothing happened, and yet %s", s.text)
	}
	late := listen(t, server, "?room=account:5", got[0].sseID)
	if s := late.next(); s.Recovered {
		t.Errorf("an event is missing, and yet %s", s.text)
	}
	if s := late.next(); s.Type != "gap" {
		t.Errorf("an event is missing, and yet %s", s.text)
	}
}

// The events of several executions that are replayed come in one order, so that the
// last id is behind all of them.
func TestStreamReplaysInOneOrder(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	one, two := d.execution(), d.execution()
	for range 5 {
		d.happen(one, "step.started", 1, `{}`)
		d.happen(two, "step.started", 1, `{}`)
	}
	eventually(t, "all told", func() bool { return h.Stats().Told == 12 })
	r := listen(t, server, fmt.Sprintf("?room=execution:%d&room=execution:%d", two, one), "")
	got := r.hears("subscribed", "subscribed", "1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6", "6")
	if got[0].sseID != "" || got[1].sseID != "" {
		t.Error("who loses the connection now would miss the replay")
	}
	broken := got[6]
	r = listen(t, server, fmt.Sprintf("?room=execution:%d&room=execution:%d", two, one), broken.sseID)
	r.hears("subscribed", "subscribed", "3", "4", "4", "5", "5", "6", "6")
}

// The server's deadlines are for short answers; a stream outlives them, and its end is
// noticed after them too.
func TestStreamOutlivesTheDeadlinesOfTheServer(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, _ := d.open(Options{})
	h.beats.comment = time.Hour
	server := httptest.NewUnstartedServer(doors(h))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 5*time.Second, 5*time.Second
	server.Start()
	t.Cleanup(server.Close)
	answer := ask200(t, server, "?room=account:5", "")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	p := call(t, server, "")
	time.Sleep(5500 * time.Millisecond)
	d.noted(5, 1, `{}`)
	buffer := make([]byte, 4096)
	var text string
	for !strings.Contains(text, "account.status") {
		n, err := answer.Body.Read(buffer)
		text += string(buffer[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
	}
	if !strings.HasPrefix(text, "retry: 2000\n\n") {
		t.Errorf("the stream begins with %q", text)
	}
	p.silent()
	answer.Body.Close()
	eventually(t, "the client is gone", func() bool { return h.Stats().Sockets == 1 })
}

// A stream that nobody reads ends with a word, and may be resumed.
func TestStreamThatIsNotReadEndsWithSlow(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	h.beats.write = time.Minute // its queue is full before
	d.noted(5, 1, `{}`)
	eventually(t, "one is told", func() bool { return h.Stats().Told == 1 })
	dialer := net.Dialer{Control: smallBuffer}
	server.Client().Transport = &http.Transport{DialContext: dialer.DialContext}
	r := listen(t, server, "?room=account:5", "")
	r.hears("subscribed")
	long := `{"text":"` + strings.Repeat("x", 7000) + `"}`
	told := 1
	for ; h.Stats().Slow == 0; told += 40 {
		if told > 4_000 {
			t.Fatal("the reader was not slow")
		}
		d.noted(5, 40, long)
		h.Wake()
		eventually(t, "they are told", func() bool { return h.Stats().Told == told+40 })
	}
	last, count := said{}, 0
	for {
		s := r.next()
		if s.event == "slow" {
			break
		}
		last, count = s, count+1
	}
	if _, err := r.lines.ReadString('\n'); err == nil {
		t.Error("the stream goes on")
	}
	again := listen(t, server, "?room=account:5", last.sseID)
	if s := again.next(); !s.Recovered {
		t.Error(s.text)
	}
	again.hears(slices.Repeat([]string{"account.status"}, told-1-count)...)
}

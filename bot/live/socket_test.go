package live

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// L19: of 25 events a late subscriber gets the newest 20 and is told of the other five;
// then what happens next.
func TestLateSubscriberGetsTheNewestTwentyAndAGap(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	id := d.execution()
	d.happen(id, "step.started", 24, `{"step":{"name":"ask","type":"ai","position":0}}`)
	eventually(t, "25 events told", func() bool { return h.Stats().Told == 25 })
	late := append([]string{"subscribed", "gap 1-5"}, numbers(6, 25)...)

	p := call(t, server, "")
	p.say(`{"op":"subscribe","room":"execution:%d"}`, id)
	got := p.hears(late...)
	if s := got[0]; s.Epoch != 1 || s.Seq != 25 || s.Recovered || s.Snapshot == nil || s.Snapshot.Flow != "order" {
		t.Errorf("subscribed with %s", s.text)
	}
	if s := got[2]; s.ID != fmt.Sprintf("%d:6", id) || s.Step["name"] != "ask" || s.Flow != "order" || s.Type != "step.started" {
		t.Errorf("the first event is %s", s.text)
	}
	r := listen(t, server, fmt.Sprintf("?room=execution:%d", id), "")
	r.hears(late...)
	d.happen(id, "step.completed", 1, `{}`)
	h.Wake()
	p.hears("26")
	r.hears("26")
	p.silent()

	t.Run("with clients of others", func(t *testing.T) {
		address := "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
		want := append([]string{"subscribed", "gap 1-6"}, numbers(7, 27)...)
		ws := node(t, "ws", address, id, 21)
		sse := node(t, "sse", server.URL+"/api/v1/events", id, 21)
		eventually(t, "both follow", func() bool { return h.Stats().Sockets == 4 })
		for _, lines := range []func() said{ws, sse} {
			hears(t, lines, want[:len(want)-1])
		}
		d.happen(id, "step.started", 1, `{}`)
		h.Wake()
		for _, lines := range []func() said{ws, sse} {
			hears(t, lines, want[len(want)-1:])
		}
	})
}

// node runs a client that others wrote, and returns what reads its lines.
func node(t *testing.T, transport, address string, id int64, count int) func() said {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "..", ".ci", "clients", "node_modules"))
	must(t, err)
	if _, err := os.Stat(folder); err != nil {
		t.Fatalf("the clients are not installed, make test does that: %v", err)
	}
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	running := exec.CommandContext(within, "node", filepath.Join("testdata", "client.mjs"), folder, transport, address, fmt.Sprintf("execution:%d", id), fmt.Sprint(count))
	running.Stderr = os.Stderr
	out, err := running.StdoutPipe()
	must(t, err)
	must(t, running.Start())
	t.Cleanup(func() {
		if t.Failed() {
			cancel()
		}
		if err := running.Wait(); err != nil && !t.Failed() {
			t.Errorf("%s: %v", transport, err)
		}
		cancel()
	})
	lines := bufio.NewScanner(out)
	return func() said {
		if !lines.Scan() {
			t.Fatalf("%s ended too soon: %v", transport, lines.Err())
		}
		return read(t, lines.Bytes())
	}
}

// Who comes back with the number of its last event misses nothing and hears nothing
// twice, also what the buffer does not hold any more, or no buffer does.
func TestSocketResumesBySeqWithoutLossOrDouble(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	id := d.execution()
	d.happen(id, "step.started", 4, `{}`)
	eventually(t, "5 events told", func() bool { return h.Stats().Told == 5 })
	p := call(t, server, "")
	p.say(`{"op":"subscribe","room":"execution:%d"}`, id)
	p.hears(append([]string{"subscribed"}, numbers(1, 5)...)...)
	p.ws.CloseNow() // in the middle
	d.happen(id, "step.started", 10, `{}`)
	eventually(t, "15 events told", func() bool { return h.Stats().Told == 15 })

	resume := func(server *httptest.Server, seq, last int) {
		t.Helper()
		p := call(t, server, "")
		p.say(`{"op":"subscribe","room":"execution:%d","since":{"epoch":1,"seq":%d}}`, id, seq)
		got := p.hears(append([]string{"subscribed"}, numbers(seq+1, last)...)...)
		if !got[0].Recovered {
			t.Errorf("behind %d: %s", seq, got[0].text)
		}
		p.silent()
	}
	resume(server, 5, 15)  // from the buffer
	resume(server, 15, 15) // nothing is missing
	d.happen(id, "step.started", 285, `{}`)
	eventually(t, "300 events told", func() bool { return h.Stats().Told == 300 })
	resume(server, 5, 300) // from the rows, in pages
	resume(server, 200, 300)
	_, elsewhere := d.open(Options{Store: d.connect()}) // a process without a buffer of it
	resume(elsewhere, 280, 300)

	_, err := d.pool.Exec(t.Context(), `delete from event where seq < 150`)
	must(t, err)
	p = call(t, server, "")
	p.say(`{"op":"subscribe","room":"execution:%d","since":{"seq":100}}`, id)
	got := p.hears(append([]string{"subscribed", "gap 101-149"}, numbers(150, 300)...)...)
	if got[0].Recovered {
		t.Errorf("what is lost was called recovered: %s", got[0].text)
	}
	_, err = d.pool.Exec(t.Context(), `delete from event`)
	must(t, err)
	p = call(t, elsewhere, "")
	p.say(`{"op":"subscribe","room":"execution:%d","since":{"seq":100}}`, id)
	p.hears("subscribed", "gap 101-300")
	d.happen(id, "step.started", 1, `{}`)
	p.hears("301")
}

// Rooms without numbers resume by place.
func TestSocketResumesByPlaceWithoutLossOrDouble(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	d.noted(6, 1, `{}`)
	eventually(t, "one told", func() bool { return h.Stats().Told == 1 })
	p := call(t, server, "")
	p.say(`{"op":"subscribe","room":"account:5"}`)
	first := p.hears("subscribed")[0]
	d.noted(5, 2, `{}`)
	d.noted(6, 1, `{}`)
	last := p.hears("account.status", "account.status")[0]
	p.ws.CloseNow()
	d.noted(5, 250, `{}`)
	eventually(t, "all told", func() bool { return h.Stats().Told == 254 })
	for place, missed := range map[string]int{first.Place: 252, last.Place: 251} {
		p := call(t, server, "")
		p.say(`{"op":"subscribe","room":"account:5","since":{"place":%q}}`, place)
		got := p.hears(append([]string{"subscribed"}, slices.Repeat([]string{"account.status"}, missed)...)...)
		if !got[0].Recovered {
			t.Errorf("behind %s: %s", place, got[0].text)
		}
		p.silent()
	}
	_, err := d.pool.Exec(t.Context(), `delete from event where id < 10`)
	must(t, err)
	p = call(t, server, "")
	p.say(`{"op":"subscribe","room":"account:5","since":{"place":%q}}`, first.Place)
	got := p.hears("subscribed", fmt.Sprintf("gap %s-%s", first.Place, written(h.place)))
	if got[0].Recovered {
		t.Errorf("what is lost was called recovered: %s", got[0].text)
	}
	p.say(`{"op":"subscribe","room":"account:7","since":{"place":"999999999-1"}}`) // of another database
	for p.next().Room != "account:7" {
	}
	p.hears(fmt.Sprintf("gap 999999999-1-%s", written(h.place)))
	d.noted(7, 1, `{}`)
	p.hears("account.status")
}

// Joining while much happens loses nothing and doubles nothing, in one room and another.
func TestJoiningWhileMuchHappensIsSeamless(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	h.mostPace = time.Minute // nobody here is slow, though the machine may be
	id := d.execution()
	d.happen(id, "step.started", 1, `{}`)
	var happening sync.WaitGroup
	happening.Go(func() {
		for range 150 {
			d.happen(id, "step.started", 4, `{}`)
			h.Wake()
		}
	})
	var clients sync.WaitGroup
	for n := range 12 {
		clients.Go(func() {
			p := call(t, server, "")
			p.say(`{"op":"subscribe","room":"execution:%d","since":{"seq":%d}}`, id, n%3)
			if n%2 == 0 {
				p = call(t, server, "")
				p.say(`{"op":"subscribe","room":"flow:%d","since":{"place":"0-0"}}`, d.flow.ID)
			}
			last := int64(0)
			for last < 602 {
				s := p.next()
				if s.Seq == 0 || s.Type == "subscribed" {
					continue
				}
				if last > 0 && s.Seq != last+1 || last == 0 && s.Seq > 3 {
					t.Errorf("%d came behind %d", s.Seq, last)
					return
				}
				last = s.Seq
			}
		})
		time.Sleep(10 * time.Millisecond)
	}
	happening.Wait()
	clients.Wait()
	if n := h.Stats(); n.Slow != 0 {
		t.Errorf("%+v", n)
	}
}

// Events that another process wrote, and that another hub tells, are the same.
func TestTwoHubsOverOneDatabaseTellTheSame(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	_, one := d.open(Options{})
	_, other := d.open(Options{Store: d.connect()})
	id := d.execution()
	var frames [2][]said
	p, q := call(t, one, ""), call(t, other, "")
	for _, c := range []*phone{p, q} {
		c.say(`{"op":"subscribe","room":"execution:%d"}`, id)
		c.hears("subscribed", "1")
	}
	d.happen(id, "step.started", 50, `{"step":{"name":"ask"}}`)
	for i, c := range []*phone{p, q} {
		frames[i] = c.hears(numbers(2, 51)...)
	}
	for i, s := range frames[0] {
		if s.text != frames[1][i].text {
			t.Errorf("one says %s, the other %s", s.text, frames[1][i].text)
		}
	}
	// Whoever leaves one goes on at the other, which may be behind.
	last := frames[0][49]
	r := listen(t, other, fmt.Sprintf("?room=execution:%d&room=all", id), last.Place)
	r.hears("subscribed", "subscribed")
	d.happen(id, "step.started", 1, `{}`)
	r.hears("52")
}

// 101 executions with 25 events each: whoever follows all of them hears each event once
// and in order.
func TestFollowerOfAllHearsEachEventOnceAndInOrder(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	h.mostPace = time.Minute // nobody here is slow, though the machine may be
	p := call(t, server, "")
	p.say(`{"op":"subscribe","room":"all"}`)
	p.say(`{"op":"subscribe","room":"flow:%d"}`, d.flow.ID) // the same events
	p.hears("subscribed", "subscribed")
	var ids []int64
	for range 101 {
		ids = append(ids, d.execution())
	}
	var writers sync.WaitGroup
	for part := range slices.Chunk(ids, 26) {
		writers.Go(func() {
			for range 6 {
				for _, id := range part {
					d.happen(id, "step.started", 4, `{}`)
				}
				h.Wake()
			}
		})
	}
	last := map[int64]int64{}
	for range 101 * 25 {
		s := p.next()
		if s.Seq != last[s.ExecutionID]+1 {
			t.Fatalf("%d:%d came behind %d", s.ExecutionID, s.Seq, last[s.ExecutionID])
		}
		last[s.ExecutionID] = s.Seq
	}
	writers.Wait()
	p.silent()
	if n := h.Stats(); n.Buffers != 100 || n.BufferEvents > 2000 || n.Evicted == 0 || n.Slow != 0 {
		t.Errorf("%+v", n)
	}
}

// A room that one may not see cannot be told from one that does not exist.
func TestForbiddenRoomsReadLikeUnknownOnes(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	_, server := d.open(Options{})
	id := d.execution()
	p := call(t, server, "?who=guest")
	var texts []string
	for _, room := range []string{"account:1", "execution:99", "nonsense", "all"} {
		p.say(`{"op":"subscribe","room":%q}`, room)
		s := p.hears("error")[0]
		texts = append(texts, strings.ReplaceAll(s.text, room, ""))
		if s.Code != "unknown_room" || s.Room != room {
			t.Errorf("%s: %s", room, s.text)
		}
		status(t, server, "/api/v1/events?who=guest&room="+room, http.StatusNotFound, "unknown_room")
	}
	if len(slices.Compact(texts)) != 1 {
		t.Errorf("the answers differ: %q", texts)
	}
	status(t, server, fmt.Sprintf("/api/v1/events?who=guest&room=execution:%d&room=all", id), http.StatusNotFound, "unknown_room")
	p.say(`{"op":"subscribe","room":"execution:%d"}`, id)
	p.hears("subscribed", "1")
	d.noted(1, 1, `{}`)
	d.happen(id, "step.started", 1, `{}`)
	p.hears("2")
}

// status wants a problem, and returns its headers.
func status(t *testing.T, server *httptest.Server, path string, code int, word string) http.Header {
	t.Helper()
	answer, err := server.Client().Get(server.URL + path)
	must(t, err)
	defer answer.Body.Close()
	var p problem
	must(t, json.NewDecoder(answer.Body).Decode(&p))
	if answer.StatusCode != code || p.Status != code || p.Code != word || answer.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %s, %+v", path, answer.Status, p)
	}
	return answer.Header
}

// A process has 1,000 sockets; the next client is told when to come again, and the
// others stay.
func TestThousandAndFirstSocketIsTurnedAway(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	first := call(t, server, "")
	for range 998 {
		_, c := h.admit(context.Background(), httptest.NewRecorder(), store.Pass{})
		t.Cleanup(func() { h.leave(context.Background(), c) })
	}
	last := listen(t, server, "?room=all", "")
	last.hears("subscribed")
	for _, path := range []string{"/ws", "/api/v1/events?room=all"} {
		if header := status(t, server, path, http.StatusServiceUnavailable, "too_many_sockets"); header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	first.silent()
	if n := h.Stats(); n.Sockets != 1000 || n.TurnedAway != 2 {
		t.Errorf("%+v", n)
	}
	first.ws.Close(websocket.StatusNormalClosure, "")
	eventually(t, "a place is free", func() bool { return h.Stats().Sockets == 999 })
	call(t, server, "").silent()
}

func TestSocketFollowsAtMost128Rooms(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	p := call(t, server, "")
	for n := range 128 {
		p.say(`{"op":"subscribe","room":"account:%d"}`, n+1)
		p.hears("subscribed")
	}
	p.say(`{"op":"subscribe","room":"account:129"}`)
	if s := p.hears("error")[0]; s.Code != "too_many_rooms" || s.Room != "account:129" {
		t.Error(s.text)
	}
	p.say(`{"op":"subscribe","room":"account:1"}`) // again is no more
	p.hears("subscribed")
	p.say(`{"op":"unsubscribe","room":"account:2"}`)
	p.hears("unsubscribed")
	p.say(`{"op":"unsubscribe","room":"account:2"}`)
	p.hears("error")
	p.say(`{"op":"subscribe","room":"account:129"}`)
	p.hears("subscribed")
	d.noted(2, 1, `{}`)
	d.noted(129, 1, `{}`)
	if s := p.next(); s.AccountID != 129 {
		t.Error(s.text)
	}
	p.ws.CloseNow()
	eventually(t, "no room is left", func() bool { return h.Stats().Rooms == 0 })
	status(t, server, "/api/v1/events?"+strings.Repeat("room=all&", 129), http.StatusBadRequest, "too_many_rooms")
	status(t, server, "/api/v1/events", http.StatusBadRequest, "no_room")
}

func TestTransientEventsReachWhoFollowsNow(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	id, five := d.execution(), int64(5)
	p := call(t, server, "")
	h.Publish(Transient{Type: "typing", AccountID: &five})
	p.say(`{"op":"subscribe","room":"execution:%d"}`, id)
	p.say(`{"op":"subscribe","room":"account:5"}`)
	p.hears("subscribed", "1", "subscribed")
	h.Publish(Transient{Type: "step.progress", ExecutionID: &id, AccountID: &five, Flow: "order", Step: json.RawMessage(`{"name":"ask"}`), Data: json.RawMessage(`{"tokens":7}`)})
	s := p.hears("step.progress")[0]
	if s.ExecutionID != id || s.Step["name"] != "ask" || string(s.Data) != `{"tokens":7}` || s.ID != "" || s.Place != "" {
		t.Error(s.text)
	}
	p.silent() // once, in two rooms
	q := call(t, server, "")
	q.say(`{"op":"subscribe","room":"execution:%d"}`, id)
	q.hears("subscribed", "1")
	q.silent()
}

// Who stops reading is closed with 4008, and may resume; what others get goes on, in
// order.
func TestReaderThatStopsIsClosedWith4008(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	h.beats.write = time.Minute // its queue is full before
	id := d.execution()
	lazy := narrow(t, server)
	busy, radio := call(t, server, ""), listen(t, server, fmt.Sprintf("?room=execution:%d", id), "")
	for _, p := range []*phone{lazy, busy} {
		p.say(`{"op":"subscribe","room":"execution:%d"}`, id)
		p.hears("subscribed", "1")
	}
	radio.hears("subscribed", "1")
	long := `{"text":"` + strings.Repeat("x", 7000) + `"}`
	for n := 2; h.Stats().Slow == 0; n += 40 {
		if n > 4_000 {
			t.Fatal("nobody was slow")
		}
		d.happen(id, "step.completed", 40, long)
		h.Wake()
		busy.hears(numbers(n, n+39)...)
		radio.hears(numbers(n, n+39)...)
	}
	before := lazy.ends(4008)
	last := 1
	for _, s := range before {
		if last++; s.Seq != int64(last) {
			t.Fatalf("%s came behind %d", s.short(), last-1)
		}
	}
	d.happen(id, "step.completed", 1, `{}`)
	busy.next()
	again := call(t, server, "")
	again.say(`{"op":"subscribe","room":"execution:%d","since":{"epoch":1,"seq":%d}}`, id, last)
	if s := again.next(); !s.Recovered {
		t.Fatal(s.text)
	}
	again.hears(numbers(last+1, last+10)...)
	if n := h.Stats(); n.Slow != 1 {
		t.Errorf("%+v", n)
	}
}

// narrow is a client whose window is small, so that not reading is felt soon.
func narrow(t testing.TB, server *httptest.Server) *phone {
	t.Helper()
	dialer := net.Dialer{Control: smallBuffer}
	within, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(within, "ws"+strings.TrimPrefix(server.URL, "http")+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}},
	})
	must(t, err)
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { ws.CloseNow() })
	return &phone{t, ws}
}

// At the end every client hears when to come back, WebSockets close with 1012, and
// nothing is left behind (L32).
func TestCloseTellsEveryClientAndLeavesNothing(t *testing.T) { //nolint:paralleltest // it counts goroutines
	d := newHouse(t)
	before := goleak.IgnoreCurrent()
	h := New(Options{Store: d.store, Poll: 20 * time.Millisecond})
	must(t, h.Start(t.Context()))
	server := httptest.NewServer(doors(h))
	p, q := call(t, server, ""), call(t, server, "")
	q.say(`{"op":"subscribe","room":"all"}`)
	q.hears("subscribed")
	r := listen(t, server, "?room=all", "")
	r.hears("subscribed")
	var closing sync.WaitGroup
	closing.Go(func() { must(t, h.Close(context.Background())) })
	waits := map[int]bool{}
	for _, c := range []*phone{p, q} {
		frames := c.ends(websocket.StatusServiceRestart)
		if len(frames) != 1 || frames[0].Type != "server.shutdown" || frames[0].Reconnect < 1000 {
			t.Errorf("heard %+v", frames)
		}
		waits[frames[0].Reconnect] = true
	}
	s := r.hears("server.shutdown")[0]
	if waits[s.Reconnect] = true; len(waits) < 2 {
		t.Errorf("all are asked to come back at once: %v", waits)
	}
	if _, err := r.lines.ReadString('\n'); err == nil {
		t.Error("the stream goes on")
	}
	closing.Wait()
	must(t, h.Close(context.Background()))
	for _, path := range []string{"/ws", "/api/v1/events?room=all"} {
		status(t, server, path, http.StatusServiceUnavailable, "shutting_down")
	}
	server.Client().CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	server.Close()
	eventually(t, "all goroutines have ended", func() bool {
		return goleak.Find(before, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"),
			goleak.IgnoreAnyFunction("github.com/jackc/puddle/v2.(*Pool[...]).initResourceValue")) == nil
	})
}

// A client that does not answer pings is gone; one that does stays.
func TestClientThatAnswersNoPingIsGone(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, _ := d.open(Options{})
	h.beats.comment, h.beats.ping, h.beats.pong = 20*time.Millisecond, time.Second, 8*time.Second
	server := httptest.NewServer(doors(h))
	t.Cleanup(server.Close)
	p := call(t, server, "")
	go func() { _, _, _ = p.ws.Read(context.Background()) }() // it answers
	dead, lines, err := attach(strings.TrimPrefix(server.URL, "http://"))
	must(t, err)
	defer dead.Close()
	if said, err := readFrame(lines, make([]byte, 4096)); err != nil || !strings.Contains(string(said), "subscribed") {
		t.Fatalf("%s, %v", said, err)
	}
	eventually(t, "the dead one is gone", func() bool { return h.Stats().Rooms == 0 })
	if n := h.Stats(); n.Sockets != 1 {
		t.Errorf("%+v", n)
	}
	r := listen(t, server, "?room=all", "")
	for line := ""; line != ": still here\n"; {
		line, err = r.lines.ReadString('\n')
		must(t, err)
	}
}

// Pages of other sites cannot open a WebSocket with their visitor's cookies.
func TestPagesOfOthersCannotConnect(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	_, server := d.open(Options{Origins: []string{"console.example"}})
	for origin, want := range map[string]int{"https://evil.example": http.StatusForbidden, "https://console.example": http.StatusSwitchingProtocols} {
		ws, answer, _ := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if answer == nil || answer.StatusCode != want {
			t.Errorf("%s: %+v, want %d", origin, answer, want)
		}
		if ws != nil {
			ws.CloseNow()
		}
	}
}

// A client that answers nothing does not hold up the end.
func TestCloseCutsWhoDoesNotLeave(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	h, server := d.open(Options{})
	p := call(t, server, "")
	p.silent() // and from now on it does not read
	within, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := h.Close(within); err == nil || err.Error() != "1 clients did not leave in time" {
		t.Errorf("close: %v", err)
	}
	if n := h.Stats(); n.Sockets != 0 {
		t.Errorf("%+v", n)
	}
}

// FuzzFrame: whatever a client says, it gets one answer that is JSON, or is closed.
func FuzzFrame(f *testing.F) {
	for _, text := range []string{
		`{"op":"ping"}`, `{"op":"subscribe","room":"all"}`, `{"op":"subscribe","room":"execution:1","since":{"epoch":1,"seq":-5}}`,
		`{"op":"subscribe","room":"account:1","since":{"place":"1-2"}}`, `{"op":"subscribe","room":"account:1","since":{"seq":1}}`,
		`{"op":"unsubscribe","room":"all"}`, `{"op":"subscribe","room":["all"]}`, `[]`, `null`, `{"op":"subscribe","room":"\u0000"}`, "\xff", `{"op":"SUBSCRIBE"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newShelf()
		s.add(1, "step.started", 3)
		h := New(Options{Store: s})
		ctx, c := h.admit(t.Context(), nil, store.Pass{})
		defer h.leave(ctx, c)
		k := &socket{hub: h, client: c, may: func(context.Context, Room) bool { return true }}
		if reply := k.obey(ctx, text); reply != nil {
			h.send(c, reply)
		}
		frames, end := c.take()
		if len(frames) == 0 || end != nil || len(c.subscriptions) > 1 {
			t.Fatalf("%q is answered with %d frames, %v", text, len(frames), end)
		}
		for _, f := range frames {
			if !json.Valid(f.text) || len(f.text) > mostFrame {
				t.Errorf("%q is answered with %q", text, f.text)
			}
		}
	})
}

// Frames that are no text, or too long, end the connection.
func TestMalformedFramesEndTheConnection(t *testing.T) {
	t.Parallel()
	d := newHouse(t)
	_, server := d.open(Options{})
	p := call(t, server, "")
	p.say(`{"op":`)
	if s := p.hears("error")[0]; s.Code != "bad_request" {
		t.Error(s.text)
	}
	must(t, p.ws.Write(t.Context(), websocket.MessageBinary, []byte("x")))
	p.ends(websocket.StatusUnsupportedData)
	p = call(t, server, "")
	p.say(`{"op":"ping","room":%q}`, strings.Repeat("x", 5000))
	p.ends(websocket.StatusMessageTooBig)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// from is a client with an address of its own on loopback: limits count by it.
func from(host byte) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, host)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 50}}
}

// called is the status of a request to a webhook, and its answer; 0: the connection broke.
func called(t testing.TB, c *http.Client, method, address, kind string, body io.Reader) (int, map[string]any) {
	t.Helper()
	q, err := http.NewRequestWithContext(deadline(t, time.Minute), method, address, body)
	must(t, err)
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	answer, err := c.Do(q)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	var said map[string]any
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil
	}
	_ = json.Unmarshal(text, &said)
	return answer.StatusCode, said
}

// The checks that the original design was accepted by, against the sandbox's demo flow.
func TestTheOriginalChecksOfWebhooks(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	address := r.address + "/webhook/test"
	eventually(t, time.Minute, "the demo flow", func() bool {
		status, _ := called(t, from(2), http.MethodHead, address, "", nil)
		return status == http.StatusNoContent
	})
	t.Run("1,000 requests, 50 at a time: 100 pass", func(t *testing.T) {
		began := time.Now()
		got := hail(t, from(3), address, 1000, 50)
		if most := 100 * (1 + int(time.Since(began)/time.Minute)); got[202] < 100 || got[202] > most || got[202]+got[429] != 1000 {
			t.Errorf("answers %v, want 100 × 202 and 900 × 429", got)
		}
	})
	t.Run("50, then 150 requests", func(t *testing.T) {
		first, second := hail(t, from(4), address, 50, 1), hail(t, from(5), address, 150, 1)
		if first[202] != 50 || second[202] != 100 || second[429] != 50 {
			t.Errorf("answers %v and %v", first, second)
		}
	})
	t.Run("150 tests are not limited", func(t *testing.T) {
		if got := hail(t, from(6), address+"?test=true", 150, 5); got[200] != 150 {
			t.Errorf("answers %v, want 150 × 200", got)
		}
	})
	t.Run("15 MB is refused, 5 MB is taken, ten times over", func(t *testing.T) {
		for range 10 {
			if status, said := upload(t, from(7), address, 15<<20); status != 413 || said["code"] != "file_too_large" || said["detail"] != `File "big.bin" exceeds maximum size of 10MB` {
				t.Errorf("15 MB: %d %v", status, said)
			}
			if status, said := upload(t, from(7), address, 5<<20); status != 202 || said["execution_id"] == nil {
				t.Errorf("5 MB: %d %v", status, said)
			}
		}
		left, err := os.ReadDir(filepath.Join(r.dir, "spool"))
		if err != nil || len(left) != 0 {
			t.Errorf("the spool holds %v, %v", left, err)
		}
	})
}

// hail sends requests and counts the answers by status.
func hail(t *testing.T, c *http.Client, address string, n, atOnce int) map[int]int {
	t.Helper()
	got := map[int]int{}
	var mu sync.Mutex
	var sending sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for range n {
		places <- struct{}{}
		sending.Go(func() {
			status, _ := called(t, c, http.MethodGet, address, "", nil)
			mu.Lock()
			got[status]++
			mu.Unlock()
			<-places
		})
	}
	sending.Wait()
	return got
}

func upload(t *testing.T, c *http.Client, address string, size int) (int, map[string]any) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "big.bin")
	must(t, err)
	_, err = part.Write(bytes.Repeat([]byte("x"), size))
	must(t, err)
	must(t, form.Close())
	return called(t, c, http.MethodPost, address, form.FormDataContentType(), &body)
}

// file writes a file of the rig's folder and gives its path.
func (r *rig) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	must(r.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// put stores a flow by the command line and gives the address that starts it.
func (r *rig) put(definition string) string {
	r.t.Helper()
	said := r.command("flows", "put", "--webhook", r.file("flow.json", definition))
	_, address, found := strings.Cut(said, "/webhook/")
	if !found {
		r.t.Fatalf("flows put said %q", said)
	}
	return "/webhook/" + strings.TrimSpace(address)
}

// Whatever is accepted is sent once, though frontdesk is killed again and again.
func TestKillsWhileFlowsRunLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	kills, each := 4, 25
	if torture() {
		kills, each = 20, 50
	}
	r := newRig(t, nil)
	r.start()
	account := r.pair(phone)
	r.quick(account, 0)
	path := r.put(fmt.Sprintf(`{"name": "update", "account": %d, "trigger": {"type": "webhook", "dedupe": "trigger.body.id"}, "contact": "{{trigger.body.phone}}",
		"steps": [{"id": "words", "type": "text", "text": "order {{trigger.body.id}}"}, {"id": "told", "type": "send", "text": "{{steps.words.text}}", "wait_for": "sent"},
		{"id": "bye", "type": "send", "text": "bye {{trigger.body.id}}"}]}`, account))
	const people = 5
	sent := 0
	for kill := range kills {
		delivered := make(chan struct{})
		address, client := r.address+path, from(byte(10+kill))
		go func() {
			defer close(delivered)
			for i := range each {
				id := kill*each + i
				body := fmt.Sprintf(`{"id": %d, "phone": "+1202555%04d"}`, id, 300+id%people)
				r.deliver(client, address, body)
			}
		}()
		time.Sleep(300*time.Millisecond + rand.N(700*time.Millisecond))
		r.kill()
		r.start()
		// What broke off is sent again, as senders do, to where frontdesk is now.
		<-delivered
		for i := range each {
			id := kill*each + i
			body := fmt.Sprintf(`{"id": %d, "phone": "+1202555%04d"}`, id, 300+id%people)
			if status, said := called(t, client, http.MethodPost, r.address+path, "application/json", strings.NewReader(body)); status != 200 && status != 202 {
				t.Fatalf("delivery %d was answered %d: %v", id, status, said)
			}
		}
		sent += each
	}
	customers := newCrowd(r, phone, people)
	customers.first = 12025550300
	arrived := func() map[string]int {
		seen := map[string]int{}
		for p := range people {
			for _, text := range customers.answers(p) {
				seen[text]++
			}
		}
		return seen
	}
	eventually(t, 2*time.Minute, "every message to arrive", func() bool { return len(arrived()) == 2*sent })
	time.Sleep(300 * time.Millisecond) // for a message that must not come
	doubled := 0
	for text, n := range arrived() {
		if n != 1 {
			doubled++
			t.Errorf("%q arrived %d times", text, n)
		}
	}
	t.Logf("kill -9 %d times while flows ran: %d deliveries, %d messages, doubled %d", kills, sent, 2*sent, doubled)
	var found struct {
		Items []struct{ Status string }
	}
	r.api(http.MethodGet, "/api/v1/executions?limit=100&status=failed", nil, &found)
	if len(found.Items) != 0 {
		t.Errorf("%d executions failed", len(found.Items))
	}
}

// deliver sends a delivery; whether it arrives is for the repetition to find out.
func (r *rig) deliver(c *http.Client, address, body string) {
	called(r.t, c, http.MethodPost, address, "application/json", strings.NewReader(body))
}

// A program follows an execution over the WebSocket, from its beginning to its end.
func TestAnExecutionIsFollowedLive(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	path := r.put(`{"name": "slow", "trigger": {"type": "webhook"}, "steps": [{"id": "a", "type": "text", "text": "x"}, {"id": "pause", "type": "wait", "for": "5s"},
		{"id": "answer", "type": "respond", "status": 201, "body": {"said": "{{steps.a.text}}"}}]}`)
	r.api(http.MethodGet, "/api/v1/flows", nil, nil) // for the token
	ctx := deadline(t, 2*time.Minute)
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.address, "http")+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {r.token}}})
	must(t, err)
	defer ws.CloseNow()
	status, said := called(t, from(30), http.MethodPost, r.address+path, "", nil)
	if status != 202 {
		t.Fatalf("answered %d: %v", status, said)
	}
	must(t, ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"op": "subscribe", "room": "execution:%v"}`, said["execution_id"])))
	types := followed(ctx, t, ws, "execution.completed")
	for _, want := range []string{"subscribed", "step.completed", "execution.waiting", "execution.resumed", "execution.completed"} {
		if !strings.Contains(strings.Join(types, " "), want) {
			t.Errorf("heard %v, but not %s", types, want)
		}
	}
	if _, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.address, "http")+"/ws", nil); err == nil {
		t.Error("a stranger may follow")
	}
	eventually(t, time.Minute, "a test to be answered", func() bool { // 202 when it takes longer than ten seconds
		status, said := called(t, from(30), http.MethodPost, r.address+path+"?test=true", "", nil)
		return status == 201 && said["said"] == "x"
	})
}

// followed are the types of events up to the last one.
func followed(ctx context.Context, t *testing.T, ws *websocket.Conn, last string) (types []string) {
	t.Helper()
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			t.Fatalf("heard %v, then %v", types, err)
		}
		var v struct{ Type string }
		must(t, json.Unmarshal(text, &v))
		if types = append(types, v.Type); v.Type == last {
			return types
		}
	}
}

// Files of a delivery that the flow does not want are not kept for a moment.
func TestDeliveryThatItsFlowDoesNotWantKeepsNoFile(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	path := r.put(`{"name": "photo", "trigger": {"type": "webhook", "input": {"type": "object", "required": ["order"]}}, "steps": [{"id": "x", "type": "text", "text": "x"}]}`)
	db := r.database()
	kept := func() (files int64) {
		must(t, db.QueryRow(t.Context(), `select coalesce(pg_sequence_last_value('file_id_seq'), 0)`).Scan(&files))
		return files
	}
	status, said := upload(t, from(8), r.address+path, 1<<10)
	if status != http.StatusUnprocessableEntity || said["code"] != "bad_input" || kept() != 0 {
		t.Errorf("answered %d %v, and %d files were kept", status, said, kept())
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	must(t, form.WriteField("order", "7"))
	part, err := form.CreateFormFile("file", "photo.txt")
	must(t, err)
	_, err = part.Write([]byte("x"))
	must(t, err)
	must(t, form.Close())
	if status, said := called(t, from(8), http.MethodPost, r.address+path, form.FormDataContentType(), &body); status != http.StatusAccepted || kept() != 1 {
		t.Errorf("answered %d %v, and %d files were kept", status, said, kept())
	}
}

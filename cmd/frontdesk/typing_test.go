package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// told is what tests read of an event.
type told struct {
	Type           string
	AccountID      int64 `json:"account_id"`
	ConversationID int64 `json:"conversation_id"`
	ExecutionID    int64 `json:"execution_id"`
	Step           struct{ Name string }
	Data           struct {
		From       string
		Typing     bool
		Characters int
	}
}

// hear follows rooms over server-sent events; what comes is sent to the channel, which
// is closed with the stream.
func (r *rig) hear(ctx context.Context, rooms ...string) <-chan told {
	r.t.Helper()
	r.api(http.MethodGet, "/api/v1/flows", nil, nil) // for the token
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+"/api/v1/events?"+url.Values{"room": rooms}.Encode(), nil)
	must(r.t, err)
	q.Header.Set("X-Api-Key", r.token)
	answer, err := http.DefaultClient.Do(q)
	must(r.t, err)
	r.t.Cleanup(func() { answer.Body.Close() })
	lines, all := bufio.NewScanner(answer.Body), make(chan told, 1000)
	for waiting := len(rooms); waiting > 0 && lines.Scan(); {
		if strings.Contains(lines.Text(), `"subscribed"`) {
			waiting--
		}
	}
	go func() {
		defer close(all)
		for lines.Scan() {
			text, is := strings.CutPrefix(lines.Text(), "data: ")
			var one told
			if is && json.Unmarshal([]byte(text), &one) == nil {
				all <- one
			}
		}
	}()
	return all
}

// until is the next event that fits.
func until(t *testing.T, all <-chan told, what string, fits func(told) bool) told {
	t.Helper()
	var heard []string
	for one := range all {
		if fits(one) {
			return one
		}
		heard = append(heard, one.Type)
	}
	t.Fatalf("heard %v, but not %s", heard, what)
	return told{}
}

func types(from string, on bool) func(told) bool {
	return func(one told) bool { return one.Type == "typing" && one.Data.From == from && one.Data.Typing == on }
}

// Whoever follows a conversation hears that the customer types and that an answer is on
// its way, and whoever follows an execution how far its model has come: over both
// transports, from the process that runs, without a word of what is written.
func TestTypingAndProgressAreFollowedLive(t *testing.T) {
	t.Parallel()
	const desk, customer = "12025550111", "12025550123"
	r := newRig(t, nil)
	half := make(chan struct{})
	r.ai.halves = func() { <-half }
	release := func() { half <- struct{}{} }
	r.start()
	account := r.pair(desk)
	r.quick(account, 0)
	r.api(http.MethodPatch, fmt.Sprintf("/api/v1/accounts/%d", account), map[string]any{"presence": true}, nil)
	go release() // for the provider's test
	r.provider(r.ai, "ai", 1)
	ctx := deadline(t, time.Minute)
	heard := r.hear(ctx, fmt.Sprint("account:", account))

	_, err := r.wa.Customer(customer).Send(ctx, desk, "hello")
	must(t, err)
	us := until(t, heard, "that we type", types("us", true))
	release()
	until(t, heard, "that we have stopped", types("us", false))
	until(t, heard, "the answer", func(one told) bool { return one.Type == "message.sent" })

	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.address, "http")+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"X-Api-Key": {r.token}}})
	must(t, err)
	defer ws.CloseNow()
	must(t, ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"op": "subscribe", "room": "conversation:%d"}`, us.ConversationID)))
	followed(ctx, t, ws, "subscribed")
	eventually(t, time.Minute, "presence", func() bool { return r.wa.Stats()["presence.available"] > 0 })
	for _, on := range []bool{true, false} {
		must(t, r.wa.Customer(customer).SetTyping(desk, on))
		var text []byte
		for !strings.Contains(string(text), `"type":"typing"`) { // receipts may come between
			_, text, err = ws.Read(ctx)
			must(t, err)
		}
		if want := fmt.Sprintf(`"data":{"from":"customer","typing":%v}}`, on); !strings.Contains(string(text), want) {
			t.Errorf("heard %s, want %s", text, want)
		}
		if one := until(t, heard, "that the customer types", types("customer", on)); one.ConversationID != us.ConversationID || one.AccountID != account {
			t.Errorf("heard %+v", one)
		}
	}

	path := r.put(fmt.Sprintf(`{"name": "greet", "account": %d, "trigger": {"type": "webhook"}, "steps": [{"id": "words", "type": "ai", "prompt": "Greet"}]}`, account))
	status, said := called(t, from(31), http.MethodPost, r.address+path, "", nil)
	if status != 202 {
		t.Fatalf("answered %d: %v", status, said)
	}
	one := until(t, heard, "progress", func(one told) bool { return one.Type == "step.progress" })
	if fmt.Sprint(one.ExecutionID) != fmt.Sprint(said["execution_id"]) || one.Step.Name != "words" || one.Data.Characters == 0 {
		t.Errorf("heard %+v of %v", one, said)
	}
	release()
	until(t, heard, "the end", func(one told) bool { return one.Type == "execution.completed" })
}

// What happens in the sandbox's process at once is heard in the one that people follow.
func TestTypingInTheSandboxIsFollowedLive(t *testing.T) {
	t.Parallel()
	r := newSandbox(t)
	heard := r.hear(deadline(t, 2*time.Minute), "all")
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := &http.Client{Jar: jar}
	post := func(path string, form url.Values) {
		t.Helper()
		answer, err := c.PostForm(r.address+path, form)
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s answered %s", path, answer.Status)
		}
	}
	_, link, _ := strings.Cut(r.greeting, "link=")
	post("/sign-in", url.Values{"link": {link}})
	eventually(t, time.Minute, "the account to be linked", func() bool {
		var all struct{ Items []item }
		r.api(http.MethodGet, "/api/v1/accounts", nil, &all)
		return len(all.Items) == 1 && all.Items[0].Status == "connected"
	})
	post("/try", url.Values{"customer": {"12025550123"}, "account": {sandboxPhone}, "text": {"Are you open?"}})
	one := until(t, heard, "that we type", types("us", true))
	if one.ConversationID == 0 || one.AccountID == 0 {
		t.Errorf("heard %+v", one)
	}
	until(t, heard, "that we have stopped", types("us", false))
}

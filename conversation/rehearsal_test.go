package conversation_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

func TestRehearsalLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	var reads, writes atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			reads.Add(1)
		} else {
			writes.Add(1)
		}
	}))
	t.Cleanup(service.Close)
	s := &script{lines: []providers.Answer{
		calls("stock", `{}`), calls("order", `{}`), calls("remember_fact", `{"fact": "likes tea"}`), says("Ordered."),
		calls("hand_off", `{"reason": "wants a refund"}`),
	}}
	d := newDesk(t, func(o *conversation.Options) { o.HTTP = http.DefaultClient })
	for name, method := range map[string]string{"stock": http.MethodGet, "order": http.MethodPost} {
		d.tools = append(d.tools, store.Tool{Name: name, Description: name, Parameters: json.RawMessage(`{"type": "object"}`), Method: method, URL: service.URL, IsActive: true})
	}
	d.think = s.think
	now := store.Turn{
		ConversationID: 1, AccountID: 1, ContactID: 7, State: store.StateBot, LastSeq: 1, HasTools: true, Persona: "a pirate", Now: time.Now(), Disclosure: new("By a machine."),
		Lines: []store.Line{{Direction: "in", Origin: "customer", Seq: 1, Kind: "text", Body: "one tea please", At: time.Now()}},
	}
	r, err := d.p.Rehearse(t.Context(), now, 3)
	must(t, err)
	if strings.Join(r.Bubbles, "|") != "_By a machine._\n\nOrdered." || strings.Join(r.Tools, " ") != "stock order remember_fact" || r.HandOff != "" {
		t.Errorf("rehearsed %+v", r)
	}
	if q := s.asked[0]; q.Provider != 3 || q.Conversation != 0 || !strings.Contains(read(q)[0].Text, "a pirate") {
		t.Errorf("asked %+v", q)
	}
	if r, err = d.p.Rehearse(t.Context(), now, 0); err != nil || r.HandOff != "wants a refund" || len(r.Bubbles) != 0 {
		t.Errorf("rehearsed %+v, %v", r, err)
	}
	if reads.Load() != 1 || writes.Load() != 0 || len(d.facts)+len(d.replies)+len(d.alerts) != 0 || d.row(1).State != store.StateBot {
		t.Errorf("%d reads and %d writes of a service, facts %v, replies %v, alerts %v", reads.Load(), writes.Load(), d.facts, d.replies, d.alerts)
	}
	if _, err := d.p.Rehearse(t.Context(), now, 0); !errors.Is(err, conversation.ErrNoAnswer) {
		t.Errorf("nobody answers: %v", err)
	}
	service.Close()
	s.lines = []providers.Answer{calls("stock", `{}`), calls("stock", `{"again": true}`), says("Not reached.")}
	if r, err = d.p.Rehearse(t.Context(), now, 0); err != nil || r.HandOff != "tool_failed" {
		t.Errorf("with a service that is away: %+v, %v", r, err)
	}
}

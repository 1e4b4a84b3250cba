package flow_test

import (
	"fmt"
	"testing"
	"time"

	"frontdesk/store"
)

// write has a customer write to the account.
func (h *house) write(customer int, id, text string) {
	h.t.Helper()
	phone := fmt.Sprintf("1202555%04d", customer)
	h.done(h.store.Receive(h.t.Context(), store.Inbound{
		AccountID: h.account, Phone: phone, Chat: phone + "@s.whatsapp.net", WaID: id, Kind: "text", Body: text, SentAt: time.Now(),
	}))
}

func TestAMessageStartsAFlowOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.write(1, "M0", "tracking before the flow was there")
	h.define(fmt.Sprintf(`{"name": "tracking", "account": %d, "trigger": {"type": "message", "when": {"value": "trigger.text", "contains": "tracking"}},
		"steps": [{"id": "told", "type": "send", "text": "Your parcel, {{contact.phone}}: {{trigger.text}}"}]}`, h.account))
	h.eventually("the engine follows", func() bool { h.engine.Hear(nil); return h.count(`select count(*) from event_cursor`) == 1 })
	h.write(1, "M1", "tracking please")
	h.write(1, "M2", "something else")
	second := h.start("second", nil)
	h.eventually("a message was answered", func() bool {
		h.engine.Hear(nil)
		second.Hear(nil)
		return h.count(`select count(*) from execution where status = 'completed'`) == 1
	})
	h.done(h.sql.Exec(t.Context(), `update event_cursor set xid = '1', id = 0`)) // as if a crash had come before it was written
	h.engine.Hear(nil)
	h.eventually("all was read again", func() bool {
		h.engine.Hear(nil)
		return h.count(`select count(*) from event_cursor where xid > '1'`) == 1
	})
	if n := h.count(`select count(*) from execution`); n != 1 {
		t.Errorf("%d executions, want 1", n)
	}
	if n := h.count(`select count(*) from outbound where body = 'Your parcel, +12025550001: tracking please'`); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestAnEventStartsAFlowAndFlowsDoNotStartThemselves(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.define(fmt.Sprintf(`{"name": "people", "account": %d, "trigger": {"type": "event", "event": "conversation.state", "when": {"value": "trigger.data.detail.state", "is": "human"}},
		"steps": [{"id": "again", "type": "handoff", "note": "{{trigger.event}} by {{trigger.data.detail.by}}"}, {"id": "told", "type": "send", "text": "A person looks at it"}]}`, h.account))
	h.define(fmt.Sprintf(`{"name": "echo", "account": %d, "trigger": {"type": "event", "event": "message.queued"}, "steps": [{"id": "told", "type": "send", "text": "echo"}]}`, h.account))
	h.eventually("the engine follows", func() bool { h.engine.Hear(nil); return h.count(`select count(*) from event_cursor`) == 1 })
	h.write(1, "M1", "hello")
	h.must(h.store.SetState(t.Context(), 1, store.StateHuman, "Ana"))
	h.eventually("the flow has run", func() bool {
		h.engine.Hear(nil)
		return h.count(`select count(*) from execution where status = 'completed'`) == 1
	})
	h.write(2, "M2", "the end") // behind everything that the flow did
	h.eventually("all was read", func() bool {
		h.engine.Hear(nil)
		return h.count(`select count(*) from event e, event_cursor c where (e.xid, e.id) > (c.xid, c.id)`) == 0
	})
	if n := h.count(`select count(*) from execution`); n != 1 {
		t.Errorf("%d executions, want 1: what a flow does starts none", n)
	}
	if n := h.count(`select count(*) from note where body = 'conversation.state by Ana'`); n != 1 {
		t.Errorf("%d notes, want 1", n)
	}
}

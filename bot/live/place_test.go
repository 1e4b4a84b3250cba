package live

import (
	"encoding/json"
	"strings"
	"testing"

	"frontdesk/store"
)

type storeEvent = store.Event

func placeAt(n int) store.Place { return store.Place{XID: int64(n)} }

func eventAt(xid, execution, seq int64) store.Event {
	return store.Event{ID: xid, XID: xid, ExecutionID: &execution, Seq: seq}
}

// Two transactions about one execution may have begun the other way round: its events
// are told by seq, and nobody resumes behind one that was not told.
func TestEventsOfOneExecutionAreToldBySeq(t *testing.T) {
	t.Parallel()
	steps := arrange(placeAt(9), []store.Event{eventAt(10, 1, 6), eventAt(11, 2, 1), eventAt(12, 1, 5), eventAt(13, 1, 7)})
	for i, want := range []struct {
		execution, seq, reached int64
		settled                 bool
	}{{1, 5, 9, false}, {2, 1, 9, false}, {1, 6, 12, true}, {1, 7, 13, true}} {
		s := steps[i]
		if *s.ExecutionID != want.execution || s.Seq != want.seq || s.frame.place.XID != want.reached || s.settled != want.settled {
			t.Errorf("step %d is %d:%d at %d, settled %v, instead of %+v", i, *s.ExecutionID, s.Seq, s.frame.place.XID, s.settled, want)
		}
	}
}

func TestPlaceIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, p := range []store.Place{{}, {XID: 7, ID: 9}, {XID: 1 << 62, ID: 1<<63 - 1}} {
		if got, err := readPlace(written(p)); err != nil || got != p {
			t.Errorf("%+v was read as %+v, %v", p, got, err)
		}
	}
	for _, text := range []string{"", "-", "1", "1-", "-1-2", "1--2", "a-b", "99999999999999999999-1", "1-2-3"} {
		if got, err := readPlace(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestRoomIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"all", "execution:1", "flow:2", "account:3", "conversation:9223372036854775807"} {
		if r, err := ParseRoom(name); err != nil || r.String() != name {
			t.Errorf("%q was read as %v, %v", name, r, err)
		}
	}
	for _, name := range []string{"", "all:1", "execution", "execution:", "execution:0", "execution:-1", "execution:+1", "execution:01", "message:1", "execution:1 "} {
		if r, err := ParseRoom(name); err == nil {
			t.Errorf("%q was read as %v", name, r)
		}
	}
}

// L19: no event is longer than 8 KiB; what is left out can be read elsewhere.
func TestLongEventsAreCutAndSayWhereTheRestIs(t *testing.T) {
	t.Parallel()
	seven := int64(7)
	long := `"` + strings.Repeat("x", 9000) + `"`
	for name, c := range map[string]struct {
		event store.Event
		link  string
		want  string
	}{
		"data": {
			store.Event{Type: "log", ExecutionID: &seven, Data: json.RawMessage(`{"big":` + long + `,"small":1}`)},
			"/api/v1/executions/7", `"data":{"small":1}`,
		},
		"step": {
			store.Event{Type: "step.completed", ExecutionID: &seven, Data: json.RawMessage(`{"step":{"name":"ask","result":` + long + `},"x":2}`)},
			"/api/v1/executions/7", `"step":{"name":"ask"},"data":{"x":2}`,
		},
		"message": {
			store.Event{Type: "message.received", ConversationID: &seven, WaID: "A", Kind: "text", Body: "\x01" + strings.Repeat("ü", 20_001)},
			"/api/v1/conversations/7/messages", `"message":{"id":"A","kind":"text","body":"\u0001üü`,
		},
	} {
		text := string(newFrame(c.event, placeAt(1)).text)
		if len(text) > mostFrame || !strings.Contains(text, `"truncated":true,"link":"`+c.link+`"`) || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d bytes: %.300s … %s", name, len(text), text, text[len(text)-80:])
		}
		if !json.Valid([]byte(text)) || strings.Contains(text, "\n") || strings.Contains(text, `\ufffd`) {
			t.Errorf("%s is not one line of JSON", name)
		}
	}
}

func TestShortEventsAreWhole(t *testing.T) {
	t.Parallel()
	seven, eight := int64(7), int64(8)
	got := string(newFrame(store.Event{
		ID: 3, XID: 2, Type: "step.started", ExecutionID: &seven, FlowID: &eight, Flow: "order", Epoch: 4, Seq: 5, Test: true,
		Data: json.RawMessage(`{"step":{"name":"ask"},"why":"so"}`),
	}, store.Place{XID: 2, ID: 3}).text)
	want := `{"id":"7:5","type":"step.started","place":"2-3","execution_id":7,"flow_id":8,"flow":"order","epoch":4,"seq":5,` +
		`"time":"0001-01-01T00:00:00Z","test":true,"step":{"name":"ask"},"data":{"why":"so"}}`
	if got != want {
		t.Errorf("encoded\n%s instead of\n%s", got, want)
	}
	got = string(newFrame(store.Event{
		ID: 3, XID: 2, Type: "message.sent", AccountID: &seven, ConversationID: &eight, WaID: "A", Kind: "text", Body: "hello", Status: "sent", Origin: "bot",
		Chat: "c", Data: json.RawMessage(`{}`),
	}, store.Place{XID: 2, ID: 3}).text)
	want = `{"id":"evt_3","type":"message.sent","place":"2-3","account_id":7,"conversation_id":8,"time":"0001-01-01T00:00:00Z",` +
		`"data":{"message":{"id":"A","kind":"text","body":"hello","status":"sent","origin":"bot","has_media":false,"chat":"c","conversation_id":8,"account_id":7}}}`
	if got != want {
		t.Errorf("encoded\n%s instead of\n%s", got, want)
	}
}

package live

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"frontdesk/store"
)

// mostFrame is how long an encoded event may be (L19).
const mostFrame = 8 << 10

// frame is something encoded once, for every client that gets it. It never changes.
type frame struct {
	text      []byte      // JSON without a line break
	place     store.Place // events: a client that has this one resumes behind it; zero: it says nothing about that
	execution int64       // of its execution's event; 0: none
	seq       int64
	transient bool // the first to go when a client is slow
}

// envelope is an event as clients get it.
type envelope struct {
	ID             string          `json:"id,omitempty"`
	Type           string          `json:"type"`
	Place          string          `json:"place,omitempty"`
	ExecutionID    *int64          `json:"execution_id,omitempty"`
	FlowID         *int64          `json:"flow_id,omitempty"`
	Flow           string          `json:"flow,omitempty"`
	AccountID      *int64          `json:"account_id,omitempty"`
	ConversationID *int64          `json:"conversation_id,omitempty"`
	Epoch          int64           `json:"epoch,omitempty"`
	Seq            int64           `json:"seq,omitempty"`
	Time           time.Time       `json:"time"`
	Test           bool            `json:"test,omitempty"`
	Step           json.RawMessage `json:"step,omitempty"`
	Data           json.RawMessage `json:"data,omitempty"`
	Truncated      bool            `json:"truncated,omitempty"`
	Link           string          `json:"link,omitempty"` // truncated: where all of it can be read
}

// message is what the data of message.* events holds.
type message struct {
	ID             string `json:"id"`
	Kind           string `json:"kind"`
	Body           string `json:"body"`
	Status         string `json:"status"`
	Origin         string `json:"origin"`
	HasMedia       bool   `json:"has_media"`
	Chat           string `json:"chat"`
	ConversationID *int64 `json:"conversation_id"`
	AccountID      *int64 `json:"account_id"`
}

// newFrame encodes an event. A client that has it goes on behind reached.
func newFrame(e store.Event, reached store.Place) *frame {
	v := envelope{
		ID: "evt_" + strconv.FormatInt(e.ID, 10), Type: e.Type, Place: written(reached), ExecutionID: e.ExecutionID, FlowID: e.FlowID, Flow: e.Flow,
		AccountID: e.AccountID, ConversationID: e.ConversationID, Epoch: e.Epoch, Seq: e.Seq, Time: e.At.UTC(), Test: e.Test,
	}
	f := &frame{place: reached}
	if e.ExecutionID != nil {
		v.ID = strconv.FormatInt(*e.ExecutionID, 10) + ":" + strconv.FormatInt(e.Seq, 10)
		f.execution, f.seq = *e.ExecutionID, e.Seq
	}
	data := members(e.Data)
	if v.Step = data["step"]; v.Step != nil {
		delete(data, "step")
	}
	if strings.HasPrefix(e.Type, "message.") {
		v.fitMessage(messageOf(e))
		data = members(v.Data)
	}
	f.text = v.fit(data)
	return f
}

func messageOf(e store.Event) message {
	return message{
		ID: e.WaID, Kind: e.Kind, Body: e.Body, Status: e.Status, Origin: e.Origin, HasMedia: e.FileID != nil, Chat: e.Chat,
		ConversationID: e.ConversationID, AccountID: e.AccountID,
	}
}

// members are those of a JSON object; none of anything else.
func members(object json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(object, &m) != nil {
		return nil
	}
	return m
}

// fitMessage puts a message into the data, with as much of its body as there is room
// for.
func (v *envelope) fitMessage(m message) {
	for {
		v.Data = encoded(map[string]message{"message": m})
		if len(encoded(v)) <= mostFrame || m.Body == "" {
			return
		}
		v.cut()
		m.Body = shortened(m.Body, len(m.Body)/2)
	}
}

// shortened is at most n bytes of a text, without half a character at its end.
func shortened(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// fit encodes the event; where it is too long, the largest members of its data and its
// step are left out until it fits.
func (v *envelope) fit(data map[string]json.RawMessage) []byte {
	step := members(v.Step)
	for {
		v.Data, v.Step = object(data), object(step)
		text := encoded(v)
		if len(text) <= mostFrame || len(data)+len(step) == 0 {
			return text
		}
		v.cut()
		dropLargest(data, step)
	}
}

func object(m map[string]json.RawMessage) json.RawMessage {
	if len(m) == 0 {
		return nil
	}
	return encoded(m)
}

// dropLargest removes the largest member of all.
func dropLargest(objects ...map[string]json.RawMessage) {
	var from map[string]json.RawMessage
	largest := ""
	for _, o := range objects {
		for name, value := range maps.All(o) {
			if from == nil || len(name)+len(value) > len(largest)+len(from[largest]) {
				from, largest = o, name
			}
		}
	}
	delete(from, largest)
}

// cut says that something was left out, and where it is.
func (v *envelope) cut() {
	v.Truncated = true
	switch {
	case v.ExecutionID != nil:
		v.Link = fmt.Sprintf("/api/v1/executions/%d", *v.ExecutionID)
	case v.ConversationID != nil:
		v.Link = fmt.Sprintf("/api/v1/conversations/%d/messages", *v.ConversationID)
	}
}

// encoded is v as JSON on one line.
func encoded(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // all that is encoded here can be
	}
	return text
}

// notice is a frame that is about the connection or a room instead of an event.
type notice struct {
	Type        string    `json:"type"`
	Room        string    `json:"room,omitempty"`
	Place       string    `json:"place,omitempty"` // subscribed: live events come behind it
	Epoch       *int64    `json:"epoch,omitempty"`
	Seq         *int64    `json:"seq,omitempty"` // subscribed: the snapshot knows of events up to here
	Recovered   *bool     `json:"recovered,omitempty"`
	Snapshot    *snapshot `json:"snapshot,omitempty"`
	From        any       `json:"from,omitempty"` // gap: the first that is missing; executions: a seq, other rooms: a place
	To          any       `json:"to,omitempty"`   // gap: the last
	Link        string    `json:"link,omitempty"` // gap: where the record can be read
	Code        string    `json:"code,omitempty"`
	Message     string    `json:"message,omitempty"`
	ReconnectMS int64     `json:"reconnect_after_ms,omitempty"`
}

func (n notice) frame() *frame { return &frame{text: encoded(n)} }

// gapFrame says which events of an execution are missing.
func gapFrame(r Room, from, to int64) *frame {
	return notice{Type: "gap", Room: r.String(), From: from, To: to, Link: linkOf(r)}.frame()
}

func linkOf(r Room) string { return fmt.Sprintf("/api/v1/executions/%d", r.ID) }

package flow

import (
	"encoding/json"
	"time"
)

// Definition is one version of a flow, as its JSON says. Check has seen it before
// anybody uses it.
type Definition struct {
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"` // when to start it, for people and models
	Trigger     Trigger `json:"trigger"`
	Account     int64   `json:"account,omitempty"` // that sends; 0: the one that the trigger came from
	Contact     string  `json:"contact,omitempty"` // template of the address of whom it is about
	Steps       []Step  `json:"steps"`
}

// Trigger is what starts an execution.
type Trigger struct {
	Type    string          `json:"type"`              // webhook, message, event or call
	Methods []string        `json:"methods,omitempty"` // of a webhook; none: all
	Input   json.RawMessage `json:"input,omitempty"`   // JSON Schema of a webhook's body
	Dedupe  string          `json:"dedupe,omitempty"`  // path of what names a delivery
	Respond string          `json:"respond,omitempty"` // sync waits for the result
	Event   string          `json:"event,omitempty"`   // its type
	When    *Condition      `json:"when,omitempty"`
}

// Step is one thing that a flow does. Which fields count depends on its type.
type Step struct {
	ID      string     `json:"id"`
	Type    string     `json:"type"`
	When    *Condition `json:"when,omitempty"`
	Retry   *Retry     `json:"retry,omitempty"`
	OnError string     `json:"on_error,omitempty"` // fail (the default), continue or handoff
	Timeout Duration   `json:"timeout,omitempty"`

	Text     string          `json:"text,omitempty"`     // text, send
	Prompt   string          `json:"prompt,omitempty"`   // ai
	Output   json.RawMessage `json:"output,omitempty"`   // ai: JSON Schema of the answer
	Fallback string          `json:"fallback,omitempty"` // ai: when nobody answers
	Media    string          `json:"media,omitempty"`    // send: address, or a file of the trigger
	Location *Location       `json:"location,omitempty"` // send
	WaitFor  string          `json:"wait_for,omitempty"` // send: queued, sent or delivered

	Method  string            `json:"method,omitempty"`  // http
	URL     string            `json:"url,omitempty"`     // http
	Headers map[string]string `json:"headers,omitempty"` // http
	Secret  string            `json:"secret,omitempty"`  // http: name of one
	Body    any               `json:"body,omitempty"`    // http, respond

	For    Duration `json:"for,omitempty"`    // wait
	Until  string   `json:"until,omitempty"`  // wait: template of a time
	Reply  Duration `json:"reply,omitempty"`  // wait: for the contact's next message, so long
	Note   string   `json:"note,omitempty"`   // handoff
	Reason string   `json:"reason,omitempty"` // stop
	Status int      `json:"status,omitempty"` // respond

	Tags       []string          `json:"tags,omitempty"`       // contact
	Attributes map[string]string `json:"attributes,omitempty"` // contact
	OptIn      *bool             `json:"opt_in,omitempty"`     // contact
}

// Retry says how often a step is tried and how long it waits between.
type Retry struct {
	Times int      `json:"times"`
	Wait  Duration `json:"wait"`
}

// Location is a place on the map; both are templates of numbers.
type Location struct {
	Latitude  string `json:"latitude"`
	Longitude string `json:"longitude"`
	Name      string `json:"name,omitempty"`
}

// Duration is a length of time, written as in "90s", "2h" or "1h30m".
type Duration time.Duration

// UnmarshalJSON reads it.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// MarshalJSON writes it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

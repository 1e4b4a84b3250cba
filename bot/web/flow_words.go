package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// onWords say whether something starts a flow.
func onWords(active bool) string {
	if active {
		return "on"
	}
	return "off"
}

// templateParts are what may stand in a template.
var templateParts = []option{
	{"{{trigger.body.name}}", "What came with a call"},
	{"{{trigger.text}}", "What a customer wrote"},
	{"{{contact.name}}", "Whom it is about: name, phone, tags, attributes"},
	{"{{steps.ID.text}}", "What an earlier step came to"},
	{`{{trigger.body.name | default: "you" | trim}}`, "With filters"},
}

// rowsFor is how high a field is for a text.
func rowsFor(text string) string {
	return strconv.Itoa(min(max(strings.Count(text, "\n")+2, 5), 28))
}

func problemsWords(n int) string {
	if n == 1 {
		return "One thing is not right; nothing was saved."
	}
	return fmt.Sprintf("%d things are not right; nothing was saved.", n)
}

// addressName is what people call an address.
func addressName(w Webhook) string {
	if w.Label != "" {
		return w.Label
	}
	return "Address"
}

// addressWords say how callers of an address prove who they are.
func addressWords(w Webhook) string {
	words := "Callers prove who they are: " + strings.ToLower(authWords(w.Auth)[:1]) + authWords(w.Auth)[1:]
	if w.Auth == "hmac" {
		words += ", " + w.Header
	}
	if w.SignedQuota != nil {
		words += fmt.Sprintf("; up to %d signed requests in a minute", *w.SignedQuota)
	}
	return words + "."
}

// testWords say what kind of test an execution is.
func testWords(test string) string {
	if test == "live" {
		return "test with AI"
	}
	return "test"
}

func againWords(test string) string {
	if test != "" {
		return "Running it again is a test, too."
	}
	return "Running it again does everything once more: what it sends is sent again. From a step on, what came before it is kept."
}

// executionWords say what an execution does or waits for, or how it ended. A time may
// follow.
func executionWords(v executionPage) string {
	if v.unwanted() {
		return "It ends before its next step: somebody cancelled it."
	}
	switch v.Status {
	case "queued":
		return placeWords(v.Position)
	case "running":
		return "It is under way."
	case "waiting":
		return map[string]string{
			"time": "It goes on at", "reply": "It waits for the customer's answer, at most until", "sent": "It waits until WhatsApp has the message, at most until",
			"delivered": "It waits until the phone has the message, at most until", "retry": "A step failed and is tried again at",
		}[v.Awaits]
	case "completed":
		if v.unmet() {
			return "The condition of its trigger did not hold, so no step was taken."
		}
		return "It is done."
	case "failed":
		return v.Failure
	}
	return "Somebody cancelled it."
}

// placeWords say how many others wait before an execution.
func placeWords(position int) string {
	if position <= 1 {
		return "It is the next to get a place."
	}
	return fmt.Sprintf("It waits for a place, behind about %s.", count(position-1, "other"))
}

// lineWords say how often a step was tried and how long it took.
func lineWords(l stepLine) string {
	var words []string
	if l.Tries > 1 {
		words = append(words, fmt.Sprint(l.Tries, " tries"))
	}
	if l.Took != "" {
		words = append(words, l.Took)
	}
	return strings.Join(words, ", ")
}

// tookWords are a length of time, to a tenth of a second where it is short.
func tookWords(d time.Duration) string {
	if d < time.Minute {
		return millis(max(0, d.Milliseconds()))
	}
	return span(d)
}

// chatWords are the number that a chat is with.
func chatWords(chat string) string {
	user, server, _ := strings.Cut(chat, "@")
	if server == "s.whatsapp.net" {
		return "+" + user
	}
	return user
}

// lineOf is the line on which the value of a JSON pointer begins, or what is around it
// where that is missing. Of a text that is no JSON it is the line where that shows. 0:
// there is none to name.
func lineOf(text, pointer string) int {
	var wrong *json.SyntaxError
	var at int64
	switch err := json.Unmarshal([]byte(text), new(any)); {
	case errors.As(err, &wrong):
		at = wrong.Offset - 1
	case err != nil, pointer == "":
		return 0
	default:
		segments := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
		for i, s := range segments {
			segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
		}
		at = offsetOf(json.NewDecoder(strings.NewReader(text)), segments)
	}
	before := text[:min(max(at, 0), int64(len(text)))]
	between := len(text[len(before):]) - len(strings.TrimLeft(text[len(before):], " \t\r\n,:"))
	return 1 + strings.Count(text[:len(before)+between], "\n")
}

// offsetOf is where the value at a path begins, or what is around it.
func offsetOf(d *json.Decoder, path []string) int64 {
	at := d.InputOffset()
	if len(path) == 0 {
		return at
	}
	opens, _ := d.Token() // the text is JSON
	for i := 0; d.More(); i++ {
		name := strconv.Itoa(i)
		if opens == json.Delim('{') {
			key, _ := d.Token()
			name, _ = key.(string)
		}
		if name == path[0] {
			return offsetOf(d, path[1:])
		}
		_ = d.Decode(new(json.RawMessage))
	}
	return at
}

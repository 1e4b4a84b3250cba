package webhook

import (
	"fmt"
	"strconv"
	"strings"

	"frontdesk/store"
)

// familiar is a message in the shape of WAHA, which many receivers can read already.
type familiar struct {
	Event   string  `json:"event"`   // message: of a customer; message.any: of the house; message.ack: how far it got
	Session string  `json:"session"` // the account's id
	Payload payload `json:"payload"`
}

type payload struct {
	ID        string      `json:"id"`        // true or false (fromMe), the chat and WhatsApp's id
	Timestamp int64       `json:"timestamp"` // seconds
	From      string      `json:"from"`
	FromMe    bool        `json:"fromMe"`
	To        string      `json:"to"`
	Body      string      `json:"body"`
	HasMedia  bool        `json:"hasMedia"`
	Media     *attachment `json:"media"`
	Ack       int         `json:"ack"`
	AckName   string      `json:"ackName"`
}

// attachment is the file of a message. URL wants a token of this installation: keys
// never travel in a body. Without a URL the file is not here, and Error says why.
type attachment struct {
	URL      string `json:"url,omitempty"`
	MimeType string `json:"mimetype"`
	Filename string `json:"filename,omitempty"`
	Error    string `json:"error,omitempty"`
}

// ackNames are WAHA's words for an ack from -1.
var ackNames = [...]string{"ERROR", "PENDING", "SERVER", "DEVICE", "READ", "PLAYED"}

// familiarOf is the message that a delivery speaks of, or nil when there is none, or
// none any more.
func familiarOf(c store.ClaimedDelivery, publicURL string) *familiar {
	if c.WaID == "" || c.AccountID == nil || !strings.HasPrefix(c.Type, "message.") {
		return nil
	}
	chat, own := chatID(c.Chat), ""
	if c.Phone != "" {
		own = c.Phone + "@c.us"
	}
	p := payload{
		ID: fmt.Sprintf("%t_%s_%s", c.Outgoing, chat, c.WaID), Timestamp: c.At.Unix(), From: chat, FromMe: c.Outgoing, To: own,
		Body: c.Body, HasMedia: c.FileState != "", Media: attached(c, publicURL), Ack: ackOf(c),
	}
	if c.Outgoing {
		p.From, p.To = own, chat
	}
	if c.MessageAt != nil {
		p.Timestamp = c.MessageAt.Unix()
	}
	p.AckName = ackNames[p.Ack+1]
	return &familiar{familiarEvent(c), strconv.FormatInt(*c.AccountID, 10), p}
}

// chatID is a chat in WAHA's writing: numbers end with @c.us.
func chatID(chat string) string {
	if number, ok := strings.CutSuffix(chat, "@s.whatsapp.net"); ok {
		return number + "@c.us"
	}
	return chat
}

func familiarEvent(c store.ClaimedDelivery) string {
	switch {
	case !c.Outgoing:
		return "message"
	case c.Type == "message.queued", c.Status == "": // the latter was typed on the phone
		return "message.any"
	}
	return "message.ack"
}

// ackOf is how far the message had got by this event.
func ackOf(c store.ClaimedDelivery) int {
	switch {
	case c.Type == "message.failed":
		return -1
	case c.Type == "message.queued":
		return 0
	case c.Type == "message.delivered":
		return 2
	case c.Type == "message.read" && c.Status == "played":
		return 4
	case c.Type == "message.read":
		return 3
	}
	return 1 // WhatsApp's server has it
}

func attached(c store.ClaimedDelivery, publicURL string) *attachment {
	if c.FileState == "" {
		return nil
	}
	a := &attachment{MimeType: c.Mime, Filename: c.FileLabel}
	if c.FileID == nil {
		a.Error = c.FileState
		return a
	}
	a.URL = publicURL + "/api/v1/files/" + strconv.FormatInt(*c.FileID, 10)
	return a
}

package wasim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What a message's Status may be.
const (
	Pending   = "pending"   // waits for the account to connect
	Waiting   = "waiting"   // came, but could not be opened; the sender was asked for another copy
	Sent      = "sent"      // was written to the other side
	Delivered = "delivered" // the other side has acknowledged it
	Read      = "read"      // the other side has read it
	Played    = "played"    // the other side has listened to it
)

// Message is one bubble of a chat as the customer sees it.
type Message struct {
	Seq          int       `json:"seq"` // grows with every message that the customer sees
	ID           string    `json:"id"`
	Text         string    `json:"text"` // of a file its caption, or what it is in brackets
	FromCustomer bool      `json:"fromCustomer"`
	At           time.Time `json:"at"`
	Status       string    `json:"status"`
	Copies       int       `json:"copies"` // how often this id came and could be decrypted

	Kind      string     `json:"kind,omitempty"` // Text, Image and so on
	Mime      string     `json:"mime,omitempty"`
	Name      string     `json:"name,omitempty"`   // of a document
	Size      int        `json:"size,omitempty"`   // of the file, decrypted
	SHA256    string     `json:"sha256,omitempty"` // of the file, decrypted, in hex
	Broken    string     `json:"broken,omitempty"` // why the file could not be read
	Location  *Location  `json:"location,omitempty"`
	VCard     string     `json:"vcard,omitempty"`    // of a contact
	QuotedID  string     `json:"quotedId,omitempty"` // of the message it answers
	Reactions []Reaction `json:"reactions,omitempty"`
	Edited    bool       `json:"edited,omitempty"`
	Deleted   bool       `json:"deleted,omitempty"` // by whoever wrote it; the text is gone
}

// Reaction is an emoji beneath a bubble.
type Reaction struct {
	FromCustomer bool   `json:"fromCustomer"`
	Emoji        string `json:"emoji"`
}

// original is a message that is more than its text, as it was sent.
type original struct {
	ID   string `json:"id"`
	Body []byte `json:"body"`
}

// keep remembers what was sent under an id; the oldest is forgotten.
func (t *chat) keep(id string, m *waE2E.Message) {
	if m.Conversation != nil {
		return // its bubble says it all
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return
	}
	t.Originals = append(t.Originals, original{id, body})
	if len(t.Originals) > remembered {
		t.Originals = slices.Delete(t.Originals, 0, 1)
	}
}

// sent is the message of that id as it was sent, or nil.
func (t *chat) sent(id string) *waE2E.Message {
	for _, o := range t.Originals {
		if o.ID == id {
			m := &waE2E.Message{}
			if proto.Unmarshal(o.Body, m) != nil {
				return nil
			}
			return m
		}
	}
	if said := t.find(id); said != nil {
		return &waE2E.Message{Conversation: &said.Text}
	}
	return nil
}

// opened is what a message says once its wrappings are off: those of what
// disappears, of documents with a caption and of edits.
func opened(m *waE2E.Message) *waE2E.Message {
	return (&events.Message{RawMessage: m}).UnwrapRaw().Message
}

// bubble is how a phone shows a message that speaks about no other.
func (s *Server) bubble(m *waE2E.Message) Message {
	b := Message{Text: saying(m), Kind: kind(m)}
	switch {
	case m.GetLocationMessage() != nil:
		l := m.GetLocationMessage()
		b.Location = &Location{l.GetDegreesLatitude(), l.GetDegreesLongitude(), l.GetName(), l.GetAddress()}
	case m.GetContactMessage() != nil:
		b.VCard = m.GetContactMessage().GetVcard()
	case attachment(m) != nil:
		s.view(m, &b)
	}
	b.QuotedID = quoted(m).GetStanzaID()
	return b
}

// view reads the file of a message into its bubble.
func (s *Server) view(m *waE2E.Message, b *Message) {
	a := attachment(m)
	if typed, is := a.(interface{ GetMimetype() string }); is {
		b.Mime = typed.GetMimetype()
	}
	b.Name = m.GetDocumentMessage().GetFileName()
	data, err := s.fetch(a)
	if err != nil {
		b.Broken = err.Error()
		return
	}
	hash := sha256.Sum256(data)
	b.Size, b.SHA256 = len(data), hex.EncodeToString(hash[:])
}

// quoted is what a message answers, or nil.
func quoted(m *waE2E.Message) *waE2E.ContextInfo {
	var found *waE2E.ContextInfo
	m.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		part, is := value.Interface().(protoreflect.Message)
		if !is {
			return true
		}
		answering, can := part.Interface().(interface{ GetContextInfo() *waE2E.ContextInfo })
		if can {
			found = answering.GetContextInfo()
		}
		return found == nil
	})
	return found
}

// change lets m have its effect on the message it speaks about. It reports false
// if m speaks about none; what speaks about an unknown one, or about somebody
// else's without the right to, has no effect.
func (t *chat) change(fromCustomer bool, m *waE2E.Message) bool {
	said, about := m.GetProtocolMessage(), m.GetReactionMessage()
	switch {
	case about != nil:
		if known := t.find(about.GetKey().GetID()); known != nil {
			known.react(Reaction{fromCustomer, about.GetText()})
		}
	case said.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT && said.GetEditedMessage() != nil:
		if known := t.find(said.GetKey().GetID()); known != nil && known.FromCustomer == fromCustomer && !known.Deleted {
			known.Text, known.Edited = saying(opened(said.GetEditedMessage())), true
		}
	case said != nil && said.GetType() == waE2E.ProtocolMessage_REVOKE:
		if known := t.find(said.GetKey().GetID()); known != nil && known.FromCustomer == fromCustomer {
			known.Text, known.Deleted = "", true
		}
	default:
		return false
	}
	return true
}

// react puts somebody's reaction in the place of their last, or takes it away if
// it is empty.
func (m *Message) react(r Reaction) {
	m.Reactions = slices.DeleteFunc(slices.Clone(m.Reactions), func(old Reaction) bool { return old.FromCustomer == r.FromCustomer })
	if r.Emoji != "" {
		m.Reactions = append(m.Reactions, r)
	}
}

// about is the message of that id; own demands that the customer wrote it.
func (c *Customer) about(account, id string, own bool) (Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.chat(account).find(id)
	switch {
	case known == nil || known.Status == Waiting:
		return Message{}, errors.New("there is no such message in this chat")
	case known.Deleted:
		return Message{}, errors.New("this message has been deleted")
	case own && !known.FromCustomer:
		return Message{}, errors.New("only whoever wrote a message can change or delete it")
	}
	return *known, nil
}

// saying is what a message reads as: its text, its caption or what it is.
func saying(m *waE2E.Message) string {
	for _, said := range []string{
		m.GetConversation(), m.GetExtendedTextMessage().GetText(), m.GetImageMessage().GetCaption(),
		m.GetVideoMessage().GetCaption(), m.GetDocumentMessage().GetCaption(), m.GetLocationMessage().GetName(),
		m.GetContactMessage().GetDisplayName(), m.GetPollCreationMessage().GetName(), m.GetPollCreationMessageV3().GetName(),
	} {
		if said != "" {
			return said
		}
	}
	return "[" + kind(m) + "]"
}

// kind is what a message is.
func kind(m *waE2E.Message) string {
	switch {
	case m.GetAudioMessage().GetPTT():
		return Voice
	case m.Conversation != nil || m.GetExtendedTextMessage() != nil:
		return Text
	}
	found := "message"
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(field.Name()); name != "messageContextInfo" {
			found = strings.TrimSuffix(name, "Message")
		}
		return true
	})
	return found
}

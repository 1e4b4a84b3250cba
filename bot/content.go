package bot

import (
	"strings"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	waEvents "go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// content is what somebody sent: its kind, its words and what came along. False for
// what is no message to people, the library's own business.
func content(e *waEvents.Message) (store.Inbound, bool) {
	m := e.Message
	if m == nil || m.GetProtocolMessage() != nil || m.GetEncReactionMessage() != nil ||
		m.GetPollUpdateMessage() != nil || m.GetKeepInChatMessage() != nil || m.GetPinInChatMessage() != nil {
		return store.Inbound{}, false
	}
	in := words(m)
	if in.Kind == "" {
		in = attachment(m)
	}
	if in.Kind == "" {
		bare := &waE2E.Message{MessageContextInfo: m.GetMessageContextInfo(), SenderKeyDistributionMessage: m.GetSenderKeyDistributionMessage()}
		if proto.Equal(m, bare) {
			return store.Inbound{}, false
		}
		in.Kind = "unknown"
	}
	surroundings(&in, e)
	return in, true
}

// words are a message of text only.
func words(m *waE2E.Message) store.Inbound {
	switch {
	case m.GetConversation() != "":
		return store.Inbound{Kind: "text", Body: m.GetConversation()}
	case m.GetExtendedTextMessage() != nil:
		return store.Inbound{Kind: "text", Body: m.GetExtendedTextMessage().GetText()}
	}
	return store.Inbound{}
}

// attachment is what is more than text, with the words that came along.
func attachment(m *waE2E.Message) store.Inbound {
	if in := fileIn(m); in.Kind != "" {
		return in
	}
	switch {
	case m.GetLocationMessage() != nil:
		p := m.GetLocationMessage()
		return store.Inbound{Kind: "location", Body: join(p.GetName(), p.GetAddress()), Extra: place(p.GetDegreesLatitude(), p.GetDegreesLongitude())}
	case m.GetLiveLocationMessage() != nil:
		p := m.GetLiveLocationMessage()
		return store.Inbound{Kind: "location", Body: p.GetCaption(), Extra: place(p.GetDegreesLatitude(), p.GetDegreesLongitude())}
	case m.GetContactMessage() != nil:
		return cards(m.GetContactMessage().GetDisplayName(), m.GetContactMessage())
	case m.GetContactsArrayMessage() != nil:
		return cards(m.GetContactsArrayMessage().GetDisplayName(), m.GetContactsArrayMessage().GetContacts()...)
	}
	if p := poll(m); p != nil {
		return store.Inbound{Kind: "poll", Body: p.GetName()}
	}
	return store.Inbound{}
}

func poll(m *waE2E.Message) *waE2E.PollCreationMessage {
	for _, p := range []*waE2E.PollCreationMessage{m.GetPollCreationMessage(), m.GetPollCreationMessageV2(), m.GetPollCreationMessageV3()} {
		if p != nil {
			return p
		}
	}
	return nil
}

func place(latitude, longitude float64) map[string]any {
	return map[string]any{"latitude": latitude, "longitude": longitude}
}

func cards(name string, contacts ...*waE2E.ContactMessage) store.Inbound {
	var texts []string
	for _, c := range contacts {
		texts = append(texts, c.GetVcard())
	}
	return store.Inbound{Kind: "contact", Body: name, Extra: map[string]any{"vcards": texts}}
}

// Most bytes of a file that is fetched, by kind: WhatsApp's own limits.
const (
	mostMedia    = 16 << 20
	mostDocument = 100 << 20
	mostSticker  = 1 << 20
)

// fileIn is a message that brings a file. What its sender says of it is kept, but
// not believed: its kind of content is looked at once it is here.
func fileIn(m *waE2E.Message) store.Inbound {
	switch {
	case m.GetImageMessage() != nil:
		f := m.GetImageMessage()
		return withFile("image", f.GetCaption(), f, mostMedia, store.Media{Mime: f.GetMimetype(), Width: int(f.GetWidth()), Height: int(f.GetHeight())})
	case m.GetVideoMessage() != nil:
		f := m.GetVideoMessage()
		return withFile("video", f.GetCaption(), f, mostMedia,
			store.Media{Mime: f.GetMimetype(), Width: int(f.GetWidth()), Height: int(f.GetHeight()), Seconds: int(f.GetSeconds())})
	case m.GetAudioMessage() != nil:
		f := m.GetAudioMessage()
		kind := "audio"
		if f.GetPTT() {
			kind = "voice"
		}
		return withFile(kind, "", f, mostMedia, store.Media{Mime: f.GetMimetype(), Seconds: int(f.GetSeconds())})
	case m.GetDocumentMessage() != nil:
		f := m.GetDocumentMessage()
		label := store.CleanLabel(f.GetFileName())
		return withFile("document", join(label, f.GetCaption()), f, mostDocument, store.Media{Mime: f.GetMimetype(), Label: label})
	case m.GetStickerMessage() != nil:
		f := m.GetStickerMessage()
		return withFile("sticker", "", f, mostSticker, store.Media{Mime: f.GetMimetype(), Width: int(f.GetWidth()), Height: int(f.GetHeight())})
	}
	return store.Inbound{}
}

// attached is what all messages with files have in common.
type attached interface {
	whatsmeow.DownloadableMessage
	proto.Message
	GetFileLength() uint64
}

func withFile(kind, body string, f attached, most int64, m store.Media) store.Inbound {
	reference, err := proto.Marshal(f)
	if err != nil || f.GetDirectPath() == "" {
		return store.Inbound{Kind: kind, Body: body} // nothing can be fetched
	}
	m.Bytes, m.Reference = int64(f.GetFileLength()), reference
	m.TooLarge = m.Bytes > most
	return store.Inbound{Kind: kind, Body: body, Media: &m}
}

// referred is the message part that a reference was made from.
func referred(kind string, reference []byte) (attached, error) {
	f, known := map[string]attached{
		"image": &waE2E.ImageMessage{}, "video": &waE2E.VideoMessage{}, "audio": &waE2E.AudioMessage{}, "voice": &waE2E.AudioMessage{},
		"document": &waE2E.DocumentMessage{}, "sticker": &waE2E.StickerMessage{},
	}[kind]
	if !known {
		return nil, errNoFile
	}
	return f, proto.Unmarshal(reference, f)
}

// surroundings are what a message says of itself: which one it replies to, and
// whether it disappears.
func surroundings(in *store.Inbound, e *waEvents.Message) {
	about := contextOf(e.Message)
	in.Quoted = about.GetStanzaID()
	if in.Extra == nil {
		in.Extra = map[string]any{}
	}
	if seconds := about.GetExpiration(); seconds > 0 {
		in.Extra["disappears_after"] = seconds
	}
	if e.IsViewOnce || e.IsViewOnceV2 {
		in.Extra["view_once"] = true
	}
}

// contextOf is the context of whatever part the message has; nil reads as empty.
func contextOf(m *waE2E.Message) *waE2E.ContextInfo {
	for _, part := range []interface{ GetContextInfo() *waE2E.ContextInfo }{
		m.GetExtendedTextMessage(), m.GetImageMessage(), m.GetVideoMessage(), m.GetAudioMessage(), m.GetDocumentMessage(),
		m.GetStickerMessage(), m.GetLocationMessage(), m.GetLiveLocationMessage(), m.GetContactMessage(), m.GetContactsArrayMessage(),
	} {
		if about := part.GetContextInfo(); about != nil {
			return about
		}
	}
	return nil
}

func join(parts ...string) string { return strings.TrimSpace(strings.Join(parts, " ")) }

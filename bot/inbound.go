package bot

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

// receive stores a message. Only then it is true, and only then WhatsApp hears
// that it arrived.
func (l *link) receive(e *waEvents.Message) bool {
	if l.i.m.paused.Load() || !l.i.m.own() {
		return false
	}
	if l.guard.broken.Load() {
		l.guard.refuse() // it must not be stored before what was refused
		return false
	}
	kind, body, ok := content(e)
	if !ok || !direct(e.Info) {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if err := l.store(ctx, e.Info, kind, body); err != nil {
		l.i.m.log.WarnContext(ctx, "Message not stored, WhatsApp keeps it", slog.Int64("account", l.i.id),
			slog.String("message", e.Info.ID), slog.Any("error", err))
		l.guard.refuse()
		return false
	}
	return true
}

// store keeps a message of a customer, or one that somebody typed on the
// account's own phone.
func (l *link) store(ctx context.Context, info types.MessageInfo, kind, body string) error {
	phone, lid := l.person(ctx, info)
	name := info.PushName
	if info.IsFromMe {
		name = ""
	}
	s := l.i.m.store
	in := store.Inbound{
		AccountID: l.i.id, Phone: phone, LID: lid, Name: name, Chat: info.Chat.ToNonAD().String(), WaID: info.ID,
		Kind: kind, Body: body, SentAt: info.Timestamp,
		Wait: l.i.m.debounce(time.Duration(l.i.usual.Load()), body),
	}
	if info.IsFromMe {
		return s.ReceiveOwn(ctx, in)
	}
	r, err := s.Receive(ctx, in)
	if err != nil || r.Duplicate {
		return err
	}
	l.i.m.counts.received.Add(1)
	l.i.m.received(l.i.id, r.ConversationID, r.Wait)
	return nil
}

// copyTime is how long a readable copy of a message may take before people are told.
const copyTime = time.Minute

// unreadable keeps the place of a message that could not be decrypted. whatsmeow has
// asked its sender for another copy and acknowledges it whatever becomes of this.
func (l *link) unreadable(e *waEvents.UndecryptableMessage) {
	l.i.m.counts.undecryptable.Add(1)
	l.i.m.log.Warn("Message could not be decrypted, its sender was asked for another copy",
		slog.Int64("account", l.i.id), slog.String("message", e.Info.ID))
	if !direct(e.Info) || e.Info.IsFromMe {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	phone, lid := l.person(ctx, e.Info)
	r, err := l.i.m.store.Receive(ctx, store.Inbound{
		AccountID: l.i.id, Phone: phone, LID: lid, Name: e.Info.PushName, Chat: e.Info.Chat.ToNonAD().String(), WaID: e.Info.ID,
		Kind: store.KindUnreadable, SentAt: e.Info.Timestamp, Wait: copyTime,
	})
	if err != nil {
		l.i.m.log.Warn("Place of an unreadable message not kept", slog.Int64("account", l.i.id), slog.Any("error", err))
		return
	}
	if !r.Duplicate {
		l.i.m.received(l.i.id, r.ConversationID, r.Wait)
	}
}

// direct says whether the message belongs to a chat with one person. Groups,
// broadcasts, channels and status updates are ignored.
func direct(info types.MessageInfo) bool {
	if info.IsGroup || info.Category == "peer" {
		return false
	}
	s := info.Chat.Server
	return s == types.DefaultUserServer || s == types.HiddenUserServer
}

// content is what a customer sent: its kind and its words. False for what is no
// message to people: reactions, edits, deletions, the library's own business.
func content(e *waEvents.Message) (kind, body string, ok bool) {
	m := e.Message
	switch {
	case m == nil || e.IsEdit || m.GetProtocolMessage() != nil || m.GetReactionMessage() != nil || m.GetEncReactionMessage() != nil ||
		m.GetPollUpdateMessage() != nil || m.GetKeepInChatMessage() != nil || m.GetPinInChatMessage() != nil:
		return "", "", false
	case m.GetConversation() != "":
		return "text", m.GetConversation(), true
	case m.GetExtendedTextMessage() != nil:
		return "text", m.GetExtendedTextMessage().GetText(), true
	}
	if kind, body := attachment(m); kind != "" {
		return kind, body, true
	}
	bare := &waE2E.Message{MessageContextInfo: m.GetMessageContextInfo(), SenderKeyDistributionMessage: m.GetSenderKeyDistributionMessage()}
	if empty(m, bare) {
		return "", "", false
	}
	return "unknown", "", true
}

// attachment names what is more than text, with the words that came along.
func attachment(m *waE2E.Message) (kind, body string) {
	switch {
	case m.GetImageMessage() != nil:
		return "image", m.GetImageMessage().GetCaption()
	case m.GetVideoMessage() != nil:
		return "video", m.GetVideoMessage().GetCaption()
	case m.GetAudioMessage().GetPTT():
		return "voice", ""
	case m.GetAudioMessage() != nil:
		return "audio", ""
	case m.GetDocumentMessage() != nil:
		return "document", words(m.GetDocumentMessage().GetFileName(), m.GetDocumentMessage().GetCaption())
	case m.GetStickerMessage() != nil:
		return "sticker", ""
	case m.GetLocationMessage() != nil:
		return "location", words(m.GetLocationMessage().GetName(), m.GetLocationMessage().GetAddress())
	case m.GetLiveLocationMessage() != nil:
		return "location", m.GetLiveLocationMessage().GetCaption()
	case m.GetContactMessage() != nil:
		return "contact", m.GetContactMessage().GetDisplayName()
	case m.GetContactsArrayMessage() != nil:
		return "contact", m.GetContactsArrayMessage().GetDisplayName()
	}
	return "", ""
}

func words(parts ...string) string {
	return strings.TrimSpace(strings.Join(parts, " "))
}

// receipt notes what the customer's phone says of our messages.
func (l *link) receipt(e *waEvents.Receipt) bool {
	var what store.Receipt
	switch e.Type {
	case types.ReceiptTypeDelivered:
		what = store.Delivered
	case types.ReceiptTypeRead:
		what = store.Read
	case types.ReceiptTypePlayed:
		what = store.Played
	default:
		return true
	}
	if e.IsFromMe || e.IsGroup {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if err := l.i.m.store.MarkReceipt(ctx, l.i.id, e.MessageIDs, what); err != nil {
		l.guard.refuse()
		return false
	}
	return true
}

// empty says whether m holds nothing beyond what bare holds.
func empty(m, bare *waE2E.Message) bool { return proto.Equal(m, bare) }

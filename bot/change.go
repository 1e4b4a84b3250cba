package bot

import (
	"context"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// change is what a message does to an earlier one.
type change struct {
	kind   string // store.KindReaction, KindEdit or KindDelete
	target string // WhatsApp id of the earlier message
	body   string // the sign, or the new words
}

// changeIn is the change that m is, or nil when it is a message of its own.
func changeIn(m *waE2E.Message) *change {
	if r := m.GetReactionMessage(); r != nil {
		return &change{store.KindReaction, r.GetKey().GetID(), r.GetText()}
	}
	p := m.GetProtocolMessage()
	if m.GetEditedMessage() != nil {
		p = m.GetEditedMessage().GetMessage().GetProtocolMessage()
	}
	if p == nil {
		return nil
	}
	switch p.GetType() {
	case waE2E.ProtocolMessage_REVOKE:
		return &change{store.KindDelete, p.GetKey().GetID(), ""}
	case waE2E.ProtocolMessage_MESSAGE_EDIT:
		return &change{store.KindEdit, p.GetKey().GetID(), wordsOf(p.GetEditedMessage())}
	default:
		return nil
	}
}

// wordsOf are the words of a message, whatever it is.
func wordsOf(m *waE2E.Message) string {
	if in := words(m); in.Kind != "" {
		return in.Body
	}
	return attachment(m).Body
}

// change stores what somebody did to an earlier message.
func (l *link) change(ctx context.Context, info types.MessageInfo, c *change) error {
	phone, lid := l.person(ctx, info)
	to := store.Change{AccountID: l.i.id, Phone: phone, LID: lid, WaID: c.target, Ours: info.IsFromMe}
	return l.i.m.apply(ctx, to, c, info.Timestamp)
}

func (m *Manager) apply(ctx context.Context, to store.Change, c *change, at time.Time) error {
	switch c.kind {
	case store.KindReaction:
		return m.store.React(ctx, to, c.body, at)
	case store.KindEdit:
		return m.store.Edit(ctx, to, c.body)
	default:
		return m.store.Delete(ctx, to)
	}
}

// applyOwn makes a change that was sent to a chat in our rows as well.
func (l *link) applyOwn(ctx context.Context, chat types.JID, b store.Claimed) error {
	target, changes := b.Extra["wa_id"].(string)
	if !changes {
		return nil
	}
	phone, lid := "", chat.User
	if chat.Server == types.DefaultUserServer {
		phone, lid = chat.User, ""
	}
	phone, lid = l.complete(ctx, phone, lid)
	to := store.Change{AccountID: l.i.id, Phone: phone, LID: lid, WaID: target, Ours: true}
	return l.i.m.apply(ctx, to, &change{b.Kind, target, b.Body}, time.Now())
}

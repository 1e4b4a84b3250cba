package bot

import (
	"context"
	"log/slog"

	"go.mau.fi/whatsmeow/types"
)

// person is the customer of a chat: the bare number and LID, either of which may
// be unknown. What the message does not tell, whatsmeow may have learned before.
func (l *link) person(ctx context.Context, info types.MessageInfo) (phone, lid string) {
	known := []types.JID{info.Sender, info.SenderAlt}
	if info.IsFromMe {
		known = []types.JID{info.Chat, info.RecipientAlt}
	}
	for _, j := range known {
		switch j.Server {
		case types.DefaultUserServer:
			phone = j.User
		case types.HiddenUserServer:
			lid = j.User
		}
	}
	return l.complete(ctx, phone, lid)
}

// complete adds the other address of a person, if whatsmeow knows it.
func (l *link) complete(ctx context.Context, phone, lid string) (string, string) {
	lids := l.client.Store.LIDs
	switch {
	case phone == "" && lid != "":
		if j, err := lids.GetPNForLID(ctx, types.NewJID(lid, types.HiddenUserServer)); err == nil {
			phone = j.User
		}
	case lid == "" && phone != "":
		if j, err := lids.GetLIDForPN(ctx, types.NewJID(phone, types.DefaultUserServer)); err == nil {
			lid = j.User
		}
	}
	return phone, lid
}

// mostMet is how many chats a link remembers to have looked up.
const mostMet = 10_000

// met is told that something was sent to a chat: whatsmeow may have learned who is
// behind it. Two contacts that are one person become one.
func (l *link) met(ctx context.Context, chat types.JID) {
	if l.known[chat.User] {
		return
	}
	phone, lid := "", chat.User
	if chat.Server == types.DefaultUserServer {
		phone, lid = chat.User, ""
	}
	phone, lid = l.complete(ctx, phone, lid)
	if phone == "" || lid == "" {
		return
	}
	if _, err := l.i.m.store.ResolveContact(ctx, phone, lid, ""); err != nil {
		l.i.m.log.WarnContext(ctx, "Addresses of a contact not written", slog.Int64("account", l.i.id), slog.Any("error", err))
		return
	}
	if len(l.known) >= mostMet {
		clear(l.known)
	}
	l.known[chat.User] = true
}

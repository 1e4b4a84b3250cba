package bot

import (
	"context"
	"log/slog"
	"time"

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

// met is told that something was sent to a chat, and finds out who is behind it, once
// for each chat. Two contacts that are one person become one.
func (l *link) met(ctx context.Context, chat types.JID) {
	if l.known[chat.User] {
		return
	}
	if len(l.known) >= mostMet {
		clear(l.known)
	}
	l.known[chat.User] = true
	phone, lid := "", chat.User
	if chat.Server == types.DefaultUserServer {
		phone, lid = chat.User, ""
	}
	phone, lid = l.complete(ctx, phone, lid)
	if lid == "" {
		lid = l.ask(ctx, chat)
	}
	if phone == "" || lid == "" {
		return
	}
	if _, err := l.i.m.store.ResolveContact(ctx, phone, lid, ""); err != nil {
		delete(l.known, chat.User)
		l.i.m.log.WarnContext(ctx, "Addresses of a contact not written", slog.Int64("account", l.i.id), slog.Any("error", err))
	}
}

// ask has WhatsApp tell the LID behind a number; "" when it does not.
func (l *link) ask(ctx context.Context, chat types.JID) string {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	found, err := l.client.GetUserInfo(ctx, []types.JID{chat})
	if err != nil {
		return "" // a customer's next message may tell
	}
	return found[chat].LID.User
}

// askTime is the longest wait for WhatsApp's word on a number.
const askTime = 5 * time.Second

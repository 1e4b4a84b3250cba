package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

var errNotOurs = errors.New("only messages that were sent from this account can be changed")

// compose is the WhatsApp message of a bubble, the same each time it is sent. l
// addresses changes.
func (i *Instance) compose(ctx context.Context, l *link, b store.Claimed) (*waE2E.Message, error) {
	about, err := i.quote(ctx, b)
	if err != nil {
		return nil, err
	}
	switch b.Kind {
	case "text":
		if about == nil {
			return &waE2E.Message{Conversation: &b.Body}, nil
		}
		return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: &b.Body, ContextInfo: about}}, nil
	case "location":
		return &waE2E.Message{LocationMessage: &waE2E.LocationMessage{
			DegreesLatitude: new(number(b.Extra["latitude"])), DegreesLongitude: new(number(b.Extra["longitude"])), Name: &b.Body, ContextInfo: about,
		}}, nil
	case store.KindReaction, store.KindEdit, store.KindDelete:
		return i.composeChange(ctx, l, b)
	}
	return composeFile(b, about)
}

// quote is the context of a bubble that replies to a message; nil when it does not,
// or that message was erased meanwhile.
func (i *Instance) quote(ctx context.Context, b store.Claimed) (*waE2E.ContextInfo, error) {
	if b.ReplyTo == "" {
		return nil, nil //nolint:nilnil // no quote is an answer
	}
	quoted, err := i.m.store.Quoted(ctx, b.ConversationID, b.ReplyTo)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, fmt.Errorf("read the quoted message: %w", err)
	}
	author := b.Chat
	if quoted.Ours {
		author = i.address(b.Chat)
	}
	return &waE2E.ContextInfo{StanzaID: &b.ReplyTo, Participant: &author, QuotedMessage: &waE2E.Message{Conversation: &quoted.Body}}, nil
}

func number(value any) float64 {
	n, _ := value.(float64)
	return n
}

// composeChange changes an earlier message.
func (i *Instance) composeChange(ctx context.Context, l *link, b store.Claimed) (*waE2E.Message, error) {
	chat, err := types.ParseJID(b.Chat)
	if err != nil || l == nil {
		return nil, errNotOurs
	}
	target, _ := b.Extra["wa_id"].(string)
	quoted, err := i.m.store.Quoted(ctx, b.ConversationID, target)
	if err != nil {
		return nil, lost(fmt.Errorf("read the message to change: %w", err))
	}
	author := chat
	if quoted.Ours {
		author = types.EmptyJID
	}
	if b.Kind != store.KindReaction && !quoted.Ours {
		return nil, &finalError{errNotOurs}
	}
	switch b.Kind {
	case store.KindEdit:
		return l.client.BuildEdit(chat, target, &waE2E.Message{Conversation: &b.Body}), nil
	case store.KindDelete:
		return l.client.BuildRevoke(chat, types.EmptyJID, target), nil
	}
	return l.client.BuildReaction(chat, author, target, b.Body), nil
}

// address is the account's own, of the kind that the chat uses.
func (i *Instance) address(chat string) string {
	a := i.self.Load()
	if a == nil {
		return ""
	}
	if a.LID != nil && strings.HasSuffix(chat, "@"+types.HiddenUserServer) {
		return *a.LID + "@" + types.HiddenUserServer
	}
	if a.Phone == nil {
		return ""
	}
	return *a.Phone + "@" + types.DefaultUserServer
}

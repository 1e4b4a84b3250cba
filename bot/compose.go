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

// compose is the WhatsApp message of a bubble, the same each time it is sent.
func (i *Instance) compose(ctx context.Context, b store.Claimed) (*waE2E.Message, error) {
	if b.ReplyTo == "" {
		return &waE2E.Message{Conversation: &b.Body}, nil
	}
	quoted, err := i.m.store.Quoted(ctx, b.ConversationID, b.ReplyTo)
	if errors.Is(err, store.ErrNotFound) {
		return &waE2E.Message{Conversation: &b.Body}, nil // it was erased meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("read the quoted message: %w", err)
	}
	author := b.Chat
	if quoted.Ours {
		author = i.address(b.Chat)
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text: &b.Body,
		ContextInfo: &waE2E.ContextInfo{
			StanzaID: &b.ReplyTo, Participant: &author, QuotedMessage: &waE2E.Message{Conversation: &quoted.Body},
		},
	}}, nil
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

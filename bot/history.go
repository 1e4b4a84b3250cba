package bot

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// What is kept of what was said before an account was linked.
const (
	mostEarlier   = 100                 // messages of a chat
	oldestEarlier = 90 * 24 * time.Hour // as long as media are kept
	mostNotices   = 32                  // that wait; the phone sends a handful
	unpacked      = 8                   // how much larger a history is than its file
)

// remember takes a notice that the phone has shared earlier chats. They are context
// only: should a crash come before they are read, nothing that waits is lost.
func (f *media) remember(n *waE2E.HistorySyncNotification) {
	select {
	case f.notices <- n:
	default:
		f.i.m.log.Warn("Earlier chats not read, too many notices wait", slog.Int64("account", f.i.id))
	}
}

// readHistory stores the earlier messages of the chats with people.
func (f *media) readHistory(ctx context.Context, n *waE2E.HistorySyncNotification) {
	l := f.i.current()
	if l == nil {
		f.i.m.log.WarnContext(ctx, "Earlier chats not read, the link has gone", slog.Int64("account", f.i.id))
		return
	}
	chats, messages, err := f.storeHistory(ctx, l, n)
	if err != nil && ctx.Err() == nil {
		f.i.m.log.WarnContext(ctx, "Earlier chats not read", slog.Int64("account", f.i.id), slog.String("error", plain(err)))
		return
	}
	f.i.m.log.InfoContext(ctx, "Earlier chats read", slog.Int64("account", f.i.id), slog.Int("chats", chats), slog.Int("messages", messages))
}

func (f *media) storeHistory(ctx context.Context, l *link, n *waE2E.HistorySyncNotification) (chats, messages int, err error) {
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	defer cancel()
	leave, err := f.i.m.enter(ctx, int64(n.GetFileLength())*unpacked)
	if err != nil {
		return 0, 0, err
	}
	defer leave()
	h, err := l.client.DownloadHistorySync(ctx, n, true)
	if err != nil {
		return 0, 0, fmt.Errorf("fetch the history: %w", err)
	}
	for _, c := range h.GetConversations() {
		stored, err := l.storeChat(ctx, c)
		if err != nil {
			return chats, messages, err
		}
		if stored > 0 {
			chats, messages = chats+1, messages+stored
		}
	}
	return chats, messages, nil
}

// storeChat stores the earlier messages of one chat and says how many were new.
func (l *link) storeChat(ctx context.Context, c *waHistorySync.Conversation) (int, error) {
	chat, err := types.ParseJID(c.GetID())
	if err != nil || (chat.Server != types.DefaultUserServer && chat.Server != types.HiddenUserServer) {
		return 0, nil //nolint:nilerr // what is no chat with a person is ignored
	}
	h := store.Earlier{AccountID: l.i.id, Name: c.GetDisplayName(), Chat: chat.ToNonAD().String()}
	h.Phone, h.LID = l.complete(ctx, digitsOf(c.GetPnJID(), chat, types.DefaultUserServer), digitsOf(c.GetLidJID(), chat, types.HiddenUserServer))
	for _, m := range c.GetMessages() {
		if len(h.Messages) == mostEarlier {
			break
		}
		e, err := l.client.ParseWebMessage(chat, m.GetMessage())
		if err != nil || time.Since(e.Info.Timestamp) > oldestEarlier || changeIn(e.Message) != nil {
			continue
		}
		if said, ok := earlier(e); ok {
			h.Messages = append(h.Messages, said)
		}
	}
	if len(h.Messages) == 0 {
		return 0, nil
	}
	return l.i.m.store.StoreEarlier(ctx, h)
}

// earlier is a message of a history. Its file is not fetched.
func earlier(e *waEvents.Message) (store.EarlierMessage, bool) {
	in, ok := content(e)
	return store.EarlierMessage{WaID: e.Info.ID, Ours: e.Info.IsFromMe, Kind: in.Kind, Body: in.Body, SentAt: e.Info.Timestamp, Quoted: in.Quoted}, ok
}

// digitsOf is the bare address of one kind: the one that is told, or the chat's own.
func digitsOf(told string, chat types.JID, server string) string {
	if j, err := types.ParseJID(told); err == nil && j.Server == server && j.User != "" {
		return j.User
	}
	if chat.Server == server {
		return chat.User
	}
	return ""
}

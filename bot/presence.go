package bot

import (
	"context"
	"errors"
	"log/slog"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// showPresence makes the account's setting true: it is shown as available while that
// is on, and not shown at all otherwise. WhatsApp forgets it with each connection, and
// knows no presence before the account's name has come from the phone; the next
// step tries again then.
func (l *link) showPresence(ctx context.Context, a store.Account) {
	if !l.online.Load() || l.present.Load() == a.Presence {
		return
	}
	state := types.PresenceUnavailable
	if a.Presence {
		state = types.PresenceAvailable
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := l.client.SendPresence(ctx, state); err != nil {
		l.i.m.log.DebugContext(ctx, "Presence not shown yet", slog.Int64("account", l.i.id), slog.String("error", plain(err)))
		return
	}
	l.present.Store(a.Presence)
}

// mostTyping is how many signs that customers type may wait; others are forgotten, as
// they are a courtesy.
const mostTyping = 256

// typer is a customer who types, or has stopped.
type typer struct {
	account int64
	chat    string
	on      bool
}

// typed hears that a customer types, or has stopped. WhatsApp tells accounts that are
// shown as available only.
func (l *link) typed(e *waEvents.ChatPresence) {
	if e.IsGroup || e.IsFromMe {
		return
	}
	select {
	case l.i.m.typers <- typer{l.i.id, e.Chat.ToNonAD().String(), e.State == types.ChatPresenceComposing}:
	default:
	}
}

// hearTypers puts the answers off of customers who go on typing, and tells those who
// follow who types.
func (m *Manager) hearTypers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case who := <-m.typers:
			if who.on {
				m.awaitTyper(ctx, who)
			}
			if m.watched() {
				m.tellTyper(ctx, who)
			}
		}
	}
}

func (m *Manager) awaitTyper(ctx context.Context, who typer) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	conversation, wait, err := m.store.Extend(ctx, who.account, who.chat)
	switch {
	case err == nil:
		m.received(who.account, conversation, wait)
	case !errors.Is(err, store.ErrNotFound):
		m.log.DebugContext(ctx, "Answer to a customer who types not put off", slog.Int64("account", who.account), slog.Any("error", err))
	}
}

// tellTyper says in which conversation somebody types. Who has never written has none.
func (m *Manager) tellTyper(ctx context.Context, who typer) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	conversation, err := m.store.ConversationAt(ctx, who.account, who.chat)
	switch {
	case err == nil:
		m.typing(who.account, conversation, who.on)
	case !errors.Is(err, store.ErrNotFound):
		m.log.DebugContext(ctx, "Conversation of a customer who types not found", slog.Int64("account", who.account), slog.Any("error", err))
	}
}

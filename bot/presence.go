package bot

import (
	"context"
	"log/slog"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
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

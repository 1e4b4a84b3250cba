package bot

import (
	"context"
	"log/slog"
	"time"

	"frontdesk/store"
)

// usualLimit is how long new chats wait when WhatsApp refuses one without saying
// until when.
const usualLimit = 24 * time.Hour

// banned and limited are what people read of a restriction.
func banned(until time.Time) string {
	return "WhatsApp has banned this account until " + until.UTC().Format(time.RFC1123)
}

func limited(until time.Time) string {
	return "WhatsApp lets this account answer running chats only, until " + until.UTC().Format(time.RFC1123)
}

// readRestriction takes what the row says, and ends what is over.
func (i *Instance) readRestriction(ctx context.Context, a store.Account) error {
	var until time.Time
	if a.Restriction != store.Unrestricted && a.RestrictedUntil != nil {
		until = *a.RestrictedUntil
	}
	over := a.Restriction != store.Unrestricted && time.Until(until) <= 0
	i.mu.Lock()
	i.limited = time.Time{}
	if a.Restriction == store.NoNewChats && !over {
		i.limited = until
	}
	i.mu.Unlock()
	if !over {
		return nil
	}
	poke(i.outbox.ready)
	return i.m.store.Restrict(ctx, i.id, store.Unrestricted, time.Time{})
}

// sayOnline is what a connected account says.
func (i *Instance) sayOnline() {
	i.mu.Lock()
	until := i.limited
	i.mu.Unlock()
	if time.Until(until) > 0 {
		i.say(store.StatusRestricted, limited(until))
		return
	}
	i.say(store.StatusConnected, "")
}

// limit is told that WhatsApp refuses new chats until then; zero: it did not say.
// Running chats go on.
func (i *Instance) limit(ctx context.Context, until time.Time) error {
	if until.IsZero() {
		until = time.Now().Add(usualLimit)
	}
	i.m.log.WarnContext(ctx, "WhatsApp refuses new chats", slog.Int64("account", i.id), slog.Time("until", until))
	if err := i.m.store.Restrict(ctx, i.id, store.NoNewChats, until); err != nil {
		return err
	}
	i.mu.Lock()
	i.limited = until
	i.mu.Unlock()
	i.sayOnline()
	return nil
}

// restricted is told that WhatsApp refused a chat (error 463). Unless it has said
// until when, that is for a day.
func (i *Instance) restricted(ctx context.Context) error {
	i.mu.Lock()
	known := time.Until(i.limited) > 0
	i.mu.Unlock()
	if known {
		return nil
	}
	return i.limit(ctx, time.Time{})
}

// unlimit is told that new chats are allowed again.
func (i *Instance) unlimit(ctx context.Context) error {
	if err := i.m.store.Restrict(ctx, i.id, store.Unrestricted, time.Time{}); err != nil {
		return err
	}
	i.mu.Lock()
	i.limited = time.Time{}
	i.mu.Unlock()
	i.sayOnline()
	return nil
}

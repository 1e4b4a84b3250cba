package bot

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// How long a phone accepts the codes of one connection (whatsmeow's qrchan).
const (
	firstCode = time.Minute
	nextCode  = 20 * time.Second
)

// keepPairing offers codes while somebody waits for one.
func (i *Instance) keepPairing(ctx context.Context, a store.Account) (time.Duration, error) {
	wanted, err := i.m.store.PairingNow(ctx, i.id)
	if errors.Is(err, store.ErrNotFound) {
		i.endPairing(a)
		return lookAgain, nil
	}
	if err != nil {
		return 0, err
	}
	l := i.current()
	if l == nil {
		if wait := time.Until(i.rested); wait > 0 {
			return wait, nil
		}
		return i.beginPairing(a) //nolint:contextcheck // a link outlives the step that opens it
	}
	if e := l.ending(); e != nil {
		i.drop()
		i.say(e.status, e.cause)
		i.rested = time.Now().Add(e.rest)
		return e.rest, i.published(i.m.store.PairingProblem(ctx, i.id, e.cause))
	}
	if err := i.answerPasskey(ctx, l, wanted); err != nil {
		return 0, err
	}
	if err := i.showTypedCode(ctx, l, wanted); err != nil {
		return 0, err
	}
	return i.showCode(ctx, l)
}

// beginPairing connects a device that is linked to no phone yet.
func (i *Instance) beginPairing(a store.Account) (time.Duration, error) {
	i.say(store.StatusPairing, "")
	l := newLink(i, a)
	if err := i.use(l, a, i.m.devices.fresh(l.guard)); err != nil {
		i.say(store.StatusPairing, "WhatsApp could not be reached; trying again")
		i.rested = time.Now().Add(5 * soon)
		i.m.log.Warn("WhatsApp could not be reached for pairing", slog.Int64("account", i.id), slog.String("error", plain(err)))
		return 5 * soon, nil
	}
	return lookAgain, nil
}

// endPairing forgets the code that nobody waits for.
func (i *Instance) endPairing(a store.Account) {
	i.drop()
	if a.Status == store.StatusPairing || a.Status == store.StatusStopped {
		i.say(store.StatusNew, "")
	}
}

// showCode publishes the next code when the last has expired; after the last one
// a new connection brings new ones.
func (i *Instance) showCode(ctx context.Context, l *link) (time.Duration, error) {
	if wait := time.Until(l.expires); wait > 0 {
		return wait, nil
	}
	code, first, left := l.next()
	if !left {
		if !l.expires.IsZero() {
			i.drop()
			return 0, nil
		}
		return lookAgain, nil // whatsmeow wakes us with codes
	}
	valid := nextCode
	if first {
		valid = firstCode
	}
	l.expires = time.Now().Add(valid)
	return valid, i.published(i.m.store.OfferPairing(ctx, i.id, code, valid))
}

// offer takes the codes of this connection.
func (l *link) offer(codes []string) {
	l.mu.Lock()
	l.codes = codes
	l.mu.Unlock()
	poke(l.i.wake)
}

// offered says whether the connection has come as far as having codes.
func (l *link) offered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.codes) > 0 || !l.expires.IsZero()
}

// next takes the next code; first says that it is the first of the connection.
func (l *link) next() (code string, first, left bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.codes) == 0 {
		return "", false, false
	}
	code, l.codes = l.codes[0], l.codes[1:]
	return code, l.expires.IsZero(), true
}

// claimPhone writes the phone to the account's row before whatsmeow stores the
// device: a crash in between leaves an account without a device, which is seen
// and said, never a device without an account. One phone links to one account.
func (i *Instance) claimPhone(l *link, jid types.JID) bool {
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	err := i.m.store.SetIdentity(ctx, i.id, jid.String(), jid.User, "")
	if err != nil {
		l.end(ending{status: store.StatusNew, cause: "Pairing did not work: " + err.Error(), rest: soon})
	}
	return err == nil
}

// paired is told that the phone accepted; the login follows by itself.
func (l *link) paired(e *waEvents.PairSuccess) {
	l.linked.Store(true)
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if err := l.i.m.store.SetIdentity(ctx, l.i.id, e.ID.String(), e.ID.User, e.LID.User); err != nil {
		l.i.m.log.WarnContext(ctx, "LID of the account not written", slog.Int64("account", l.i.id), slog.Any("error", err))
	}
	l.i.say(store.StatusConnecting, "")
}

package bot

import (
	"context"
	"log/slog"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
)

// typedCode is how long a code may be typed: as long as WhatsApp keeps the
// connection of an unlinked device open (whatsmeow's qrchan), less a margin.
const typedCode = 150 * time.Second

// What the phone shows of the device that wants to be linked. WhatsApp accepts
// well-known browsers only.
const displayName = "Chrome (Linux)"

// typing is a code that somebody types on the phone instead of scanning one.
type typing struct {
	phone string    // that the code was asked for; "": none
	ends  time.Time // the code's time
	asked int       // codes of this connection
}

// mostTyped is how many codes one connection asks for: each shows a message on the
// phone with its number, whoever that belongs to.
const mostTyped = 5

// showTypedCode asks WhatsApp for a code to type, once for each number that people
// give, and again when its time is over.
func (i *Instance) showTypedCode(ctx context.Context, l *link, wanted store.Pairing) error {
	if wanted.Phone == "" || !l.offered() || (l.typing.phone == wanted.Phone && time.Until(l.typing.ends) > 0) {
		return nil
	}
	if l.typing.asked == mostTyped {
		return i.published(i.m.store.PairingProblem(ctx, i.id, "Too many codes were asked for; wait a few minutes, or scan the code instead"))
	}
	l.typing = typing{wanted.Phone, time.Now().Add(typedCode), l.typing.asked + 1}
	asking, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	code, err := l.client.PairPhone(asking, wanted.Phone, true, whatsmeow.PairClientChrome, displayName)
	if err != nil {
		l.typing.phone = ""
		i.m.log.WarnContext(ctx, "No code to type", slog.Int64("account", i.id), slog.String("error", plain(err)))
		return i.published(i.m.store.PairingProblem(ctx, i.id, "WhatsApp gave no code for this number; check the number, or scan the code instead"))
	}
	return i.published(i.m.store.OfferTypedCode(ctx, i.id, code, typedCode))
}

package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// passkey is how far a phone's wish for a passkey got: it asks, a browser signs,
// phone and page show the same code, a person confirms.
type passkey struct {
	asked     atomic.Bool // by the phone
	answered  bool        // with the browser's signature; used by step only
	compared  atomic.Bool // the code is shown
	confirmed bool        // by a person; used by step only
}

func (l *link) askPasskey(e *waEvents.PairPasskeyRequest) {
	request, err := json.Marshal(e.PublicKey)
	if err == nil {
		ctx, cancel := context.WithTimeout(l.ctx, writeTime)
		defer cancel()
		err = l.i.published(l.i.m.store.AskPasskey(ctx, l.i.id, request))
	}
	if err != nil {
		l.pairingProblem("The passkey could not be asked for; try again")
		return
	}
	l.passkey.asked.Store(true)
	l.i.say(store.StatusPairing, "The phone asks for a passkey")
}

// confirmPasskey shows the code that the phone shows as well. Where the phone
// needs no comparison, the pairing goes on by itself.
func (l *link) confirmPasskey(e *waEvents.PairPasskeyConfirmation) {
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	err := l.i.published(l.i.m.store.ShowPasskeyCode(ctx, l.i.id, e.Code))
	if err == nil && e.SkipHandoffUX {
		err = l.client.SendPasskeyConfirmation(ctx)
	}
	if err != nil {
		l.pairingProblem("The passkey could not be confirmed; try again")
		return
	}
	l.passkey.compared.Store(!e.SkipHandoffUX)
}

// answerPasskey hands on what people did in their browser, each step once.
func (i *Instance) answerPasskey(ctx context.Context, l *link, p store.Pairing) error {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	var err error
	switch {
	case l.passkey.asked.Load() && !l.passkey.answered && p.PasskeyResponse != nil:
		l.passkey.answered = true
		err = l.sendPasskey(ctx, p.PasskeyResponse)
	case l.passkey.compared.Load() && !l.passkey.confirmed && p.PasskeyConfirmed:
		l.passkey.confirmed = true
		err = l.client.SendPasskeyConfirmation(ctx)
	}
	if err == nil {
		return nil
	}
	i.m.log.WarnContext(ctx, "Passkey not accepted", slog.Int64("account", i.id), slog.String("error", plain(err)))
	l.passkey.answered, l.passkey.confirmed = false, false
	return i.published(i.m.store.PairingProblem(ctx, i.id, "WhatsApp did not accept the passkey; scan a new code and try again"))
}

func (l *link) sendPasskey(ctx context.Context, text []byte) error {
	var response types.WebAuthnResponse
	if err := json.Unmarshal(text, &response); err != nil {
		return fmt.Errorf("read the browser's signature: %w", err)
	}
	return l.client.SendPasskeyResponse(ctx, &response)
}

// pairingProblem tells people why the pairing does not go on.
func (l *link) pairingProblem(problem string) {
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if err := l.i.published(l.i.m.store.PairingProblem(ctx, l.i.id, problem)); err != nil {
		l.i.m.log.WarnContext(ctx, "Problem of a pairing not written", slog.Int64("account", l.i.id), slog.Any("error", err))
	}
}

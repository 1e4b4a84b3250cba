package bot

import (
	"context"
	"log/slog"

	"frontdesk/store"

	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
)

// called is told that somebody calls. With a text for callers the call is rejected,
// and the text is sent once; otherwise it rings on the phone.
func (l *link) called(e *waEvents.CallOffer) {
	a := l.i.self.Load()
	if a == nil || !e.GroupJID.IsEmpty() {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	if a.CallText != "" {
		if err := l.client.RejectCall(ctx, e.From, e.CallID); err != nil {
			l.i.m.log.WarnContext(ctx, "Call not rejected", slog.Int64("account", l.i.id), slog.String("error", plain(err)))
		}
	}
	if err := l.noteCall(ctx, e, a.CallText); err != nil {
		l.i.m.log.WarnContext(ctx, "Call not noted", slog.Int64("account", l.i.id), slog.Any("error", err))
	}
}

// noteCall writes a call into its conversation and queues the text for it.
func (l *link) noteCall(ctx context.Context, e *waEvents.CallOffer, text string) error {
	phone, lid := "", ""
	for _, j := range []types.JID{e.From, e.CallCreator, e.CallCreatorAlt} {
		switch j.Server {
		case types.DefaultUserServer:
			phone = j.User
		case types.HiddenUserServer:
			lid = j.User
		}
	}
	phone, lid = l.complete(ctx, phone, lid)
	s := l.i.m.store
	contact, err := s.ResolveContact(ctx, phone, lid, "")
	if err != nil {
		return err
	}
	if text == "" {
		return s.NoteCall(ctx, l.i.id, contact, false)
	}
	o, replayed, err := s.Queue(ctx, store.Parcel{
		AccountID: l.i.id, ContactID: contact, Chat: e.From.ToNonAD().String(), Origin: "system", Body: text,
		IdempotencyKey: "call:" + e.CallID, RequestHash: []byte(e.CallID),
	})
	if err != nil || replayed {
		return err
	}
	l.i.m.Send(l.i.id, o.ConversationID)
	return s.NoteCall(ctx, l.i.id, contact, true)
}

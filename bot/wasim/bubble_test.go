package wasim_test

import (
	"testing"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestDeviceHearsWhatCustomersDoToMessages(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control, c, ctx := wasim.NewControl(s.ControlURL()), s.Customer(alice), t.Context()
	first, err := c.Send(ctx, desk, "a question")
	must(t, err)
	d.message(first)
	answer, err := d.say(number(alice), "an answer")
	must(t, err)

	id, err := control.Reply(ctx, alice, desk, answer, "to your answer")
	must(t, err)
	quote := d.message(id).Message.GetExtendedTextMessage().GetContextInfo()
	if quote.GetStanzaID() != answer || quote.GetQuotedMessage().GetConversation() != "an answer" || quote.GetParticipant() != number(desk).String() {
		t.Errorf("the quote came as %v", quote)
	}
	id, err = control.React(ctx, alice, desk, answer, "❤️")
	must(t, err)
	got := d.message(id)
	if about := got.Message.GetReactionMessage(); about.GetText() != "❤️" || about.GetKey().GetID() != answer || got.Info.Type != "reaction" {
		t.Errorf("the reaction came as %v of type %s", about, got.Info.Type)
	}
	id, err = control.Edit(ctx, alice, desk, first, "a better question")
	must(t, err)
	got = d.message(id)
	change := got.Message.GetProtocolMessage()
	if !got.IsEdit || got.Info.Edit != types.EditAttributeMessageEdit || change.GetKey().GetID() != first || change.GetEditedMessage().GetConversation() != "a better question" {
		t.Errorf("the edit came as %v", got.Message)
	}
	id, err = control.Delete(ctx, alice, desk, first)
	must(t, err)
	got = d.message(id)
	if change := got.Message.GetProtocolMessage(); got.Info.Edit != types.EditAttributeSenderRevoke || change.GetType() != waE2E.ProtocolMessage_REVOKE || change.GetKey().GetID() != first {
		t.Errorf("the deletion came as %v", got.Message)
	}
	seen := c.Messages(desk)
	if len(seen) != 3 || !seen[0].Deleted || !seen[0].Edited || seen[0].Text != "" || seen[1].Reactions[0].Emoji != "❤️" || seen[2].QuotedID != answer {
		t.Errorf("the customer sees %+v", seen)
	}
	_, err = control.Edit(ctx, alice, desk, answer, "your words")
	refused(t, err, "only whoever wrote a message")
	_, err = control.Delete(ctx, alice, desk, first)
	refused(t, err, "has been deleted")
	_, err = control.React(ctx, alice, desk, "nothing", "❤️")
	refused(t, err, "no such message")
}

func TestCustomersSeeWhatTheDeviceDoesToMessages(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	c, ctx, chat := s.Customer(alice), t.Context(), number(alice)
	question, err := c.Send(ctx, desk, "a question")
	must(t, err)
	d.message(question)
	answer, err := d.say(chat, "an answer")
	must(t, err)
	for _, m := range []*waE2E.Message{
		d.BuildReaction(chat, chat, question, "👀"),
		d.BuildReaction(chat, chat, question, "👍"),
		d.BuildEdit(chat, answer, &waE2E.Message{Conversation: new("a better answer")}),
		d.BuildRevoke(chat, chat, question), // somebody else's
		{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: new("to you"), ContextInfo: &waE2E.ContextInfo{
			StanzaID: &question, Participant: new(chat.String()), QuotedMessage: &waE2E.Message{Conversation: new("a question")},
		}}},
		{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: new(52.5), DegreesLongitude: new(13.4), Name: new("here")}},
	} {
		_, err := d.SendMessage(ctx, chat, m)
		must(t, err)
	}
	shown(t, c, func(m wasim.Message) bool {
		return m.Kind == wasim.Place && *m.Location == wasim.Location{Latitude: 52.5, Longitude: 13.4, Name: "here"}
	})
	seen := c.Messages(desk)
	if len(seen) != 4 || seen[0].Deleted || len(seen[0].Reactions) != 1 || seen[0].Reactions[0] != (wasim.Reaction{Emoji: "👍"}) {
		t.Fatalf("the customer sees %+v", seen)
	}
	if seen[1].Text != "a better answer" || !seen[1].Edited || seen[2].QuotedID != question {
		t.Errorf("the customer sees %+v", seen)
	}
	_, err = d.SendMessage(ctx, chat, d.BuildRevoke(chat, types.EmptyJID, answer))
	must(t, err)
	shown(t, c, func(m wasim.Message) bool { return m.ID == answer && m.Deleted && m.Text == "" })
}

func TestPlacesAndCardsReachTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	id, err := control.SendLocation(t.Context(), alice, desk, wasim.Location{Latitude: 1.5, Longitude: -2.5, Name: "pier"})
	must(t, err)
	if l := d.message(id).Message.GetLocationMessage(); l.GetDegreesLatitude() != 1.5 || l.GetDegreesLongitude() != -2.5 || l.GetName() != "pier" {
		t.Errorf("the place came as %v", l)
	}
	id, err = control.SendContact(t.Context(), alice, desk, wasim.Contact{Name: "Bob", Number: bob})
	must(t, err)
	if got := d.message(id); got.Message.GetContactMessage().GetDisplayName() != "Bob" || got.Info.MediaType != "vcard" {
		t.Errorf("the card came as %v", got.Message)
	}
}

func TestReceiptsGoAsFarAsOrdered(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	kinds := func(id string) map[types.ReceiptType]bool {
		found := map[types.ReceiptType]bool{}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, event := range d.seen {
			if r, is := event.(*events.Receipt); is && r.MessageIDs[0] == id {
				found[r.Type] = true
			}
		}
		return found
	}
	sent := map[wasim.ReceiptMode]string{}
	for _, mode := range []wasim.ReceiptMode{wasim.NoReceipts, wasim.DeliveryReceipts, wasim.ReadReceipts, wasim.PlaybackReceipts} {
		must(t, control.Receipts(t.Context(), alice, mode))
		up, err := d.SendMessage(t.Context(), number(alice), &waE2E.Message{AudioMessage: &waE2E.AudioMessage{PTT: new(true)}})
		must(t, err)
		sent[mode] = up.ID
	}
	await(d, func(r *events.Receipt) bool {
		return r.Type == types.ReceiptTypePlayed && r.MessageIDs[0] == sent[wasim.PlaybackReceipts]
	})
	for mode, want := range map[wasim.ReceiptMode]int{wasim.NoReceipts: 0, wasim.DeliveryReceipts: 1, wasim.ReadReceipts: 2, wasim.PlaybackReceipts: 3} {
		if got := kinds(sent[mode]); len(got) != want {
			t.Errorf("%s: %v, want %d", mode, got, want)
		}
	}
	refused(t, control.Receipts(t.Context(), alice, "some"), "no receipts")
}

func TestTypingOfCustomersIsShown(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	must(t, control.SetTyping(t.Context(), alice, desk, true))
	await(d, func(p *events.ChatPresence) bool {
		return p.State == types.ChatPresenceComposing && p.Sender == number(alice)
	})
	must(t, control.SetTyping(t.Context(), alice, desk, false))
	await(d, func(p *events.ChatPresence) bool { return p.State == types.ChatPresencePaused })
}

func TestCallsRingUntilRejectedOrHungUp(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control, ctx := wasim.NewControl(s.ControlURL()), t.Context()
	must(t, control.Address(ctx, alice, wasim.LIDFirst))
	first, err := control.Call(ctx, alice, desk)
	must(t, err)
	offer := await(d, func(o *events.CallOffer) bool { return o.CallID == first })
	if offer.From != hidden(alice) || offer.CallCreator != hidden(alice) || offer.CallCreatorAlt != number(alice) {
		t.Errorf("the call came from %+v", offer.BasicCallMeta)
	}
	state := func(id string) string {
		calls, err := control.Calls(ctx, alice, desk)
		must(t, err)
		for _, c := range calls {
			if c.ID == id {
				return c.State
			}
		}
		return ""
	}
	if got := state(first); got != wasim.Ringing {
		t.Errorf("the call is %q", got)
	}
	changed := s.Customer(alice).Changed()
	must(t, d.RejectCall(ctx, offer.From, first))
	<-changed
	if got := state(first); got != wasim.Rejected {
		t.Errorf("the rejected call is %q", got)
	}
	second, err := control.Call(ctx, alice, desk)
	must(t, err)
	must(t, control.HangUp(ctx, alice, desk, second))
	await(d, func(e *events.CallTerminate) bool { return e.CallID == second })
	if got := state(second); got != wasim.Missed {
		t.Errorf("the call that was hung up is %q", got)
	}
	refused(t, control.HangUp(ctx, alice, desk, first), "no such call rings")
}

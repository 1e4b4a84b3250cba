package wasim_test

import (
	"strings"
	"testing"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestStanzasNameTheCustomerAsOrdered(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	for mode, names := range map[wasim.Addressing][2]types.JID{
		wasim.PhoneFirst: {number(alice), hidden(alice)},
		wasim.LIDFirst:   {hidden(alice), number(alice)},
		wasim.LIDOnly:    {hidden(alice), types.EmptyJID},
	} {
		must(t, wasim.NewControl(s.ControlURL()).Address(t.Context(), alice, mode))
		id, err := s.Customer(alice).Send(t.Context(), desk, string(mode))
		must(t, err)
		got := d.message(id)
		if got.Info.Sender.ToNonAD() != names[0] || got.Info.SenderAlt.ToNonAD() != names[1] {
			t.Errorf("%s: came from %v and %v, want %v", mode, got.Info.Sender, got.Info.SenderAlt, names)
		}
	}
	if err := s.Customer(alice).Address("by-name"); err == nil {
		t.Error("an unknown addressing was taken")
	}
}

func TestPhoneOnlyTellsNoLIDAndMixedAlternates(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	c := s.Customer(bob)
	must(t, c.Address(wasim.PhoneOnly))
	id, err := c.Send(t.Context(), desk, "only my number")
	must(t, err)
	if got := d.message(id).Info; got.Sender.ToNonAD() != number(bob) || !got.SenderAlt.IsEmpty() {
		t.Errorf("came from %v and %v", got.Sender, got.SenderAlt)
	}
	must(t, c.Address(wasim.Mixed))
	servers := map[string]int{}
	for range 4 {
		id, err := c.Send(t.Context(), desk, "mixed")
		must(t, err)
		servers[d.message(id).Info.Sender.Server]++
	}
	if servers[types.DefaultUserServer] != 2 || servers[types.HiddenUserServer] != 2 {
		t.Errorf("named by %v, want each twice", servers)
	}
}

func TestAnswersToEitherNameReachTheCustomer(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	c := s.Customer(alice)
	for _, mode := range []wasim.Addressing{wasim.LIDOnly, wasim.PhoneOnly, wasim.Mixed} {
		must(t, c.Address(mode))
		for _, to := range []types.JID{number(alice), hidden(alice)} {
			id, err := d.say(to, "to "+to.String()+" "+string(mode))
			must(t, err)
			shown(t, c, func(m wasim.Message) bool { return m.ID == id && m.Copies == 1 })
			got := await(d, func(r *events.Receipt) bool { return r.MessageIDs[0] == id && r.Type == types.ReceiptTypeRead })
			if mode == wasim.LIDOnly && got.Sender.ToNonAD() != hidden(alice) {
				t.Errorf("the receipt came from %v", got.Sender)
			}
		}
	}
}

func TestHiddenLIDIsNotTold(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	must(t, control.HideLID(t.Context(), alice, true))
	if _, err := d.say(number(alice), "hello"); err == nil || !strings.Contains(err.Error(), "no LID found") {
		t.Errorf("writing to a number whose LID is hidden gave %v", err)
	}
	must(t, control.HideLID(t.Context(), alice, false))
	_, err := d.say(number(alice), "hello")
	must(t, err)
}

func TestOwnersMessagesAreCopiedUnderTheCustomersNames(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	must(t, s.Customer(alice).Address(wasim.LIDFirst))
	id, err := s.Phone(desk).Send(t.Context(), alice, "typed by hand")
	must(t, err)
	if got := d.message(id).Info; got.Chat != hidden(alice) || got.RecipientAlt != number(alice) || !got.IsFromMe {
		t.Errorf("copied to %v and %v, from the account: %v", got.Chat, got.RecipientAlt, got.IsFromMe)
	}
}

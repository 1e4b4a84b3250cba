package wasim

import (
	"fmt"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// Addressing is by which of their names stanzas call a customer: the phone
// number, the hidden name (LID), or one with the other beside it.
type Addressing string

// The ways WhatsApp has called people.
const (
	PhoneFirst Addressing = "phone-first" // from the number, the LID beside it: what a customer begins with
	LIDFirst   Addressing = "lid-first"   // from the LID, the number beside it
	LIDOnly    Addressing = "lid-only"    // from the LID; the number is not told
	PhoneOnly  Addressing = "phone-only"  // from the number; the LID is not told
	Mixed      Addressing = "mixed"       // phone-first and lid-first by turns, a stanza each
)

// Address has all further stanzas of the customer follow mode: messages, receipts,
// typing and calls, and the copies of what the owner types to them. Whatever the
// mode, answers to either name reach the customer.
func (c *Customer) Address(mode Addressing) error {
	switch mode {
	case PhoneFirst, LIDFirst, LIDOnly, PhoneOnly, Mixed:
	default:
		return fmt.Errorf("there is no addressing %q", mode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Addressing = mode
	c.touch()
	return nil
}

// HideLID has the server no longer tell the customer's LID to those who ask for it
// by the phone number, or tell it again. A client that does not know the LID
// cannot write to the number then.
func (c *Customer) HideLID(hidden bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Hidden = hidden
	c.touch()
}

// names are the customer's names as the next stanza tells them: the one it comes
// from, and the other or the empty JID; mu is held.
func (c *Customer) names() (first, other types.JID) {
	mode := c.state.Addressing
	if mode == Mixed {
		mode = [...]Addressing{PhoneFirst, LIDFirst}[c.state.Turn%2]
		c.state.Turn++
	}
	switch mode {
	case LIDFirst:
		return c.lid(), c.jid()
	case LIDOnly:
		return c.lid(), types.EmptyJID
	case PhoneOnly:
		return c.jid(), types.EmptyJID
	default:
		return c.jid(), c.lid()
	}
}

// sender are the attributes by which stanzas name this customer; mu is held.
func (c *Customer) sender() waBinary.Attrs {
	attrs := c.named("from", "sender")
	attrs["t"] = time.Now().Unix()
	return attrs
}

// recipient are the attributes by which copies of the owner's messages name this
// customer.
func (c *Customer) recipient() waBinary.Attrs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.named("recipient", "peer_recipient")
}

// named puts the customer's first name under one attribute and the other name
// under another, whose end says which it is; mu is held.
func (c *Customer) named(first, other string) waBinary.Attrs {
	name, also := c.names()
	attrs := waBinary.Attrs{first: name}
	switch also.Server {
	case types.HiddenUserServer:
		attrs[other+"_lid"] = also
	case types.DefaultUserServer:
		attrs[other+"_pn"] = also
	}
	return attrs
}

// called is the name of the customer or of the account as the customer's phone
// writes it inside messages; mu is held.
func (c *Customer) called(self bool, account string) string {
	byLID := c.state.Addressing == LIDFirst || c.state.Addressing == LIDOnly
	name := types.NewJID(account, types.DefaultUserServer)
	switch {
	case self && byLID:
		name = c.lid()
	case self:
		name = c.jid()
	case byLID:
		name = types.NewJID(accountLID+account, types.HiddenUserServer)
	}
	return name.String()
}

// hidden reports whether the customer of that number keeps the LID to themselves.
func (s *Server) hidden(number string) bool {
	s.mu.RLock()
	c := s.customers[number]
	s.mu.RUnlock()
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Hidden
}

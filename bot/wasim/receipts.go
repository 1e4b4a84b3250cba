package wasim

import (
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
)

// ReceiptMode is how far a customer's receipts go.
type ReceiptMode string

// The receipts that answers get.
const (
	NoReceipts       ReceiptMode = "none"      // the customer's phone is off, yet it shows what came
	DeliveryReceipts ReceiptMode = "delivered" // the customer never looks, or hides it
	ReadReceipts     ReceiptMode = "read"      // what a customer begins with
	PlaybackReceipts ReceiptMode = "played"    // as read, and voice notes are listened to
)

// Receipts has the customer answer all further messages with the receipts of mode.
func (c *Customer) Receipts(mode ReceiptMode) error {
	switch mode {
	case NoReceipts, DeliveryReceipts, ReadReceipts, PlaybackReceipts:
	default:
		return fmt.Errorf("there are no receipts %q", mode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Receipts = mode
	c.touch()
	return nil
}

// acknowledge sends the receipts that a message gets; mu is held.
func (c *Customer) acknowledge(p *Phone, id string, m *waE2E.Message) {
	if c.state.Receipts == NoReceipts {
		return
	}
	c.queueReceipt(p, id, "")
	if c.state.Receipts == DeliveryReceipts {
		return
	}
	c.queueReceipt(p, id, "read")
	if c.state.Receipts == PlaybackReceipts && opened(m).GetAudioMessage() != nil {
		c.queueReceipt(p, id, "played")
	}
}

// queueReceipt sends one receipt; without a kind it says that the message came. mu
// is held.
func (c *Customer) queueReceipt(p *Phone, id, kind string) {
	attrs := c.sender()
	attrs["id"] = id
	if kind != "" {
		attrs["type"] = kind
	}
	c.server.counts.add("receipt.out", 1)
	c.queue(p, "receipt", id, waBinary.Node{Tag: "receipt", Attrs: attrs})
}

// SetTyping shows the account that the customer is typing, or no longer is. An
// account that is not connected never learns of it.
func (c *Customer) SetTyping(account string, typing bool) error {
	p, err := c.server.linked(account)
	if err != nil {
		return err
	}
	stream := p.stream()
	if stream == nil || !p.Connected() {
		return nil
	}
	state := "paused"
	if typing {
		state = "composing"
	}
	c.mu.Lock()
	attrs := c.sender()
	c.mu.Unlock()
	stream.send(waBinary.Node{Tag: "chatstate", Attrs: attrs, Content: []waBinary.Node{{Tag: state}}})
	return nil
}

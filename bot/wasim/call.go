package wasim

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// What a call's State may be.
const (
	Ringing  = "ringing"
	Rejected = "rejected" // by the account
	Missed   = "missed"   // the customer hung up
)

// Call is a call of a customer to an account. Nobody ever answers one.
type Call struct {
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	State string    `json:"state"`
}

// Call rings at an account and returns the call's id. It rings until the account
// rejects it or the customer hangs up.
func (c *Customer) Call(account string) (string, error) {
	p, err := c.server.linked(account)
	if err != nil {
		return "", err
	}
	id := strings.ToUpper(hex.EncodeToString(randomBytes(16)))
	c.mu.Lock()
	defer c.mu.Unlock()
	talk := c.chat(account)
	talk.Calls = append(talk.Calls[max(0, len(talk.Calls)-remembered):], Call{id, time.Now(), Ringing})
	c.queueCall(p, id, "offer", waBinary.Node{Tag: "audio", Attrs: waBinary.Attrs{"enc": "opus", "rate": "16000"}})
	c.change()
	return id, nil
}

// HangUp ends a call that rings.
func (c *Customer) HangUp(account, id string) error {
	p, err := c.server.linked(account)
	if err != nil {
		return err
	}
	if !c.endCall(account, id, Missed) {
		return errors.New("no such call rings")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queueCall(p, id, "terminate")
	return nil
}

// Calls are the customer's calls to an account, oldest first.
func (c *Customer) Calls(account string) []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.chat(account).Calls)
}

// queueCall tells the account of a call; mu is held.
func (c *Customer) queueCall(p *Phone, id, what string, details ...waBinary.Node) {
	attrs := c.sender()
	creator := attrs["from"].(types.JID)
	attrs["id"], attrs["notify"], attrs["platform"], attrs["version"] = messageID(), c.name(), "android", "2.26.1"
	call := waBinary.Attrs{"call-id": id, "call-creator": creator}
	if pn, told := attrs["sender_pn"]; told {
		call["caller_pn"] = pn
	}
	if lid, told := attrs["sender_lid"]; told {
		call["caller_lid"] = lid
	}
	c.queue(p, "call", text(&waBinary.Node{Attrs: attrs}, "id"), waBinary.Node{Tag: "call", Attrs: attrs, Content: []waBinary.Node{
		{Tag: what, Attrs: call, Content: details},
	}})
}

// endCall ends a call that rings, and reports whether it did.
func (c *Customer) endCall(account, id, state string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.chat(account).Calls
	i := slices.IndexFunc(calls, func(call Call) bool { return call.ID == id && call.State == Ringing })
	if i < 0 {
		return false
	}
	calls[i].State = state
	c.change()
	return true
}

// call takes what the device says to a call.
func (c *connection) call(n *waBinary.Node) {
	to := numberOf(address(n, "to"))
	if c.phone == nil || to == "" {
		return
	}
	c.send(waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"class": "call", "id": text(n, "id"), "from": n.Attrs["to"]}})
	for _, said := range n.GetChildrenByTag("reject") {
		c.server.counts.add("call.rejected", 1)
		c.server.Customer(to).endCall(c.phone.number, text(&said, "call-id"), Rejected)
	}
}

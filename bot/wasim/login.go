package wasim

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// login greets a paired device, or tells it why not. An older stream of the same
// device ends with a conflict.
func (c *connection) login(payload *waWa6.ClientPayload) error {
	number, device := strconv.FormatUint(payload.GetUsername(), 10), int(payload.GetDevice())
	if f, refused := c.server.faults.strikes(Refuse, number, ""); refused {
		c.finish(failure(f))
		return errors.New("a fault refuses the login")
	}
	p := c.server.phone(number)
	if p == nil || !p.admits(c, device) {
		c.finish(failure(Fault{Code: 401}))
		return errors.New("no such device is linked")
	}
	c.server.counts.add("login", 1)
	c.server.logins.add(time.Now())
	c.send(waBinary.Node{Tag: "success", Attrs: waBinary.Attrs{
		"t": time.Now().Unix(), "creation": time.Now().Add(-24 * time.Hour).Unix(),
		"lid": p.deviceJID(types.HiddenUserServer, device), "location": "lla", "props": "27",
	}})
	messages, receipts := p.line.counts()
	c.send(bulletin(waBinary.Node{Tag: "offline_preview", Attrs: waBinary.Attrs{
		"count": messages + receipts, "message": messages, "receipt": receipts, "notification": 0, "appdata": 0,
	}}))
	return nil
}

// activate hands the account's queue to this stream: the device is ready.
func (c *connection) activate() {
	if !c.phone.line.attach(c) {
		return
	}
	c.phone.shareKeys(c.ctx)
	c.phone.shareFirstHistory(c.ctx)
	c.phone.change()
}

// maxLogins is how many logins a server remembers.
const maxLogins = 10_000

// logbook are the times of the newest logins; safe from any goroutine.
type logbook struct {
	mu    sync.Mutex
	times []time.Time // guarded by mu
}

func (l *logbook) add(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, at)
	if len(l.times) > maxLogins {
		l.times = l.times[1:]
	}
}

// Logins are the times of the newest 10,000 logins, oldest first.
func (s *Server) Logins() []time.Time {
	s.logins.mu.Lock()
	defer s.logins.mu.Unlock()
	return slices.Clone(s.logins.times)
}

// failure is the answer to a login that is refused.
func failure(f Fault) waBinary.Node {
	attrs := waBinary.Attrs{"reason": f.code(503), "location": "lla"}
	if f.Code == 402 {
		attrs["code"] = 101
		attrs["expire"] = int(f.Delay.Seconds())
	}
	return waBinary.Node{Tag: "failure", Attrs: attrs}
}

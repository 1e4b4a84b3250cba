package bot

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
)

// errNobody refuses to let a message leave that none of its recipient's devices
// could read.
var errNobody = errors.New("the message could not be encrypted for any device of its recipient")

// departure tells whether a message may have left. whatsmeow stores what an
// encryption made of the sessions right before the frame leaves, under the context
// of the send: until that is done nothing left, whatever the error says.
type departure struct {
	own  []string // users of the account itself; empty: the chat is its own
	left atomic.Bool
}

type departureKey struct{}

func withDeparture(ctx context.Context, d *departure) context.Context {
	return context.WithValue(ctx, departureKey{}, d)
}

// departing is the departure that ctx belongs to, or nil.
func departing(ctx context.Context) *departure {
	d, _ := ctx.Value(departureKey{}).(*departure)
	return d
}

// reaches says whether one of the sessions is the recipient's: whatsmeow passes
// over devices without one, and would send to nobody.
func (d *departure) reaches(changed map[string][]byte) bool {
	if d == nil || len(d.own) == 0 {
		return true
	}
	for address := range changed {
		if !d.owns(address) {
			return true
		}
	}
	return false
}

// owns says whether a session's address, "user:device" or "user_1:device", is of
// the account itself.
func (d *departure) owns(address string) bool {
	for _, user := range d.own {
		rest, found := strings.CutPrefix(address, user)
		if found && user != "" && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "_")) {
			return true
		}
	}
	return false
}

func (d *departure) leave() {
	if d != nil {
		d.left.Store(true)
	}
}

package wasim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mau.fi/util/jsontime"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types/events"
)

// FaultKind names a way in which the network or a phone misbehaves.
type FaultKind string

// Faults that wait for the next occasion.
const (
	// AckDrop delivers an account's message but never acknowledges it.
	AckDrop FaultKind = "ack-drop"
	// AckSwallow loses an account's message and its acknowledgement. The sender
	// cannot tell it from AckDrop.
	AckSwallow FaultKind = "ack-swallow"
	// AckDelay delivers an account's message and acknowledges it after Delay.
	AckDelay FaultKind = "ack-delay"
	// Nack refuses an account's message with the error Code (463 unless told), with
	// NewChats only those to customers who have never written to it.
	Nack FaultKind = "nack"
	// CutBefore cuts the stream when an account's message arrives, which is lost.
	CutBefore FaultKind = "cut-before"
	// CutAfter delivers an account's message, then cuts the stream without an ack.
	CutAfter FaultKind = "cut-after"
	// CutDelivery cuts the stream right after a customer's message was written.
	CutDelivery FaultKind = "cut-delivery"
	// Replay writes a customer's message twice, byte for byte.
	Replay FaultKind = "replay"
	// Reencrypt sends a customer's message twice: one id, two ciphertexts.
	Reencrypt FaultKind = "reencrypt"
	// Garble damages the ciphertext of a customer's message; the copy sent after
	// a retry receipt is sound.
	Garble FaultKind = "garble"
	// Retry has the customer ask for an answer again instead of showing it.
	Retry FaultKind = "retry"
	// Refuse answers a login with the connect failure Code: 401, 402 (a ban that
	// lasts for Delay), 405, 503 and so on.
	Refuse FaultKind = "refuse"
	// MutePings leaves keepalives unanswered.
	MutePings FaultKind = "mute-pings"
	// KeysAway gives an account no keys of a customer it has not written to yet.
	KeysAway FaultKind = "keys-away"
	// RefuseMedia answers uploads and downloads with the status Code (403 unless
	// told).
	RefuseMedia FaultKind = "refuse-media"
)

// Faults of files that customers sent, at their next download.
const (
	// MediaGone answers downloads of the file with the status Code (404 unless told)
	// until the device asks for it again: then the phone puts it elsewhere.
	MediaGone FaultKind = "media-gone"
	// MediaLost is MediaGone, but the phone does not have the file either.
	MediaLost FaultKind = "media-lost"
)

// Faults that happen at once.
const (
	// Cut drops the account's connection.
	Cut FaultKind = "cut"
	// StreamError ends the account's stream with Code (503 unless told), as 515
	// asks to reconnect.
	StreamError FaultKind = "stream-error"
	// Timelock tells the account that it may not write to new people for Delay, or
	// with none that it may again. Nack with NewChats makes it so.
	Timelock FaultKind = "timelock"
	// Freeze keeps the account's present stream open, but reads, writes and answers
	// nothing until For is over or the faults are cleared. A new login is not hurt.
	Freeze FaultKind = "freeze"
	// Replaced tells the account that another client took its stream over.
	Replaced FaultKind = "replaced"
	// LoggedOut removes the account's device, as its owner can on the phone.
	LoggedOut FaultKind = "logged-out"
	// Reinstalled gives the customer a new phone: new keys, no sessions.
	Reinstalled FaultKind = "reinstalled"
	// Clear forgets all faults that wait.
	Clear FaultKind = "clear"
)

var waiting = []FaultKind{
	AckDrop, AckSwallow, AckDelay, Nack, CutBefore, CutAfter, CutDelivery, Replay, Reencrypt,
	Garble, Retry, Refuse, MutePings, KeysAway, RefuseMedia, MediaGone, MediaLost,
}

var immediate = []FaultKind{Cut, StreamError, Timelock, Freeze, Replaced, LoggedOut, Reinstalled}

// FaultKinds are all kinds that do harm, for tables that must not miss one.
func FaultKinds() []FaultKind { return slices.Concat(waiting, immediate) }

// Fault orders one misbehaviour. Without Account or Customer it strikes anyone.
type Fault struct {
	Kind     FaultKind
	Account  string        // the account's phone number
	Customer string        // the customer's phone number
	After    int           // occasions to let pass first
	Count    int           // times to strike: once if 0, or without end while For lasts
	For      time.Duration // the fault ends after this long; 0 is never
	Delay    time.Duration // how long AckDelay holds back, or a ban or a timelock lasts
	Code     int           // the error code of Nack, Refuse, StreamError, RefuseMedia and MediaGone
	NewChats bool          // Nack spares those who have written to the account
}

// faultJSON is a Fault for people: durations read "10s".
type faultJSON struct {
	Kind     FaultKind `json:"kind"`
	Account  string    `json:"account,omitempty"`
	Customer string    `json:"customer,omitempty"`
	After    int       `json:"after,omitempty"`
	Count    int       `json:"count,omitempty"`
	For      string    `json:"for,omitempty"`
	Delay    string    `json:"delay,omitempty"`
	Code     int       `json:"code,omitempty"`
	NewChats bool      `json:"newChats,omitempty"`
}

// MarshalJSON writes durations as "10s".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultJSON{f.Kind, f.Account, f.Customer, f.After, f.Count, f.For.String(), f.Delay.String(), f.Code, f.NewChats})
}

// UnmarshalJSON reads durations as "10s".
func (f *Fault) UnmarshalJSON(data []byte) error {
	var read faultJSON
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	lasting, err := duration(read.For)
	if err != nil {
		return err
	}
	delay, err := duration(read.Delay)
	*f = Fault{read.Kind, read.Account, read.Customer, read.After, read.Count, lasting, delay, read.Code, read.NewChats}
	return err
}

func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// code is the fault's error code, or fallback.
func (f Fault) code(fallback int) int {
	if f.Code != 0 {
		return f.Code
	}
	return fallback
}

// faults are those that wait for an occasion; safe from any goroutine.
type faults struct {
	mu     sync.Mutex
	armed  []*armed        // guarded by mu
	frosts []chan struct{} // closed when a freeze is over; guarded by mu
}

type armed struct {
	Fault
	ends time.Time
}

func (f *faults) arm(fault Fault) {
	a := &armed{Fault: fault}
	if fault.For > 0 {
		a.ends = time.Now().Add(fault.For)
	}
	if fault.Count == 0 {
		a.Count = 1
		if fault.For > 0 {
			a.Count = -1
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = append(f.armed, a)
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = nil
	for _, over := range f.frosts {
		close(over)
	}
	f.frosts = nil
}

// strikes reports whether a fault of this kind happens now, and uses it up.
func (f *faults) strikes(kind FaultKind, account, customer string) (Fault, bool) {
	return f.strikesIf(kind, account, customer, func(Fault) bool { return true })
}

// strikesIf is strikes for those faults only that fit the occasion.
func (f *faults) strikesIf(kind FaultKind, account, customer string, fits func(Fault) bool) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.armed = slices.DeleteFunc(f.armed, func(a *armed) bool {
		return a.Count == 0 || !a.ends.IsZero() && now.After(a.ends)
	})
	for _, a := range f.armed {
		if a.Kind != kind || a.Account != "" && a.Account != account || a.Customer != "" && a.Customer != customer || !fits(a.Fault) {
			continue
		}
		if a.After > 0 {
			a.After--
			return Fault{}, false
		}
		if a.Count > 0 {
			a.Count--
		}
		return a.Fault, true
	}
	return Fault{}, false
}

// Fault arms f, or lets it happen at once; see the kinds.
func (s *Server) Fault(f Fault) error {
	switch f.Kind {
	case Clear:
		s.faults.clear()
		return nil
	case Reinstalled:
		if !digits(f.Customer) {
			return fmt.Errorf("the fault %q needs a customer", f.Kind)
		}
		s.Customer(f.Customer).Reinstall()
		return nil
	case Cut, StreamError, Replaced, LoggedOut, Timelock, Freeze:
		return s.interrupt(f)
	}
	if !slices.Contains(waiting, f.Kind) {
		return fmt.Errorf("there is no fault %q", f.Kind)
	}
	s.faults.arm(f)
	return nil
}

// interrupt lets f happen to the stream of its account.
func (s *Server) interrupt(f Fault) error {
	p, err := s.linked(f.Account)
	if err != nil {
		return err
	}
	switch f.Kind {
	case LoggedOut:
		return p.Unlink(context.Background())
	case Timelock:
		return p.timelock(f.Delay)
	}
	c := p.stream()
	if c == nil {
		return fmt.Errorf("the account is not connected, so %q cannot happen to it", f.Kind)
	}
	switch f.Kind {
	case Cut:
		c.cut()
	case Freeze:
		c.freeze(s.faults.frost(f.For))
	case Replaced:
		c.finish(conflict("replaced"))
	default:
		c.finish(waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": f.code(503)}})
	}
	return nil
}

// timelock tells the device from when on its account may write to new people.
func (p *Phone) timelock(lasting time.Duration) error {
	lock := events.NotifyAccountReachoutTimelock{IsActive: lasting > 0, EnforcementType: "DEFAULT"}
	if lock.IsActive {
		lock.TimeEnforcementEnds = jsontime.UnixString{Time: time.Now().Add(lasting)}
	}
	update, err := json.Marshal(map[string]any{"data": map[string]any{"xwa2_notify_account_reachout_timelock": lock}})
	if err != nil {
		return err
	}
	p.line.add(p.server.announce("mex", waBinary.Node{
		Tag: "update", Attrs: waBinary.Attrs{"op_name": "NotificationAccountReachoutTimelockUpdate"}, Content: update,
	}))
	return nil
}

func conflict(kind string) waBinary.Node {
	attrs := waBinary.Attrs{}
	if kind == "device_removed" {
		attrs["code"] = "401"
	}
	return waBinary.Node{Tag: "stream:error", Attrs: attrs, Content: []waBinary.Node{
		{Tag: "conflict", Attrs: waBinary.Attrs{"type": kind}},
	}}
}

package bot_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"
)

// harm is a fault, what people read of it and what ends it.
type harm struct {
	name   string
	faults []wasim.Fault
	status store.Status // that the account has meanwhile; "": connected all along
	cause  string       // a part of what it says
	alerts bool         // somebody is told
	mend   func(*patient)
}

// patient is an account that a fault strikes.
type patient struct {
	*world

	m       *bot.Manager
	account int64
}

// harms are all faults that the loopback WhatsApp knows, but for those of files
// (media_test.go) and of new customers (delivery_test.go).
var harms = []harm{
	{name: "acknowledgement lost", faults: []wasim.Fault{{Kind: wasim.AckDrop}}},
	{name: "message and acknowledgement lost", faults: []wasim.Fault{{Kind: wasim.AckSwallow}}},
	{name: "acknowledgement late", faults: []wasim.Fault{{Kind: wasim.AckDelay, Delay: 2 * time.Second}}},
	{name: "refused once", faults: []wasim.Fault{{Kind: wasim.Nack, Code: 479}}},
	{
		name: "refused as a stranger", faults: []wasim.Fault{{Kind: wasim.Nack, Code: 463, NewChats: true, For: time.Minute}},
		status: store.StatusRestricted, cause: "running chats only", alerts: true, mend: (*patient).greetStranger,
	},
	{
		name: "timelock", faults: []wasim.Fault{{Kind: wasim.Timelock, Delay: time.Hour}},
		status: store.StatusRestricted, cause: "running chats only", alerts: true, mend: (*patient).endTimelock,
	},
	{name: "cut before a message", faults: []wasim.Fault{{Kind: wasim.CutBefore}}, status: store.StatusReconnecting, cause: "lost"},
	{name: "cut after a message", faults: []wasim.Fault{{Kind: wasim.CutAfter}}, status: store.StatusReconnecting, cause: "lost"},
	{name: "cut after a delivery", faults: []wasim.Fault{{Kind: wasim.CutDelivery}}, status: store.StatusReconnecting, cause: "lost"},
	{name: "delivered twice", faults: []wasim.Fault{{Kind: wasim.Replay}}},
	{name: "encrypted twice", faults: []wasim.Fault{{Kind: wasim.Reencrypt}}},
	{name: "garbled", faults: []wasim.Fault{{Kind: wasim.Garble}}},
	{name: "answer unreadable at first", faults: []wasim.Fault{{Kind: wasim.Retry}}},
	{name: "pings unanswered", faults: []wasim.Fault{{Kind: wasim.MutePings, Count: 3}}, status: store.StatusReconnecting, cause: "does not answer"},
	{name: "frozen socket", faults: []wasim.Fault{{Kind: wasim.Freeze, For: time.Minute}}, status: store.StatusReconnecting, cause: "does not answer"},
	{name: "cut", faults: []wasim.Fault{{Kind: wasim.Cut}}, status: store.StatusReconnecting, cause: "lost"},
	{name: "stream error 503", faults: []wasim.Fault{{Kind: wasim.StreamError, Code: 503}}, status: store.StatusReconnecting},
	{name: "stream error 515", faults: []wasim.Fault{{Kind: wasim.StreamError, Code: 515}}},
	{name: "replaced", faults: []wasim.Fault{{Kind: wasim.Replaced}}, status: store.StatusReconnecting, cause: "Another program"},
	{
		name: "banned for a time", faults: []wasim.Fault{{Kind: wasim.Refuse, Code: 402, Delay: 6 * time.Second}, {Kind: wasim.Cut}},
		status: store.StatusRestricted, cause: "banned this account until", alerts: true,
	},
	{
		name: "outdated", faults: []wasim.Fault{{Kind: wasim.Refuse, Code: 405}, {Kind: wasim.Cut}},
		status: store.StatusOutdated, cause: "newer client", alerts: true,
	},
	{name: "login refused", faults: []wasim.Fault{{Kind: wasim.Refuse, Code: 503}, {Kind: wasim.Cut}}, status: store.StatusReconnecting},
	{
		name: "logged out at login", faults: []wasim.Fault{{Kind: wasim.Refuse, Code: 401}, {Kind: wasim.Cut}},
		status: store.StatusLoggedOut, cause: "scan again", alerts: true, mend: (*patient).linkAgain,
	},
	{
		name: "logged out", faults: []wasim.Fault{{Kind: wasim.LoggedOut}},
		status: store.StatusLoggedOut, cause: "scan again", alerts: true, mend: (*patient).linkAgain,
	},
	{name: "customer reinstalled", faults: []wasim.Fault{{Kind: wasim.Reinstalled}}},
}

func TestEveryFaultIsSaidAndLosesDoublesAndReordersNothing(t *testing.T) {
	t.Parallel()
	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := &patient{w, w.manager("a"), 0}
			p.account = w.pair(desk)
			w.write(customer, desk, 1, 2)
			w.awaitReceived(p.account, 2)
			w.queue(p.m, p.account, customer, 1, 2)
			w.awaitAnswers(customer, desk, 2)
			for _, f := range h.faults {
				f.Account = desk
				if f.Kind != wasim.Refuse && f.Kind != wasim.MutePings && !f.NewChats {
					f.Customer = customer
				}
				must(t, w.wa.Fault(f))
			}
			if h.status != store.StatusLoggedOut { // what comes for a removed device goes to the phone only
				w.write(customer, desk, 3, 2)
			}
			w.queue(p.m, p.account, customer, 3, 2)
			p.awaitSaid(h)
			if h.mend != nil {
				h.mend(p)
			}
			if h.status == store.StatusLoggedOut {
				w.write(customer, desk, 3, 2)
			}
			numbered(t, w.awaitReceived(p.account, 4), "message", 1)
			answers := w.awaitAnswers(customer, desk, 4)
			numbered(t, bodies(answers), "answer", 1)
			w.awaitStatus(p.account, store.StatusConnected)
			p.examine(h, answers)
		})
	}
}

// awaitSaid waits until the account says what befell it.
func (p *patient) awaitSaid(h harm) {
	p.t.Helper()
	if h.status == "" || h.mend != nil {
		return
	}
	eventually(p.t, "status "+string(h.status)+" with "+h.cause, func() bool { return p.said(h) != "" })
}

// said is the account's sentence on what befell it, or "".
func (p *patient) said(h harm) string {
	p.t.Helper()
	events, err := p.store.StatusHistory(p.t.Context(), p.account, store.Page{Limit: 100})
	must(p.t, err)
	for _, e := range events {
		if e.Status == h.status && strings.Contains(e.Cause, h.cause) {
			return string(e.Status) + ": " + e.Cause
		}
	}
	return ""
}

// examine compares what was said of the fault with what should have been, and
// prints the line of the table.
func (p *patient) examine(h harm, answers []wasim.Message) {
	p.t.Helper()
	sentence := "connected all along"
	if h.status != "" {
		sentence = p.said(h)
	}
	if sentence == "" {
		p.t.Errorf("the account never said %q with %q", h.status, h.cause)
	}
	alerts, err := p.store.Alerts(p.t.Context(), true, store.Page{Limit: 10})
	must(p.t, err)
	if h.alerts != (len(alerts) > 0) {
		p.t.Errorf("%d alerts were raised: %v", len(alerts), alerts)
	}
	for _, a := range alerts {
		if a.ResolvedAt == nil {
			p.t.Errorf("the alert %q is still open", a.Says)
		}
	}
	p.t.Logf("%-34s the customer saw %d answers, in order, once; lost 0; %s", h.name, len(answers), sentence)
}

// greetStranger writes to somebody new, which WhatsApp refuses until it ends the
// restriction; the running chat goes on meanwhile.
func (p *patient) greetStranger() {
	p.queue(p.m, p.account, stranger, 1, 1)
	p.awaitStatus(p.account, store.StatusRestricted)
	p.awaitAnswers(customer, desk, 4)
	if n := len(p.wa.Customer(stranger).Messages(desk)); n != 0 {
		p.t.Errorf("a stranger got %d messages during the restriction", n)
	}
	must(p.t, p.wa.Fault(wasim.Fault{Kind: wasim.Clear}))
	p.endTimelock()
	p.awaitAnswers(stranger, desk, 1)
}

// endTimelock has WhatsApp allow new chats again.
func (p *patient) endTimelock() {
	p.awaitStatus(p.account, store.StatusRestricted)
	must(p.t, p.wa.Fault(wasim.Fault{Kind: wasim.Timelock, Account: desk}))
}

// linkAgain scans a new code with the same phone.
func (p *patient) linkAgain() {
	p.awaitStatus(p.account, store.StatusLoggedOut)
	if p.wa.Phone(desk).Linked() {
		must(p.t, p.wa.Phone(desk).Unlink(p.t.Context()))
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	must(p.t, p.wa.Phone(desk).Scan(ctx, p.code(p.account)))
}

func TestTableOfFaultsIsComplete(t *testing.T) {
	t.Parallel()
	elsewhere := []wasim.FaultKind{wasim.RefuseMedia, wasim.MediaGone, wasim.MediaLost, wasim.KeysAway}
	for _, kind := range wasim.FaultKinds() {
		there := slices.ContainsFunc(harms, func(h harm) bool {
			return slices.ContainsFunc(h.faults, func(f wasim.Fault) bool { return f.Kind == kind })
		})
		if !there && !slices.Contains(elsewhere, kind) {
			t.Errorf("the fault %q is not in the table", kind)
		}
	}
}

package wasim_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow/types/events"
)

func TestTimelockSaysWhenItEnds(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	must(t, control.Fault(t.Context(), wasim.Fault{Kind: wasim.Timelock, Account: desk, Delay: time.Hour}))
	lock := await(d, func(l *events.NotifyAccountReachoutTimelock) bool { return l.IsActive })
	if left := time.Until(lock.TimeEnforcementEnds.Time); left < 59*time.Minute || left > time.Hour {
		t.Errorf("it ends in %v, want an hour", left)
	}
	must(t, control.Fault(t.Context(), wasim.Fault{Kind: wasim.Timelock, Account: desk}))
	await(d, func(l *events.NotifyAccountReachoutTimelock) bool { return !l.IsActive })
}

func TestNackOfNewChatsSparesThoseWhoWrote(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	_, err := s.Customer(alice).Send(t.Context(), desk, "hello")
	must(t, err)
	must(t, s.Fault(wasim.Fault{Kind: wasim.Nack, Account: desk, NewChats: true, For: time.Minute}))
	_, err = d.say(number(alice), "an answer")
	must(t, err)
	for range 2 {
		_, err = d.say(number(bob), "a new chat")
		refused(t, err, "463")
	}
	_, err = s.Customer(bob).Send(t.Context(), desk, "now I have written")
	must(t, err)
	_, err = d.say(number(bob), "an answer")
	must(t, err)
	if got := s.Customer(bob).Messages(desk); len(got) != 2 {
		t.Errorf("there are %+v, want the message and its answer", got)
	}
}

func TestFrozenStreamStaysOpenAndSilentUntilItThaws(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	before := s.Stats()["msg.out"]
	must(t, s.Fault(wasim.Fault{Kind: wasim.Freeze, Account: desk}))
	id, err := s.Customer(alice).Send(t.Context(), desk, "anybody there?")
	must(t, err)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := d.GetBlocklist(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen stream answered: %v", err)
	}
	if !d.IsConnected() || s.Stats()["msg.out"] != before {
		t.Errorf("connected %v, messages written %d, want %d", d.IsConnected(), s.Stats()["msg.out"], before)
	}
	must(t, s.Fault(wasim.Fault{Kind: wasim.Clear}))
	d.message(id)
	_, err = d.GetBlocklist(t.Context())
	must(t, err)
}

func TestFrozenStreamGivesWayToANewLogin(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	must(t, s.Fault(wasim.Fault{Kind: wasim.Freeze, Account: desk, For: time.Hour}))
	id, err := s.Customer(alice).Send(t.Context(), desk, "anybody there?")
	must(t, err)
	d.ResetConnection()
	d.message(id)
	logins, err := wasim.NewControl(s.ControlURL()).Logins(t.Context())
	must(t, err)
	if len(logins) != 2 || logins[1].Before(logins[0]) || time.Since(logins[1]) > time.Minute {
		t.Errorf("the logins were at %v, want two, in order", logins)
	}
}

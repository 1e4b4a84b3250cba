package wasim_test

import (
	"strings"
	"testing"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"
)

// codeFor has a device that is not linked show a code for a number.
func (d *device) codeFor(phone string) string {
	d.t.Helper()
	await(d, func(*events.QR) bool { return true })
	code, err := d.PairPhone(d.t.Context(), phone, false, whatsmeow.PairClientChrome, "Chrome (Linux)")
	must(d.t, err)
	return code
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("wanted %q, got %v", why, err)
	}
}

func TestTypedCodeLinksTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := newDevice(t, s)
	must(t, wasim.NewControl(s.ControlURL()).EnterCode(t.Context(), desk, strings.ToLower(d.codeFor("+1 202 555 0111"))))
	await(d, func(e *events.PairSuccess) bool { return e.ID.User == desk })
	await(d, func(*events.Connected) bool { return true })
	id, err := s.Customer(alice).Send(t.Context(), desk, "hello")
	must(t, err)
	d.message(id)
}

func TestWrongCodeIsToldAndMayBeFollowedByTheRightOne(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	p := s.Phone(desk)
	refused(t, p.EnterCode(t.Context(), "hello"), "eight letters and digits")
	refused(t, p.EnterCode(t.Context(), "ABCD-EFGH"), "no device has asked for a code for this number")
	d := newDevice(t, s)
	first := d.codeFor(desk)
	second := d.codeFor(desk)
	refused(t, s.Phone(alice).EnterCode(t.Context(), second), "no device has asked")
	refused(t, p.EnterCode(t.Context(), first), "not the code that the device shows")
	must(t, p.EnterCode(t.Context(), second))
	refused(t, p.EnterCode(t.Context(), second), "already has a linked device")
}

func TestCodeExpiresWithTheDeviceThatShowsIt(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := newDevice(t, s)
	code := d.codeFor(desk)
	d.Disconnect()
	for s.Stats()["conn.closed"] == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the stream did not end")
		}
	}
	refused(t, s.Phone(desk).EnterCode(t.Context(), code), "has expired")
}

func TestCodesNeedABrowserAndAnInternationalNumber(t *testing.T) {
	t.Parallel()
	d := newDevice(t, start(t, wasim.Options{RootKey: rootKey}))
	await(d, func(*events.QR) bool { return true })
	_, err := d.PairPhone(t.Context(), desk, false, whatsmeow.PairClientChrome, "frontdesk")
	refused(t, err, "400")
	_, err = d.PairPhone(t.Context(), "1234567890123456", false, whatsmeow.PairClientChrome, "Chrome (Linux)")
	refused(t, err, "400")
}

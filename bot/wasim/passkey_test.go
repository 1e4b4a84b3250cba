package wasim_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// scanWithPasskey has the desk's phone, which wants a passkey, scan the device's
// code, and returns how that will end.
func (d *device) scanWithPasskey(s *wasim.Server) <-chan error {
	d.t.Helper()
	control := wasim.NewControl(s.ControlURL())
	must(d.t, control.RequirePasskey(d.t.Context(), desk, true))
	qr := await(d, func(*events.QR) bool { return true }).Codes[0]
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	d.t.Cleanup(cancel)
	go func() { ended <- control.Scan(ctx, desk, qr) }()
	return ended
}

// assertion has the authenticator of a phone sign what the device was asked for.
func (d *device) assertion(s *wasim.Server, phone string) *types.WebAuthnResponse {
	d.t.Helper()
	asked := await(d, func(*events.PairPasskeyRequest) bool { return true })
	options, err := json.Marshal(asked.PublicKey)
	must(d.t, err)
	signed, err := wasim.NewControl(s.ControlURL()).UsePasskey(d.t.Context(), phone, options)
	must(d.t, err)
	var response types.WebAuthnResponse
	must(d.t, json.Unmarshal(signed, &response))
	return &response
}

func TestProvenPasskeyLinksTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := newDevice(t, s)
	ended := d.scanWithPasskey(s)
	must(t, d.SendPasskeyResponse(t.Context(), d.assertion(s, desk)))
	shown := await(d, func(*events.PairPasskeyConfirmation) bool { return true })
	code, err := wasim.NewControl(s.ControlURL()).PasskeyCode(t.Context(), desk)
	must(t, err)
	if shown.Code != code || !shown.SkipHandoffUX {
		t.Errorf("the device shows %s, the phone %s; may be skipped: %v", shown.Code, code, shown.SkipHandoffUX)
	}
	if s.Phone(desk).Linked() {
		t.Error("the device was linked before its owner confirmed")
	}
	must(t, d.SendPasskeyConfirmation(t.Context()))
	must(t, <-ended)
	await(d, func(*events.Connected) bool { return true })
	id, err := s.Customer(alice).Send(t.Context(), desk, "hello")
	must(t, err)
	d.message(id)
}

func TestWrongPasskeyLinksNothing(t *testing.T) {
	t.Parallel()
	for why, spoil := range map[string]func(*types.WebAuthnResponse){
		"not the owner's passkey":   func(r *types.WebAuthnResponse) { r.RawID = []byte("somebody else") },
		"signature is wrong":        func(r *types.WebAuthnResponse) { r.Response.AuthenticatorData[32] ^= 1 },
		"has signed something else": nil, // an answer to an earlier request
	} {
		s := start(t, wasim.Options{RootKey: rootKey})
		first := newDevice(t, s)
		ended := first.scanWithPasskey(s)
		answer, d := first.assertion(s, desk), first
		if spoil == nil {
			first.Disconnect()
			refused(t, <-ended, "disconnected")
			d = newDevice(t, s)
			ended = d.scanWithPasskey(s)
			d.assertion(s, desk)
		} else {
			spoil(answer)
		}
		refused(t, d.SendPasskeyResponse(t.Context(), answer), "401")
		refused(t, <-ended, why)
		if s.Phone(desk).Linked() {
			t.Errorf("%s: the device was linked", why)
		}
	}
}

func TestAuthenticatorSignsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	_, err := s.Phone(desk).UsePasskey([]byte(`{}`))
	refused(t, err, "has no passkey")
	must(t, s.Phone(desk).RequirePasskey(true))
	_, err = s.Phone(desk).UsePasskey([]byte(`{"rpId":"whatsapp.com"}`))
	refused(t, err, "not among those asked for")
	_, err = s.Phone(desk).UsePasskey([]byte(`hello`))
	refused(t, err, "not the options")
}

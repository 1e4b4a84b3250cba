package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"frontdesk/store"
)

// wizard leads a person through linking one account to a phone.
type wizard struct {
	At           string // what its buttons post below
	Idle         bool   // nobody waits for a code any more
	Cancelled    bool   // because somebody said so
	Kept         bool   // the account was linked before
	Drawing      string // of the code to scan, as SVG; "" until there is one
	Seconds      int    // it is good for
	Phone        string // the number that a code to type was asked for
	TypedCode    string // "" until there is one
	TypedSeconds int
	Problem      string    // why the last try did not work
	Passkey      string    // what a browser is to sign, as JSON
	PasskeyCode  string    // the phone shows the same
	Checking     bool      // WhatsApp looks at what people did with the passkey
	SandboxPhone string    // may scan; "" where there is none
	Until        time.Time // a share link is good; zero: it is no share link
}

// says is what has changed, for those who hear the page.
func (v wizard) says() string {
	switch {
	case v.Idle && v.Cancelled:
		return "Cancelled. No code is shown."
	case v.Idle:
		return "The code has expired."
	case v.PasskeyCode != "":
		return "Compare the code with the phone's."
	case v.Passkey != "":
		return "The phone asks for a passkey."
	case v.Checking:
		return "One moment: WhatsApp checks the passkey."
	case v.TypedCode != "":
		return "A code to type is shown."
	case v.Phone == "" && v.Drawing != "":
		return "A code to scan is shown."
	}
	return "Asking WhatsApp for a code…"
}

// live is where its renewal comes from.
func (v wizard) live() string {
	if v.Cancelled {
		return v.At + "/live?cancelled=yes"
	}
	return v.At + "/live"
}

// typedForm is what somebody asked a typed code for, when that was no number.
type typedForm struct{ Phone, Problem string }

// wizardOf reads how far the pairing got. Only opening a page asks for codes (open):
// one that is left alone lets them expire.
func (s *Server) wizardOf(ctx context.Context, a store.Account, at string, open bool) (wizard, error) {
	v := wizard{At: at, Kept: a.PairedAt != nil}
	look := s.store.PairingNow
	if open {
		look = func(ctx context.Context, id int64) (store.Pairing, error) {
			return s.store.WantPairing(ctx, id, pairingWanted)
		}
	}
	p, err := look(ctx, a.ID)
	if errors.Is(err, store.ErrNotFound) {
		v.Idle = true
		return v, nil
	}
	if err != nil {
		return v, err
	}
	return v, v.read(p)
}

func (v *wizard) read(p store.Pairing) error {
	v.Phone, v.Problem = p.Phone, p.Problem
	shown := pairingOf(p)
	v.Passkey, v.PasskeyCode = string(shown.Passkey), shown.PasskeyCode
	v.Checking = p.PasskeyRequest != nil && v.Passkey == "" && v.PasskeyCode == ""
	if p.TypedFresh {
		v.TypedCode, v.TypedSeconds = p.TypedCode, secondsTo(p.TypedExpiresAt)
	}
	if !p.Fresh {
		return nil
	}
	var err error
	v.Drawing, err = draw(p.Code)
	v.Seconds = secondsTo(p.ExpiresAt)
	return err
}

func secondsTo(at time.Time) int { return max(1, int(time.Until(at).Seconds())) }

// pairAct does what a button of the wizard says; known is false for other buttons.
func (s *Server) pairAct(r *http.Request, account int64, action string) (known bool, err error) {
	ctx := r.Context()
	switch action {
	case "code":
		return true, s.newCode(ctx, account)
	case "typed":
		return true, s.wantTyped(ctx, account, r.FormValue("phone"))
	case "cancel":
		return true, s.store.EndPairing(ctx, account)
	case "passkey":
		_, err = s.answerPasskey(ctx, &passkeyRequest{ByID: ByID{account}, Body: json.RawMessage(r.FormValue("credential"))})
		return true, err
	case "same":
		_, err = s.confirmPasskey(ctx, &ByID{account})
		return true, err
	}
	return false, nil
}

// newCode asks for codes again and forgets what did not work before.
func (s *Server) newCode(ctx context.Context, account int64) error {
	p, err := s.codeNow(ctx, account)
	if err != nil || p.Problem == "" {
		return err
	}
	if err := s.store.EndPairing(ctx, account); err != nil {
		return err
	}
	_, err = s.codeNow(ctx, account)
	return err
}

// errBadPhone refuses what is no phone number.
var errBadPhone = problem(http.StatusUnprocessableEntity, "bad_phone", "This is no phone number with its country code, such as +1 202 555 0123.")

// wantTyped asks for a code to type; the page shows it as soon as it is there.
func (s *Server) wantTyped(ctx context.Context, account int64, number string) error {
	to, err := recipient(number)
	if err != nil || to.phone == "" {
		return errBadPhone
	}
	if err := s.pairable(ctx, account); err != nil {
		return err
	}
	_, err = s.store.WantTypedCode(ctx, account, to.phone, pairingWanted)
	return err
}

// afterPairing is where a button of the wizard leads.
func afterPairing(page, action string) string {
	if action == "cancel" {
		return page + "?cancelled=yes"
	}
	return page
}

// linkTimes are how long a link for pairing may be good.
var linkTimes = []struct {
	minutes int
	words   string
}{{60, "1 hour"}, {24 * 60, "24 hours"}, {7 * 24 * 60, "7 days"}}

// sharing is the part of an account's page that lets somebody else pair it.
type sharing struct {
	Show bool
	URL  string // of the link that was just made
	Open []PairingLink
}

// accountShare makes a link and shows it this once.
func (s *Server) accountShare(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	minutes, err := strconv.Atoi(r.FormValue("minutes"))
	if err != nil || minutes < 5 {
		return problem(http.StatusUnprocessableEntity, "invalid", "Choose how long the link is good.")
	}
	l, err := s.sharePairing(r.Context(), id, time.Duration(minutes)*time.Minute)
	if err != nil {
		return err
	}
	return s.showAccount(w, r, http.StatusOK, id, accountExtra{Link: l.URL})
}

// withdraw ends every link of the account.
func (s *Server) withdraw(ctx context.Context, account int64) error {
	_, err := s.endPairingLinks(ctx, &ByID{account})
	return err
}

// sharedPage lets whoever has the link pair its one account.
func (s *Server) sharedPage(w http.ResponseWriter, r *http.Request) error {
	return s.showShared(w, r, http.StatusOK, r.FormValue("cancelled") == "", typedForm{})
}

func (s *Server) showShared(w http.ResponseWriter, r *http.Request, status int, open bool, typed typedForm) error {
	a, v, err := s.shared(r, open)
	c := s.outside(r, "Link a phone")
	if errors.Is(err, store.ErrNotFound) {
		return s.showWith(w, r, http.StatusNotFound, linkGoneView(c))
	}
	if err != nil {
		return err
	}
	return s.showWith(w, r, status, sharedView(c, a, v, typed))
}

func (s *Server) sharedLive(w http.ResponseWriter, r *http.Request) error {
	a, v, err := s.shared(r, false)
	if errors.Is(err, store.ErrNotFound) {
		return s.showWith(w, r, http.StatusNotFound, linkGone())
	}
	if err != nil {
		return err
	}
	return s.show(w, r, sharedLive(a, v, typedForm{}))
}

// sharedAct does what a button of the link's page says.
func (s *Server) sharedAct(w http.ResponseWriter, r *http.Request) error {
	a, _, err := s.linked(r)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Paired() {
		return s.sharedPage(w, r)
	}
	if err != nil {
		return err
	}
	if a.Wanted != store.WantRun {
		return seeOther(w, r, "/pair/"+r.PathValue("secret"))
	}
	action := r.PathValue("action")
	known, err := s.pairAct(r, a.ID, action)
	switch {
	case !known:
		return s.missingPage(w, r)
	case errors.Is(err, errBadPhone):
		return s.showShared(w, r, http.StatusUnprocessableEntity, true, typedForm{r.FormValue("phone"), errBadPhone.Detail})
	case err != nil:
		return err
	}
	return seeOther(w, r, afterPairing("/pair/"+r.PathValue("secret"), action))
}

// linked is the account that the request's link is for, and the link. One ends with the first
// pairing after it was made.
func (s *Server) linked(r *http.Request) (a store.Account, l store.PairingLink, err error) {
	l, err = s.store.PairingLinkOf(r.Context(), r.PathValue("secret"))
	if err != nil {
		return a, l, err
	}
	a, err = s.store.Account(r.Context(), l.AccountID)
	if err == nil && !a.Paired() && a.PairedAt != nil && a.PairedAt.After(l.CreatedAt) {
		return a, l, store.ErrNotFound
	}
	return a, l, err
}

// shared is what the link's page shows. Once the account is linked, its links end.
func (s *Server) shared(r *http.Request, open bool) (store.Account, wizard, error) {
	a, link, err := s.linked(r)
	if err != nil || a.Wanted != store.WantRun {
		return a, wizard{}, err
	}
	if a.Paired() {
		return a, wizard{}, s.store.EndPairingLinks(r.Context(), a.ID)
	}
	v, err := s.wizardOf(r.Context(), a, "/pair/"+r.PathValue("secret"), open)
	v.Cancelled, v.Until = r.FormValue("cancelled") != "", link.ExpiresAt
	return a, v, err
}

// outside is what surrounds a page for people without a sign-in.
func (s *Server) outside(r *http.Request, title string) chrome {
	return chrome{Title: title, Path: r.URL.Path, Version: s.o.Version, Outside: true, Scripts: []string{"passkey.js"}}
}

// sandboxPhone is a number that belongs to nobody, for the sandbox's phone.
func sandboxPhone(account int64) string { return fmt.Sprint("1202555", 1000+account%9000) }

package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"frontdesk/store"
)

// mostLinkTime is the longest that a link for pairing may be good.
const mostLinkTime = 7 * 24 * time.Hour

// Pairing is how far the linking of an account to a phone got.
type Pairing struct {
	Code           string          `json:"code,omitempty" doc:"To scan: WhatsApp, Linked devices, Link a device"`
	ExpiresAt      *time.Time      `json:"expires_at,omitempty" doc:"Of the code; a new one follows"`
	Phone          string          `json:"phone,omitempty" doc:"The number that typed_code is for"`
	TypedCode      string          `json:"typed_code,omitempty" doc:"To type: WhatsApp, Linked devices, Link with phone number"`
	TypedExpiresAt *time.Time      `json:"typed_expires_at,omitempty"`
	Problem        string          `json:"problem,omitempty" doc:"Why the last try did not work"`
	Passkey        json.RawMessage `json:"passkey,omitempty" doc:"The phone asks for a passkey: options for navigator.credentials.get; post what it returns to …/pairing/passkey"`
	PasskeyCode    string          `json:"passkey_code,omitempty" doc:"The phone shows the same; post to …/pairing/confirm when a person has compared them"`
	WantedUntil    time.Time       `json:"wanted_until" doc:"Codes are renewed until then; every look puts it off"`
}

func pairingOf(p store.Pairing) Pairing {
	out := Pairing{Phone: p.Phone, Problem: p.Problem, WantedUntil: p.WantedUntil}
	if p.Fresh {
		out.Code, out.ExpiresAt = p.Code, &p.ExpiresAt
	}
	if p.TypedFresh {
		out.TypedCode, out.TypedExpiresAt = p.TypedCode, &p.TypedExpiresAt
	}
	if p.PasskeyResponse == nil {
		out.Passkey = p.PasskeyRequest
	}
	if !p.PasskeyConfirmed {
		out.PasskeyCode = p.PasskeyCode
	}
	return out
}

func (s *Server) readPairing(ctx context.Context, in *ByID) (*one[Pairing], error) {
	p, err := s.codeNow(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[Pairing]{pairingOf(p)}, nil
}

func (s *Server) cancelPairing(ctx context.Context, in *ByID) (*struct{}, error) {
	if _, err := s.store.Account(ctx, in.ID); err != nil {
		return nil, err
	}
	return nil, s.store.EndPairing(ctx, in.ID)
}

type typedCodeRequest struct {
	ByID

	Body struct {
		Phone string `json:"phone" minLength:"5" maxLength:"30" doc:"The phone's own number with country code" example:"+12025550123"`
	}
}

// TypedCode is a code to type on the phone.
type TypedCode struct {
	Code      string    `json:"code" example:"ABCD-EFGH"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Server) typedCode(ctx context.Context, in *typedCodeRequest) (*one[TypedCode], error) {
	p, err := s.askTypedCode(ctx, in.ID, in.Body.Phone)
	if err != nil {
		return nil, err
	}
	return &one[TypedCode]{TypedCode{p.TypedCode, p.TypedExpiresAt}}, nil
}

// askTypedCode waits for a code to type on the phone with that number.
func (s *Server) askTypedCode(ctx context.Context, account int64, number string) (store.Pairing, error) {
	to, err := recipient(number)
	if err != nil || to.phone == "" {
		return store.Pairing{}, problem(http.StatusUnprocessableEntity, "bad_phone", "This is no phone number with country code, such as +12025550123")
	}
	if err := s.pairable(ctx, account); err != nil {
		return store.Pairing{}, err
	}
	if _, err := s.store.WantTypedCode(ctx, account, to.phone, pairingWanted); err != nil {
		return store.Pairing{}, err
	}
	return s.awaitPairing(ctx, func(ctx context.Context) (store.Pairing, bool, error) {
		p, err := s.store.PairingNow(ctx, account)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return p, false, s.pairable(ctx, account)
		case err == nil && p.Phone != to.phone && p.Problem != "":
			return p, false, problem(http.StatusConflict, "no_code", p.Problem)
		}
		return p, p.TypedFresh && p.Phone == to.phone, err
	})
}

type passkeyRequest struct {
	ByID

	Body json.RawMessage `doc:"The PublicKeyCredential that navigator.credentials.get returned, as JSON"`
}

func (s *Server) answerPasskey(ctx context.Context, in *passkeyRequest) (*struct{}, error) {
	if !json.Valid(in.Body) {
		return nil, problem(http.StatusUnprocessableEntity, "bad_passkey", "This is not the JSON of a PublicKeyCredential")
	}
	return nil, noPairing(s.store.AnswerPasskey(ctx, in.ID, in.Body))
}

func (s *Server) confirmPasskey(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, noPairing(s.store.ConfirmPasskey(ctx, in.ID))
}

func noPairing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return problem(http.StatusConflict, "no_passkey_wanted", "The phone does not ask for a passkey at the moment")
	}
	return err
}

type newPairingLink struct {
	ByID

	Body struct {
		Minutes int `json:"minutes,omitempty" minimum:"5" maximum:"10080" default:"1440" doc:"How long the link is good"`
	}
}

// PairingLink lets somebody pair one account without a sign-in.
type PairingLink struct {
	ID        int64     `json:"id"`
	URL       string    `json:"url,omitempty" doc:"Shown this once"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Server) addPairingLink(ctx context.Context, in *newPairingLink) (*one[PairingLink], error) {
	l, err := s.sharePairing(ctx, in.ID, time.Duration(in.Body.Minutes)*time.Minute)
	if err != nil {
		return nil, err
	}
	return &one[PairingLink]{l}, nil
}

// sharePairing makes a link for an account that is not linked yet.
func (s *Server) sharePairing(ctx context.Context, account int64, valid time.Duration) (PairingLink, error) {
	if err := s.pairable(ctx, account); err != nil {
		return PairingLink{}, err
	}
	l, secret, err := s.store.AddPairingLink(ctx, account, asker(ctx), min(valid, mostLinkTime))
	if err != nil {
		return PairingLink{}, err
	}
	err = s.store.Audit(ctx, asker(ctx), "account.share_pairing", accountSubject(account), map[string]any{"expires_at": l.ExpiresAt})
	return PairingLink{ID: l.ID, URL: s.o.PublicURL + "/pair/" + secret, CreatedBy: l.CreatedBy, ExpiresAt: l.ExpiresAt}, err
}

func (s *Server) listPairingLinks(ctx context.Context, in *ByID) (*list[PairingLink], error) {
	found, err := s.store.PairingLinks(ctx, in.ID)
	items := make([]PairingLink, len(found))
	for i, l := range found {
		items[i] = PairingLink{ID: l.ID, CreatedBy: l.CreatedBy, ExpiresAt: l.ExpiresAt}
	}
	return listOf(items, ""), err
}

func (s *Server) endPairingLinks(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.store.EndPairingLinks(ctx, in.ID); err != nil {
		return nil, err
	}
	return nil, s.store.Audit(ctx, asker(ctx), "account.withdraw_links", accountSubject(in.ID), nil)
}

func accountSubject(id int64) string { return fmt.Sprint("account:", id) }

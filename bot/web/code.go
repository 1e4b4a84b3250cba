package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"frontdesk/store"

	"rsc.io/qr"
)

// Whoever asks for a code keeps the account pairing for this long, and waits at
// most that long for the first one.
const (
	pairingWanted = 3 * time.Minute
	codeWait      = 15 * time.Second
	codeLook      = 500 * time.Millisecond // without hearing of a change
)

type codeRequest struct {
	ByID

	Accept string `header:"Accept" doc:"image/png, image/svg+xml, text/plain or application/json"`
}

type codeResponse struct {
	ContentType string `header:"Content-Type"`
	Refresh     int    `header:"Refresh" doc:"Seconds until the next code"`
	Body        []byte
}

// PairingCode is a code to scan, as JSON.
type PairingCode struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
	Renewals  int       `json:"renewals" doc:"How many codes there were"`
}

// accountCode is the code to scan at this moment. It renews itself: ask again
// when it has expired.
func (s *Server) accountCode(ctx context.Context, in *codeRequest) (*codeResponse, error) {
	p, err := s.code(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	kind, body, err := render(p, in.Accept)
	if err != nil {
		return nil, err
	}
	return &codeResponse{ContentType: kind, Refresh: max(1, int(time.Until(p.ExpiresAt).Seconds())), Body: body}, nil
}

// code waits until the account's owner shows a code.
func (s *Server) code(ctx context.Context, account int64) (store.Pairing, error) {
	return s.awaitPairing(ctx, func(ctx context.Context) (store.Pairing, bool, error) {
		p, err := s.codeNow(ctx, account)
		return p, p.Fresh, err
	})
}

// awaitPairing looks until there is what the account's owner was asked for.
func (s *Server) awaitPairing(ctx context.Context, look func(context.Context) (p store.Pairing, there bool, err error)) (store.Pairing, error) {
	ctx, cancel := context.WithTimeout(ctx, codeWait)
	defer cancel()
	for {
		changed := s.accounts.changed()
		p, there, err := look(ctx)
		if err != nil || there {
			return p, err
		}
		select {
		case <-changed:
		case <-time.After(codeLook):
		case <-ctx.Done():
			return p, problem(http.StatusServiceUnavailable, "no_code_yet", "There is no code yet: WhatsApp may be out of reach. The account's cause says more; try again in a moment")
		case <-s.waiting.Done():
			return p, problem(http.StatusServiceUnavailable, "stopping", "frontdesk is stopping; try again in a moment")
		}
	}
}

// codeNow asks for codes and returns that of this moment, if there is one.
func (s *Server) codeNow(ctx context.Context, account int64) (store.Pairing, error) {
	if err := s.pairable(ctx, account); err != nil {
		return store.Pairing{}, err
	}
	return s.store.WantPairing(ctx, account, pairingWanted)
}

// pairable says why an account cannot be linked now; one that was stopped runs
// again.
func (s *Server) pairable(ctx context.Context, account int64) error {
	a, err := s.store.Account(ctx, account)
	if err != nil {
		return err
	}
	if a.Paired() {
		return problem(http.StatusConflict, "already_paired", "This account is linked to a phone; log it out before linking another")
	}
	if a.Wanted != store.WantRun {
		return s.store.Want(ctx, account, store.WantRun, s.o.AccountsPerProcess)
	}
	return nil
}

// render writes a code in the first form of accept that it knows, else as PNG.
func render(p store.Pairing, accept string) (kind string, body []byte, err error) {
	for form := range strings.SplitSeq(accept, ",") {
		form, _, _ = strings.Cut(form, ";")
		switch strings.TrimSpace(form) {
		case "text/plain":
			return "text/plain; charset=utf-8", []byte(p.Code + "\n"), nil
		case "application/json":
			body, err = json.Marshal(PairingCode{Code: p.Code, ExpiresAt: p.ExpiresAt, Renewals: p.Renewals})
			return "application/json", body, err
		case "image/svg+xml":
			drawn, err := draw(p.Code)
			return "image/svg+xml", []byte(drawn), err
		}
	}
	picture, err := qr.Encode(p.Code, qr.L)
	if err != nil {
		return "", nil, fmt.Errorf("draw the code: %w", err)
	}
	return "image/png", picture.PNG(), nil
}

// draw is a code as SVG.
func draw(code string) (string, error) {
	picture, err := qr.Encode(code, qr.L)
	if err != nil {
		return "", fmt.Errorf("draw the code: %w", err)
	}
	return drawing(picture), nil
}

// quiet is the white border that scanners need, in modules.
const quiet = 4

// drawing is a code as SVG: white paper and one black path.
func drawing(c *qr.Code) string {
	var path strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			begin := x
			for x < c.Size && c.Black(x, y) {
				x++
			}
			if x > begin {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", begin+quiet, y+quiet, x-begin, x-begin)
			}
		}
	}
	size := c.Size + 2*quiet
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges" role="img" aria-label="Code to scan with WhatsApp">`+
		`<path fill="#fff" d="M0 0h%dv%dH0z"/><path fill="#000" d="%s"/></svg>`, size, size, size, size, path.String())
}

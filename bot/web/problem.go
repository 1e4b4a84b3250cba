package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"frontdesk/store"

	"github.com/danielgtaylor/huma/v2"
)

const problemType = "application/problem+json"

// Problem is an error of the API (RFC 9457). Code is stable and meant for
// programs, Detail a sentence for people.
type Problem struct { //nolint:errname // RFC 9457 calls it a problem
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      string   `json:"code" doc:"A stable word for programs"`
	Detail    string   `json:"detail" doc:"What is wrong and what to do"`
	Errors    []string `json:"errors,omitempty" doc:"Each field that is wrong"`
	Reference string   `json:"reference,omitempty" doc:"Names the matching line of the log"`

	retryAfter time.Duration // 0: nothing is said of it
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders is for huma: when to try again, if that is known.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

func (p *Problem) encoded() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds only strings and a number
	}
	return append(text, '\n')
}

func problem(status int, code, detail string, errs ...string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Errors: errs}
}

func internal(reference string) *Problem {
	p := problem(http.StatusInternalServerError, "internal", "Something went wrong on our side; nothing was lost. The log has more under this reference")
	p.Reference = reference
	return p
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.encoded())
}

// problemOf translates errors of the inside for people outside. What it does not
// know is logged under a reference and never shown.
func (s *Server) problemOf(ctx context.Context, err error) *Problem {
	var (
		known   *Problem
		limit   *store.LimitError
		invalid *store.InvalidError
		refused *store.RefusedError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &limit):
		return problem(http.StatusConflict, "instance_limit", limit.Error())
	case errors.As(err, &invalid):
		return problem(http.StatusUnprocessableEntity, "invalid", invalid.Problem, invalid.Field+": "+invalid.Problem)
	case errors.As(err, &refused):
		p := problem(http.StatusTooManyRequests, refused.Code, refused.Says)
		p.retryAfter = refused.After
		if refused.After == 0 {
			p.Status, p.Title = http.StatusConflict, http.StatusText(http.StatusConflict) // time changes nothing
		}
		return p
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "not_found", "There is nothing with this id")
	case errors.Is(err, store.ErrBadProxy):
		return problem(http.StatusUnprocessableEntity, "bad_proxy", err.Error())
	case errors.Is(err, store.ErrNameTaken), errors.Is(err, store.ErrToolExists), errors.Is(err, store.ErrQuickReplyExists):
		return problem(http.StatusConflict, "name_taken", err.Error())
	case errors.Is(err, store.ErrSubscriptionOff):
		return problem(http.StatusConflict, "subscription_off", "This subscription is switched off; switch it on first")
	case errors.Is(err, store.ErrTooManySubscriptions):
		return problem(http.StatusConflict, "too_many_subscriptions", err.Error())
	case errors.Is(err, store.ErrNoSecret):
		return problem(http.StatusUnprocessableEntity, "no_secret", "\"secret\" is missing: "+err.Error())
	case errors.Is(err, store.ErrKeyReused):
		return problem(http.StatusUnprocessableEntity, "idempotency_key_reused", err.Error())
	case errors.Is(err, store.ErrNoQuoted):
		return problem(http.StatusUnprocessableEntity, "no_such_message", err.Error())
	case errors.Is(err, store.ErrTooManySources):
		return problem(http.StatusConflict, "too_many_documents", err.Error())
	case errors.Is(err, store.ErrDecided):
		return problem(http.StatusConflict, "draft_decided", "This draft does not wait any more: somebody has decided, people have answered, or the customer has written again; read the conversation")
	case errors.Is(err, store.ErrTooLate):
		return problem(http.StatusConflict, "too_late", err.Error())
	case errors.Is(err, store.ErrNoKey):
		return problem(http.StatusConflict, "no_secret_key", err.Error())
	}
	reference := newReference()
	s.log.ErrorContext(ctx, "Request failed", slog.String("reference", reference), slog.Any("error", err))
	return internal(reference)
}

func newReference() string { return rand.Text()[:10] }

// Huma's own refusals, such as of a body that does not fit its schema, read like ours.
func init() {
	huma.NewError = humaProblem
	huma.NewErrorWithContext = func(_ huma.Context, status int, message string, errs ...error) huma.StatusError {
		return humaProblem(status, message, errs...)
	}
}

func humaProblem(status int, message string, errs ...error) huma.StatusError {
	var details []string
	for _, err := range errs {
		if err != nil && status < http.StatusInternalServerError {
			details = append(details, err.Error())
		}
	}
	code := map[int]string{
		http.StatusUnprocessableEntity: "invalid", http.StatusBadRequest: "bad_request", http.StatusNotFound: "not_found",
		http.StatusRequestEntityTooLarge: "too_large", http.StatusUnsupportedMediaType: "unsupported_media_type",
		http.StatusNotAcceptable: "not_acceptable", http.StatusRequestTimeout: "too_slow",
	}[status]
	if code == "" {
		code = "refused"
	}
	if status >= http.StatusInternalServerError {
		return internal(newReference())
	}
	return problem(status, code, message, details...)
}

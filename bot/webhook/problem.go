package webhook

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

const problemType = "application/problem+json"

// problem is a refusal (RFC 9457). Code is stable and meant for programs, Detail a
// sentence for people, which Err repeats for clients that look for an error.
type problem struct {
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      string   `json:"code"`
	Detail    string   `json:"detail"`
	Errors    []string `json:"errors,omitempty"`
	Reference string   `json:"reference,omitempty"` // names the matching line of the log
	RequestID string   `json:"request_id"`
	Err       string   `json:"error"`

	retryAfter time.Duration // 0: nothing is said of it
	challenge  string        // WWW-Authenticate
	allow      string        // Allow
}

// Error is the detail.
func (p *problem) Error() string { return p.Detail }

func refuse(status int, code, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Err: detail}
}

func unauthorized(detail string) *problem {
	return refuse(http.StatusUnauthorized, "unauthorized", detail)
}

// later is a refusal that time mends.
func later(status int, after time.Duration, code, detail string) *problem {
	p := refuse(status, code, detail)
	p.retryAfter = after
	return p
}

// write sends the problem as the answer to a request.
func (p *problem) write(w http.ResponseWriter, request string) {
	p.RequestID = request
	h := w.Header()
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(wholeSeconds(p.retryAfter)))
	}
	if p.challenge != "" {
		h.Set("WWW-Authenticate", p.challenge)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	writeJSON(w, p.Status, problemType, p)
}

func writeJSON(w http.ResponseWriter, status int, kind string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings, numbers, and JSON that the desk has checked
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// wholeSeconds rounds up, so that whoever waits so long has waited long enough.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

package live

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is an answer to a request that is refused, in the shape of the API's errors.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`

	retryAfter int // seconds; 0: nothing is said of it
}

var (
	errClosing   = refusal(http.StatusServiceUnavailable, "shutting_down", "The service restarts; connect again in a moment", 2)
	errNoPlace   = refusal(http.StatusServiceUnavailable, "too_many_sockets", "As many clients as there is room for follow events; connect again later", 5)
	errUnknown   = refusal(http.StatusNotFound, "unknown_room", "There is no such room", 0)
	errNoRoom    = refusal(http.StatusBadRequest, "no_room", "Name what you want to follow: ?room=execution:7, flow:7, account:7, conversation:7 or all", 0)
	errManyRooms = refusal(http.StatusBadRequest, "too_many_rooms", "One client follows at most 128 rooms", 0)
	errAway      = refusal(http.StatusServiceUnavailable, "unavailable", "The events cannot be read at the moment; try again", 2)
)

func refusal(status int, code, detail string, retryAfter int) *problem {
	return &problem{http.StatusText(status), status, code, detail, retryAfter}
}

// Error is the detail.
func (p *problem) Error() string { return p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // who has left needs no answer
}

// frame tells a client that is connected.
func (p *problem) frame(room string) *frame {
	return notice{Type: "error", Code: p.Code, Message: p.Detail, Room: room}.frame()
}

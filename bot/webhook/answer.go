package webhook

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reply is what a caller hears of an execution.
type reply struct {
	Execution int64  `json:"execution_id"`
	Status    string `json:"status"`
	Queue     *queue `json:"queue,omitempty"`
	Test      bool   `json:"test"`
	Failure   string `json:"failure,omitempty"`
	Links     links  `json:"links"`
}

type queue struct {
	Position int `json:"position"`
}

type links struct {
	Self   string `json:"self"`
	Events string `json:"events"`
	Cancel string `json:"cancel"`
}

func replyOf(r Receipt) reply {
	self := "/api/v1/executions/" + strconv.FormatInt(r.Execution, 10)
	p := reply{Execution: r.Execution, Status: r.Status, Test: r.Test, Failure: r.Failure, Links: links{self, self + "/events", self + "/cancel"}}
	if !r.Ended {
		p.Queue = &queue{r.Position}
	}
	return p
}

// answer waits for the result as long as the caller wants, and says what came of the
// delivery.
func (v *visit) answer(ctx context.Context, r Receipt) (result string, err error) {
	wait, applied := v.patience()
	if r.Replayed {
		v.w.Header().Set("Idempotency-Replayed", "true")
		return v.answerAgain(r, wait > 0)
	}
	if wait > 0 && !r.Ended {
		r = v.await(ctx, r, wait)
	}
	if applied != "" {
		v.w.Header().Set("Preference-Applied", applied)
	}
	if wait > 0 && r.Ended {
		v.result(r)
		return "answered", nil
	}
	v.say(http.StatusAccepted, r)
	return "accepted", nil
}

// answerAgain answers a delivery that came before.
func (v *visit) answerAgain(r Receipt, sync bool) (string, error) {
	switch {
	case sync && !r.Ended:
		return "", later(http.StatusConflict, time.Second, "in_flight", "The same delivery is being worked on; its result can be asked for again in a moment")
	case sync:
		v.result(r)
	default:
		v.say(http.StatusOK, r)
	}
	return "replayed", nil
}

// patience is how long the caller waits, and which preference (RFC 7240) that honours.
func (v *visit) patience() (wait time.Duration, applied string) {
	most := v.i.limits.Wait
	if v.target.Sync {
		wait = most
	}
	if v.test != "" {
		most = v.i.limits.TestWait
		wait = most
	}
	for one := range strings.SplitSeq(strings.Join(v.r.Header.Values("Prefer"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		switch {
		case strings.EqualFold(strings.TrimSpace(name), "respond-async"):
			wait, applied = 0, "respond-async"
		case strings.EqualFold(strings.TrimSpace(name), "wait") && err == nil && n >= 0:
			wait = min(time.Duration(min(n, 3600))*time.Second, most)
			return wait, "wait=" + strconv.Itoa(int(wait.Seconds()))
		}
	}
	return wait, applied
}

// await is the execution when it ends, or as it was when the wait did. It goes on
// either way.
func (v *visit) await(ctx context.Context, r Receipt, wait time.Duration) Receipt {
	if !v.i.waiters.take(1) {
		return r
	}
	defer v.i.waiters.give(1)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(v.i.waiting, cancel)() //nolint:contextcheck // Close ends the wait, beside the caller
	if now, err := v.i.desk.Await(ctx, r.Execution); err == nil {
		return now
	}
	return r
}

// result is what an execution came to: the answer of its respond step, if it has one.
func (v *visit) result(r Receipt) {
	if r.Answer == nil || r.Answer.Status < 200 || r.Answer.Status > 499 {
		v.say(http.StatusOK, r)
		return
	}
	v.mayWrite()
	switch r.Answer.Status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		v.w.WriteHeader(r.Answer.Status)
		return
	}
	v.w.Header().Set("Content-Type", "application/json")
	v.w.WriteHeader(r.Answer.Status)
	_, _ = v.w.Write(append(slices.Clone(r.Answer.Body), '\n'))
}

// say tells of an execution and where to see more of it.
func (v *visit) say(status int, r Receipt) {
	v.mayWrite()
	p := replyOf(r)
	v.w.Header().Set("Location", p.Links.Self)
	writeJSON(v.w, status, "application/json", p)
}

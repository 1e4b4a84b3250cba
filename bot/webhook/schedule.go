package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// schedule is how long each try waits for the one before it to have failed (Standard
// Webhooks): ten tries in three days. The last one's failure makes a dead letter.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// jitter is the part of a wait that chance may add to it, so that what failed together
// does not come back together. A wait is never shorter than the schedule says.
const jitter = 0.1

// longestRest is the most that we believe of a Retry-After.
const longestRest = time.Hour

// waitAfter is how long to wait after a delivery has failed so many times, at least as
// long as its receiver asked for. False: it is tried no more.
func waitAfter(failures int, asked time.Duration) (time.Duration, bool) {
	if failures >= len(schedule) {
		return 0, false
	}
	wait := schedule[failures]
	wait += time.Duration(rand.Float64() * jitter * float64(wait))
	return max(wait, asked), true
}

// restAsked is how long a receiver wants to be left alone, or 0: 429 and 503 may say so.
func restAsked(status int, h http.Header, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	said := strings.TrimSpace(h.Get("Retry-After"))
	rest := time.Duration(0)
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		rest = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(said); err == nil {
		rest = at.Sub(now)
	}
	return min(max(rest, 0), longestRest)
}

package providers

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter is the most that we believe.
const longestRetryAfter = 15 * time.Minute

// retryDelay is where Gemini says when to come back: "retryDelay": "34s".
var retryDelay = regexp.MustCompile(`(?i)"retryDelay"\s*:\s*"([0-9.]+m?s)"`)

// retryAfter is how long a service asks not to be asked again, or 0. The
// services have six ways to say it.
func retryAfter(h http.Header, body []byte, now time.Time) time.Duration {
	for _, said := range []time.Duration{
		number(h.Get("retry-after-ms"), time.Millisecond),
		number(h.Get("x-ms-retry-after-ms"), time.Millisecond),
		number(h.Get("retry-after"), time.Second),
		date(h.Get("retry-after"), now),
		inBody(body),
		reset(h, now),
	} {
		if said > 0 {
			return min(said, longestRetryAfter)
		}
	}
	return 0
}

func number(s string, unit time.Duration) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || n <= 0 || n > 1e9 {
		return 0
	}
	return time.Duration(n * float64(unit))
}

func date(s string, now time.Time) time.Duration {
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return at.Sub(now)
}

func inBody(body []byte) time.Duration {
	found := retryDelay.FindSubmatch(body)
	if found == nil {
		return 0
	}
	d, _ := time.ParseDuration(string(found[1]))
	return d
}

// reset reads x-ratelimit-reset-*, of those budgets that are used up: the
// others also say when they will be full again.
func reset(h http.Header, now time.Time) time.Duration {
	var longest time.Duration
	for _, budget := range []string{"", "-requests", "-tokens"} {
		if left := h.Get("x-ratelimit-remaining" + budget); left == "0" {
			longest = max(longest, moment(h.Get("x-ratelimit-reset"+budget), now))
		}
	}
	return longest
}

// moment is a duration such as 6m0s, seconds, or a Unix time in seconds or
// milliseconds.
func moment(s string, now time.Time) time.Duration {
	if d, err := time.ParseDuration(s); err == nil {
		return d
	}
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return 0
	case n > 1e12:
		return time.UnixMilli(int64(n)).Sub(now)
	case n > 1e9:
		return time.Unix(int64(n), 0).Sub(now)
	}
	return time.Duration(n * float64(time.Second))
}

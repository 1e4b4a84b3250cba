package webhook

import (
	"net/http"
	"testing"
	"time"
)

func TestWaitsAreNeverShorterAndATenthLongerAtMost(t *testing.T) {
	for failures := 1; failures < len(schedule); failures++ {
		for range 100 {
			wait, more := waitAfter(failures, 0)
			if least := schedule[failures]; !more || wait < least || wait > least+least/10 {
				t.Fatalf("after %d failures: %v, %v; want %v and up to a tenth more", failures, wait, more, least)
			}
		}
	}
	if _, more := waitAfter(len(schedule), 0); more {
		t.Error("there is an eleventh try")
	}
	if wait, _ := waitAfter(1, time.Minute); wait != time.Minute {
		t.Errorf("a receiver asked for a minute and got %v", wait)
	}
	if wait, _ := waitAfter(2, time.Second); wait < 5*time.Minute {
		t.Errorf("a receiver shortened the wait to %v", wait)
	}
}

func TestRetryAfterIsBelievedWithinBounds(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		said   string
		want   time.Duration
	}{
		{503, "120", 2 * time.Minute},
		{429, " 7 ", 7 * time.Second},
		{429, "Sun, 01 Mar 2026 12:10:00 GMT", 10 * time.Minute},
		{429, "Sun, 01 Mar 2026 11:10:00 GMT", 0},
		{503, "86400", time.Hour},
		{503, "99999999999999999999", 0},
		{503, "-5", 0},
		{503, "soon", 0},
		{500, "120", 0},
	} {
		if got := restAsked(c.status, http.Header{"Retry-After": {c.said}}, now); got != c.want {
			t.Errorf("%d with %q: %v, want %v", c.status, c.said, got, c.want)
		}
	}
}

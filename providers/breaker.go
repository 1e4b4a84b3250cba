package providers

import (
	"math/rand/v2"
	"time"
)

// Figures of the breaker (providers.md).
const (
	failuresInARow = 3
	failureWindow  = time.Minute
	fewestInWindow = 5
	restFirst      = 30 * time.Second
	restLongest    = 5 * time.Minute
)

// breaker keeps a failing provider from being asked. It opens after three
// failures in a row or when half of at least five calls in a minute failed,
// rests, then lets exactly one call through to find out. Its owner guards it.
type breaker struct {
	open     bool
	probing  bool // the one call of a half-open breaker is under way
	until    time.Time
	rest     time.Duration // last one, doubled by the next
	inARow   int
	outcomes []outcome // of the last minute, at most 64
}

type outcome struct {
	at     time.Time
	failed bool
}

// ready says whether a call may be made now.
func (b *breaker) ready(now time.Time) bool {
	return !b.open || !b.probing && !now.Before(b.until)
}

// acquire admits a call. With force it also admits one before the rest is over,
// for when nobody else is left; never two at once while open.
func (b *breaker) acquire(now time.Time, force bool) bool {
	if !b.open {
		return true
	}
	if b.probing || !force && now.Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// release ends a call that says nothing about the provider's health.
func (b *breaker) release() { b.probing = false }

func (b *breaker) succeeded(now time.Time) {
	if b.open {
		*b = breaker{}
	}
	b.inARow = 0
	b.note(now, false)
}

// failed counts a failure; the rest that may follow is never shorter than floor.
func (b *breaker) failed(now time.Time, floor time.Duration) {
	b.inARow++
	b.note(now, true)
	switch {
	case b.probing: // the probe failed
	case b.open: // a call from before it opened
		return
	case b.inARow < failuresInARow && !b.mostlyFailing():
		return
	}
	b.rest = min(max(2*b.rest, restFirst), restLongest)
	jittered := time.Duration(float64(b.rest) * (0.8 + 0.4*rand.Float64()))
	b.open, b.probing = true, false
	b.until = now.Add(max(jittered, floor))
}

func (b *breaker) note(now time.Time, failed bool) {
	for len(b.outcomes) > 0 && (now.Sub(b.outcomes[0].at) > failureWindow || len(b.outcomes) >= 64) {
		b.outcomes = b.outcomes[1:]
	}
	b.outcomes = append(b.outcomes, outcome{now, failed})
}

func (b *breaker) mostlyFailing() bool {
	failures := 0
	for _, o := range b.outcomes {
		if o.failed {
			failures++
		}
	}
	return len(b.outcomes) >= fewestInWindow && 2*failures >= len(b.outcomes)
}

// word is the state in a word, for pages and gauges.
func (b *breaker) word(now time.Time) string {
	switch {
	case !b.open:
		return "closed"
	case b.probing || !now.Before(b.until):
		return "half-open"
	}
	return "open"
}

package providers

import (
	"slices"
	"sync"
	"time"

	"frontdesk/store"

	"github.com/sashabaranov/go-openai"
	"golang.org/x/time/rate"
)

// candidate is a provider as loaded, ready to be asked. It is never changed; a reload
// makes new ones, and turns under way keep theirs.
type candidate struct {
	store.Provider
	key    string
	client *openai.Client
	flaw   string // why it cannot be asked at all; "" when it can
	state  *state
}

// Figures of a provider's state in this process.
const (
	coolFirst   = 30 * time.Second // after a 429 that says no time
	coolLongest = 5 * time.Minute
	tookKept    = 128 // latencies kept for p50 and p95
)

// state is what this process has learnt about a provider. It outlives reloads
// until address, key or model change.
type state struct {
	mu          sync.Mutex
	breaker     breaker
	coolUntil   time.Time
	cooled      time.Duration // last cooling that the service gave no time for
	pausedUntil time.Time
	pausedWhy   string
	unpaused    bool
	without     []string // parameters it does not know
	last        Class
	lastAt      time.Time
	lastErr     string
	counts      map[Class]int64 // attempts by how they ended
	seconds     float64         // that all of them took
	took        []time.Duration // ring of tookKept, newest at took[calls % tookKept]
	calls       int
	spent       bool // today's quota: said so in the log
	nearlySpent bool
	usageDay    time.Time
	fill        float64
	slots       chan struct{} // nil: any number at once
	pace        *rate.Limiter // nil: any number a minute
}

// newState gives room for the calls that p allows to this one of n processes.
func newState(p store.Provider, processes int) *state {
	s := &state{}
	s.allow(p, processes)
	return s
}

// allow sets the limits per minute and at once; calls under way keep their slot
// in the old ones.
func (s *state) allow(p store.Provider, processes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := share(p.Concurrency, processes); at != cap(s.slots) {
		s.slots = nil
		if at > 0 {
			s.slots = make(chan struct{}, at)
		}
	}
	perMinute := share(p.RequestsPerMinute, processes)
	switch {
	case perMinute == 0:
		s.pace = nil
	case s.pace == nil || s.pace.Burst() != perMinute:
		s.pace = rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
	}
}

func share(limit *int, processes int) int {
	if limit == nil {
		return 0
	}
	return max(1, *limit/max(1, processes))
}

// ready says whether the provider may be asked now, as far as this process knows.
func (s *state) ready(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breaker.ready(now) && !now.Before(s.coolUntil) && !now.Before(s.pausedUntil)
}

// rests says until when the provider is not to be asked, and whether that may
// be ignored when nobody else is left: a breaker only guesses, a Retry-After is
// a wish of the service.
func (s *state) rests(now time.Time) (until time.Time, guess bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.coolUntil) {
		return s.coolUntil, false
	}
	if !s.breaker.ready(now) {
		return s.breaker.until, true
	}
	return now, false
}

// follow takes over the pause that the database knows of. Its end is reckoned
// on our clock from what was left when the row was read.
func (s *state) follow(p store.Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pausedUntil, s.pausedWhy = time.Time{}, ""
	if p.DisabledFor > 0 { // an end of now would pause it for turns that began a moment ago
		s.pausedUntil, s.pausedWhy = time.Now().Add(p.DisabledFor), p.AutoDisabledReason
	}
}

// unpause says, once, that a pause was proved needless.
func (s *state) unpause() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	once := !s.unpaused
	s.unpaused = true
	return once
}

func (s *state) pausedBecause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pausedWhy
}

func (s *state) paused(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.pausedUntil)
}

// admit takes a place for one call, or says why there is none.
func (s *state) admit(now time.Time, force bool) (give func(), why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.breaker.acquire(now, force) {
		return nil, "rests after failures"
	}
	slots := s.slots
	if slots != nil {
		select {
		case slots <- struct{}{}:
		default:
			s.breaker.release()
			return nil, "has all its places taken"
		}
	}
	give = func() {
		if slots != nil {
			<-slots
		}
	}
	if s.pace != nil && !s.pace.AllowN(now, 1) {
		s.breaker.release()
		give()
		return nil, "has used its requests of this minute"
	}
	return give, ""
}

// release ends an admitted call that was never made.
func (s *state) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaker.release()
}

func (s *state) succeeded(now time.Time, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaker.succeeded(now)
	s.cooled = 0
	s.last, s.lastAt, s.lastErr = ClassOK, now, ""
	if len(s.took) < tookKept {
		s.took = append(s.took, took)
	} else {
		s.took[s.calls%tookKept] = took
	}
	s.calls++
}

// count adds an attempt to the figures for people.
func (s *state) count(c Class, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[Class]int64{}
	}
	s.counts[c]++
	s.seconds += took.Seconds()
}

// failed draws the consequences of a class. after is the service's own wish.
func (s *state) failed(now time.Time, c Class, sentence string, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := rules[c]
	if r.harm != harmless {
		s.last, s.lastAt, s.lastErr = c, now, sentence
	}
	switch r.harm {
	case trip:
		s.breaker.failed(now, after)
		s.coolUntil = later(s.coolUntil, now.Add(after))
		return
	case cool:
		if after == 0 {
			s.cooled = min(max(2*s.cooled, coolFirst), coolLongest)
			after = s.cooled
		}
		s.coolUntil = now.Add(after) // the newest value counts
	case pause:
		s.pausedUntil, s.pausedWhy = later(s.pausedUntil, now.Add(r.first)), sentence
	}
	s.breaker.release()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// leaveOut remembers a parameter the provider does not know; false when it was
// left out already.
func (s *state) leaveOut(parameter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if parameter == "" || slices.Contains(s.without, parameter) {
		return false
	}
	s.without = append(slices.Clone(s.without), parameter)
	return true
}

// leftOut are the parameters not to send.
func (s *state) leftOut() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.without
}

// percentile is the latency that share of the last calls did not pass.
func (s *state) percentile(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s.took))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)-1)+0.5)]
}

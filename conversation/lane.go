package conversation

import (
	"container/heap"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	mostLanes = 20_000    // remembered at once; the rows of others wait for a sweep
	idleTime  = time.Hour // longest sleep of the scheduler
)

// phase is what a lane does now.
type phase int

const (
	waiting phase = iota // for its time
	due                  // for a place
	active               // a turn runs
)

// lane is one conversation that has something to do. It exists only as long as
// that; its row remembers everything.
type lane struct {
	account      int64
	conversation int64
	phase        phase
	at           time.Time // when to take the turn
	since        time.Time // when its present phase began
	again        time.Time // woken meanwhile: when to take another turn; zero: not
	index        int       // in the heap, while waiting
}

// lanes are all conversations with something to do, and who may run.
type lanes struct {
	limit   int
	changed chan struct{} // something may be startable

	mu        sync.Mutex
	all       map[int64]*lane // by conversation; guarded by mu
	waiting   timetable       // guarded by mu
	due       []*lane         // in order; guarded by mu
	active    int             // guarded by mu
	abandoned int             // guarded by mu
	whenIdle  chan struct{}   // closed once nothing is active; nil: nobody waits; guarded by mu
	finished  int64           // guarded by mu
	took      time.Duration   // guarded by mu
	overhead  time.Duration   // guarded by mu
}

func (s *lanes) init(limit int) {
	s.limit, s.changed, s.all = limit, make(chan struct{}, 1), map[int64]*lane{}
}

// wake puts a conversation's next turn at the given time. The newest word counts:
// every message may put the turn off (debounce).
func (s *lanes) wake(account, conversation int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.all[conversation]; l != nil {
		s.move(l, at)
		return
	}
	s.add(account, conversation, at)
}

// find makes sure that a conversation has a lane; one that is known stays as it is.
func (s *lanes) find(account, conversation int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[conversation] == nil {
		s.add(account, conversation, at)
	}
}

func (s *lanes) add(account, conversation int64, at time.Time) {
	if len(s.all) >= mostLanes {
		return // the sweep comes back to its row
	}
	l := &lane{account: account, conversation: conversation}
	s.all[conversation] = l
	s.wait(l, at)
}

// move puts a known lane's turn at another time.
func (s *lanes) move(l *lane, at time.Time) {
	switch l.phase {
	case waiting:
		l.at = at
		heap.Fix(&s.waiting, l.index)
		s.poke()
	case active:
		l.again = at
	case due: // its turn reads everything
	}
}

func (s *lanes) wait(l *lane, at time.Time) {
	l.phase, l.at, l.since, l.again = waiting, at, time.Now(), time.Time{}
	heap.Push(&s.waiting, l)
	s.poke()
}

// take makes lanes due whose time has come, and returns those that may run now.
// deferred hears of each that newly has to wait for a place.
func (s *lanes) take(now time.Time, deferred func(*lane, Stats, int)) []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && !s.waiting[0].at.After(now) {
		l := heap.Pop(&s.waiting).(*lane) //nolint:forcetypeassert // the timetable holds nothing else
		l.phase, l.since = due, now
		s.due = append(s.due, l)
		if s.active+len(s.due) > s.limit {
			deferred(l, s.statsLocked(), s.limit)
		}
	}
	n := min(len(s.due), s.limit-s.active)
	if s.abandoned >= mostAbandoned {
		n = 0
	}
	started := slices.Clone(s.due[:n])
	s.due = slices.Delete(s.due, 0, n)
	for _, l := range started {
		l.phase, l.since = active, now
	}
	s.active += n
	return started
}

// next is how long nothing becomes due by itself.
func (s *lanes) next(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return idleTime
	}
	return max(0, s.waiting[0].at.Sub(now))
}

// done ends a lane's turn. The lane goes on if a message woke it meanwhile, or
// at again, unless that is zero.
func (s *lanes) done(l *lane, again time.Time, took, overhead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.finished++
	s.took += took
	s.overhead += overhead
	if !l.again.IsZero() {
		again = l.again // should that be too early, the turn sees it
	}
	if again.IsZero() {
		delete(s.all, l.conversation)
	} else {
		s.wait(l, again)
	}
	if s.active == 0 && s.whenIdle != nil {
		close(s.whenIdle)
		s.whenIdle = nil
	}
	s.poke()
}

// abandon counts turns that hang beyond their end.
func (s *lanes) abandon(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned += n
	s.poke()
}

// idle is closed once no turn is under way; nothing may be started any more.
func (s *lanes) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	if s.active == 0 {
		close(c)
	} else {
		s.whenIdle = c
	}
	return c
}

func (s *lanes) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statsLocked()
}

func (s *lanes) statsLocked() Stats {
	return Stats{
		Active: s.active, Deferred: max(0, len(s.due)-max(0, s.limit-s.active)), Abandoned: s.abandoned, Waiting: len(s.waiting),
		Finished: s.finished, Took: s.took, Overhead: s.overhead,
	}
}

// oldest are the ages of the n turns that are due or under way for longest.
func (s *lanes) oldest(n int, now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var since []time.Time
	for _, l := range s.all {
		if l.phase != waiting {
			since = append(since, l.since)
		}
	}
	slices.SortFunc(since, time.Time.Compare)
	var ages []string
	for _, at := range since[:min(n, len(since))] {
		ages = append(ages, now.Sub(at).Round(time.Second).String())
	}
	return ages
}

// poke has the scheduler look again.
func (s *lanes) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// timetable is a heap of lanes by time; see container/heap.
type timetable []*lane

func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].at.Before(t[j].at) }

func (t timetable) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push appends a *lane.
func (t *timetable) Push(x any) {
	l := x.(*lane) //nolint:forcetypeassert // only lanes are pushed
	l.index = len(*t)
	*t = append(*t, l)
}

// Pop takes the last.
func (t *timetable) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// key tells one set of accounts from another.
func key(accounts []int64) string { return fmt.Sprint(accounts) }

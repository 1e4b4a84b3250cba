package flow

import (
	"context"
	"sync"
	"time"
)

// registry is what this process runs, and what ended here a moment ago (L16, L17). One
// count holds for both: what ended makes room for what begins.
type registry struct {
	limit  int
	tests  int
	linger time.Duration

	mu      sync.Mutex
	entries map[int64]*entry // by execution; guarded by mu
	active  int              // of them run; guarded by mu
	testing int              // of active; guarded by mu
}

// entry is one execution of the registry.
type entry struct {
	test   bool
	cancel context.CancelCauseFunc
	ended  time.Time // zero: it runs
}

// room is how many executions may begin now.
func (r *registry) room() (all, tests int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit - r.active, max(0, min(r.tests-r.testing, r.limit-r.active))
}

// begin takes an execution in, in the place of the oldest that ended if there is no
// other, and says how many run.
func (r *registry) begin(id int64, test bool, cancel context.CancelCauseFunc) (active int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, id) // it may have lingered here
	if len(r.entries) >= r.limit {
		r.evict()
	}
	r.entries[id] = &entry{test: test, cancel: cancel}
	r.active++
	if test {
		r.testing++
	}
	return r.active
}

// evict has the one that ended first leave; mu is held.
func (r *registry) evict() {
	oldest := int64(0)
	for id, e := range r.entries {
		if !e.ended.IsZero() && (oldest == 0 || e.ended.Before(r.entries[oldest].ended)) {
			oldest = id
		}
	}
	delete(r.entries, oldest)
}

// end notes that an execution does not run here any more. One that ended for good
// lingers; one that waits leaves at once.
func (r *registry) end(id int64, lingers bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[id]
	if e == nil || !e.ended.IsZero() {
		return
	}
	r.active--
	if e.test {
		r.testing--
	}
	if e.ended = now; !lingers {
		delete(r.entries, id)
	}
}

// expire has those leave that lingered long enough, and says when the next will; zero:
// none lingers.
func (r *registry) expire(now time.Time) (next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, e := range r.entries {
		if e.ended.IsZero() {
			continue
		}
		leaves := e.ended.Add(r.linger)
		if !now.Before(leaves) {
			delete(r.entries, id)
		} else if next.IsZero() || leaves.Before(next) {
			next = leaves
		}
	}
	return next
}

// stop ends an execution that runs here.
func (r *registry) stop(id int64, because error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[id]; e != nil && e.ended.IsZero() {
		e.cancel(because)
	}
}

// count is how many run, and how many are there at all.
func (r *registry) count() (running, registered int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active, len(r.entries)
}

// running are the executions that run here.
func (r *registry) running() (all []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, e := range r.entries {
		if e.ended.IsZero() {
			all = append(all, id)
		}
	}
	return all
}

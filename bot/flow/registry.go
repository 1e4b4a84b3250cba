package flow

import (
	"context"
	"sync"
	"time"

	"frontdesk/store"
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
	id     int64
	epoch  int64
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
// other, and says how many run. Should an earlier run of it be at its end still, that one
// is told to stop and has its own place until it does.
func (r *registry) begin(x store.Execution, cancel context.CancelCauseFunc) (e *entry, active int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.entries[x.ID]; old != nil && old.ended.IsZero() {
		old.cancel(store.ErrMoved)
	}
	delete(r.entries, x.ID) // it may have lingered here
	if len(r.entries) >= r.limit {
		r.evict()
	}
	e = &entry{id: x.ID, epoch: x.Epoch, test: x.Test != "", cancel: cancel}
	r.entries[x.ID] = e
	r.active++
	if e.test {
		r.testing++
	}
	return e, r.active
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

// end notes that a run is over. An execution that ended for good lingers; one that waits
// leaves at once.
func (r *registry) end(e *entry, lingers bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active--
	if e.test {
		r.testing--
	}
	if r.entries[e.id] != e {
		return // a later run has taken its name
	}
	if e.ended = now; !lingers {
		delete(r.entries, e.id)
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
func (r *registry) running() (all []store.Work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.ended.IsZero() {
			all = append(all, store.Work{ID: e.id, Epoch: e.epoch})
		}
	}
	return all
}

package wasim

import (
	"slices"
	"time"
)

// freeze keeps the stream still until over is closed: it stays open, but nothing
// is read from it, written to it or answered.
func (c *connection) freeze(over <-chan struct{}) { c.frost.Store(&over) }

// frozen reports whether the stream is kept still.
func (c *connection) frozen() bool {
	over := c.frost.Load()
	if over == nil {
		return false
	}
	select {
	case <-*over:
		return false
	default:
		return true
	}
}

// thawed waits while the stream is frozen and reports false if it ends first.
func (c *connection) thawed() bool {
	over := c.frost.Load()
	if over == nil {
		return true
	}
	select {
	case <-*over:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// frost is closed after lasting, which may be 0 for ever, or when the faults are
// cleared.
func (f *faults) frost(lasting time.Duration) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	over := make(chan struct{})
	f.frosts = append(f.frosts, over)
	if lasting > 0 {
		time.AfterFunc(lasting, func() { f.thaw(over) })
	}
	return over
}

// thaw ends a frost, unless it has ended already.
func (f *faults) thaw(over chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.frosts, over); i >= 0 {
		f.frosts = slices.Delete(f.frosts, i, i+1)
		close(over)
	}
}

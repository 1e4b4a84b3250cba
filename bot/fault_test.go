package bot_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/store"
)

// slow holds back every message until gate is closed.
type slow struct {
	*store.Store

	gate chan struct{}
}

func (s *slow) Receive(ctx context.Context, in store.Inbound) (store.Received, error) {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return store.Received{}, ctx.Err()
	}
	return s.Store.Receive(ctx, in)
}

// faulty fails at certain calls of Receive, counted from 1.
type faulty struct {
	*store.Store

	fail func() error
	at   map[int]bool

	mu    sync.Mutex
	calls int
}

func (f *faulty) Receive(ctx context.Context, in store.Inbound) (store.Received, error) {
	f.mu.Lock()
	f.calls++
	fails := f.at[f.calls]
	f.mu.Unlock()
	if fails {
		return store.Received{}, f.fail()
	}
	return f.Store.Receive(ctx, in)
}

// allergic panics at one body, whenever it comes.
type allergic struct {
	*store.Store

	body string
}

func (a *allergic) Receive(ctx context.Context, in store.Inbound) (store.Received, error) {
	if in.Body == a.body {
		panic("a bug in a handler")
	}
	return a.Store.Receive(ctx, in)
}

// turned refuses the first message of each account and is slow to write down the
// restriction that comes after it, until the message comes again on another
// connection. That one it holds back, so that whatever may overtake it does.
type turned struct {
	*store.Store

	mu    sync.Mutex
	calls map[int64]int           // of Receive, by account; guarded by mu
	again map[int64]chan struct{} // closed when the first message came again; guarded by mu
}

func newTurned(s *store.Store) *turned {
	return &turned{Store: s, calls: map[int64]int{}, again: map[int64]chan struct{}{}}
}

// turn counts a call for an account.
func (s *turned) turn(account int64, call int) (calls int, again chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again[account] == nil {
		s.again[account] = make(chan struct{})
	}
	s.calls[account] += call
	return s.calls[account], s.again[account]
}

func (s *turned) Receive(ctx context.Context, in store.Inbound) (store.Received, error) {
	switch call, again := s.turn(in.AccountID, 1); call {
	case 1:
		return store.Received{}, errors.New("the database does not answer")
	case 2:
		close(again)
		time.Sleep(300 * time.Millisecond) // what may overtake it has that long
	}
	return s.Store.Receive(ctx, in)
}

func (s *turned) Restrict(ctx context.Context, account int64, kind store.Restriction, until time.Time) error {
	_, again := s.turn(account, 0)
	select {
	case <-again:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Store.Restrict(ctx, account, kind, until)
}

// silent cannot renew leases any more once from is set, as if it were cut off.
type silent struct {
	*store.Store

	from atomic.Bool
}

func (s *silent) RenewLeases(ctx context.Context, p store.Process, ttl time.Duration) (store.Holding, error) {
	if s.from.Load() {
		return store.Holding{}, errors.New("the database does not answer")
	}
	return s.Store.RenewLeases(ctx, p, ttl)
}

// deaf never holds one account.
type deaf struct {
	*store.Store

	account int64
}

func (d *deaf) RenewLeases(ctx context.Context, p store.Process, ttl time.Duration) (store.Holding, error) {
	h, err := d.Store.RenewLeases(ctx, p, ttl)
	h.Leases = slices.DeleteFunc(h.Leases, func(l store.Lease) bool { return l.AccountID == d.account })
	return h, err
}

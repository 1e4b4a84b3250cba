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

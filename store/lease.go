package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Process is this process as the others see it.
type Process struct {
	ID   string
	Kind string // KindWhatsApp or KindSandbox: the accounts it may hold
	Cap  int    // most accounts at once (L1)
}

// Lease is the right to hold an account's socket. Epoch grows with every new
// owner.
type Lease struct {
	AccountID int64
	Epoch     int64
}

// RenewLeases is the heartbeat of p: it says that p lives, renews the leases it
// holds and takes free ones up to its fair share. What it returns is all that p
// holds for the next ttl, and not a moment longer.
func (s *Store) RenewLeases(ctx context.Context, p Process, ttl time.Duration) ([]Lease, error) {
	var held []Lease
	err := pgx.BeginFunc(ctx, s.leases, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"me": p.ID, "kind": p.Kind, "cap": p.Cap, "ttl": ttl}
		if _, err := tx.Exec(ctx, `
			insert into process (id, kind, cap) values (@me, @kind, @cap)
			on conflict (id) do update set seen_at = clock()`, args); err != nil {
			return err
		}
		var err error
		held, err = many[Lease](ctx, tx, `
			with live as (
			  select greatest(1, count(*)) as n from process where kind = @kind and seen_at > clock() - @ttl::interval),
			share as (
			  select least(@cap, ceil((select count(*) from account where enabled and kind = @kind)::numeric / n))::int as n from live),
			mine as (
			  select account_id from account_lease join account a on a.id = account_id
			  where a.enabled and a.kind = @kind and (owner = @me or lease_until < clock())
			  order by (owner = @me) desc nulls last, account_id
			  limit (select n from share) for update of account_lease skip locked)
			update account_lease l set owner = @me, lease_until = clock() + @ttl::interval,
			  epoch = l.epoch + (l.owner is distinct from @me)::int
			where l.account_id in (select account_id from mine)
			returning account_id, epoch`, args)
		return err
	})
	return held, err
}

// ReleaseLease gives an account back after its socket is closed, so that
// another process may take it at once.
func (s *Store) ReleaseLease(ctx context.Context, p Process, accounts []int64) error {
	_, err := s.leases.Exec(ctx, `
		update account_lease set owner = null, lease_until = '-infinity' where account_id = any(@ids) and owner = @me`,
		pgx.NamedArgs{"ids": accounts, "me": p.ID})
	return err
}

// LeaveProcess ends the heartbeat of p.
func (s *Store) LeaveProcess(ctx context.Context, p Process) error {
	_, err := s.leases.Exec(ctx, `delete from process where id = @me`, pgx.NamedArgs{"me": p.ID})
	return err
}

// ForgetProcesses frees what dead processes held. Only for the one process that
// holds the embedded database: nobody else can be alive then.
func (s *Store) ForgetProcesses(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `
		with gone as (delete from process)
		update account_lease set owner = null, lease_until = '-infinity'`)
	return err
}

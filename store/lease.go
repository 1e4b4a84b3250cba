package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Process is this process as the others see it.
type Process struct {
	ID      string
	Kind    string // KindWhatsApp or KindSandbox: the accounts it may hold
	Cap     int    // most accounts at once (L1)
	Host    string // for people
	Version string // for people
}

// Lease is the right to hold an account's socket. Epoch grows with every new
// owner.
type Lease struct {
	AccountID int64
	Epoch     int64
}

// Holding is what a process holds.
type Holding struct {
	Leases []Lease
	Next   time.Duration // until the next lease of another process may expire; 0: there is none
}

// forgetProcess is how long a process that is silent stays in the list.
const forgetProcess = time.Hour

// RenewLeases is the heartbeat of p: it says that p lives, renews the leases it
// holds and takes free ones up to its fair share; of more than that it keeps those
// being paired, whose code somebody is about to scan. What it returns is all that p
// holds for the next ttl, and not a moment longer.
func (s *Store) RenewLeases(ctx context.Context, p Process, ttl time.Duration) (Holding, error) {
	var h Holding
	err := pgx.BeginFunc(ctx, s.leases, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{
			"me": p.ID, "kind": p.Kind, "cap": p.Cap, "ttl": ttl, "host": p.Host, "version": p.Version, "forget": forgetProcess,
		}
		if _, err := tx.Exec(ctx, `
			with gone as (delete from process where seen_at < clock() - @forget::interval)
			insert into process (id, kind, cap, host, version) values (@me, @kind, @cap, @host, @version)
			on conflict (id) do update set seen_at = clock()`, args); err != nil {
			return err
		}
		var err error
		if h.Leases, err = takeLeases(ctx, tx, args); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
			select coalesce(min(lease_until) - clock(), interval '0') from account_lease join account a on a.id = account_id
			where a.enabled and a.kind = @kind and owner <> @me and lease_until > clock()`, args).Scan(&h.Next)
	})
	return h, err
}

func takeLeases(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) ([]Lease, error) {
	return many[Lease](ctx, tx, `
		with live as (
		  select greatest(1, count(*)) as n from process where kind = @kind and seen_at > clock() - @ttl::interval),
		share as (
		  select least(@cap, ceil((select count(*) from account where enabled and kind = @kind)::numeric / n))::int as n from live),
		mine as (
		  select account_id from account_lease join account a on a.id = account_id left join pairing p using (account_id)
		  where a.enabled and a.kind = @kind and (owner = @me or lease_until < clock())
		  order by (owner = @me) desc nulls last, (a.status = 'pairing' or coalesce(p.wanted_until > clock(), false)) desc, account_id
		  limit (select n from share) for update of account_lease skip locked)
		update account_lease l set owner = @me, lease_until = clock() + @ttl::interval,
		  epoch = l.epoch + (l.owner is distinct from @me)::int
		where l.account_id in (select account_id from mine)
		returning account_id, epoch`, args)
}

// ReleaseLease gives accounts back after their sockets are closed, and rings so
// that other processes take them at once.
func (s *Store) ReleaseLease(ctx context.Context, p Process, accounts []int64) error {
	_, err := s.leases.Exec(ctx, `
		with given as (
		  update account_lease set owner = null, lease_until = '-infinity' where account_id = any(@ids) and owner = @me returning account_id)
		select pg_notify('frontdesk', '{"topic": "lease", "id": 0}') from given limit 1`,
		pgx.NamedArgs{"ids": accounts, "me": p.ID})
	return err
}

// LeaveProcess ends the heartbeat of p and gives back all it holds, after its
// sockets are closed. The others' shares grow at once.
func (s *Store) LeaveProcess(ctx context.Context, p Process) error {
	_, err := s.leases.Exec(ctx, `
		with gone as (delete from process where id = @me),
		given as (update account_lease set owner = null, lease_until = '-infinity' where owner = @me)
		select pg_notify('frontdesk', '{"topic": "lease", "id": 0}')`, pgx.NamedArgs{"me": p.ID})
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

// ProcessState is a process as people see it.
type ProcessState struct {
	ID        string
	Kind      string
	Cap       int
	Host      string
	Version   string
	StartedAt time.Time
	SeenAt    time.Time
	Live      bool // it gave a sign of life within a lease's time
	Accounts  int  // whose lease it has
}

// Processes are all processes of the last hour, oldest first.
func (s *Store) Processes(ctx context.Context, ttl time.Duration) ([]ProcessState, error) {
	return many[ProcessState](ctx, s.pool, `
		select id, kind, cap, host, version, started_at, seen_at, seen_at > clock() - @ttl::interval as live,
		  (select count(*) from account_lease where owner = process.id and lease_until > clock()) as accounts
		from process order by started_at, id`, pgx.NamedArgs{"ttl": ttl})
}

// WaitingForPlace counts the enabled accounts of a kind that no process holds.
func (s *Store) WaitingForPlace(ctx context.Context, kind string) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `
		select count(*) from account a join account_lease l on l.account_id = a.id
		where a.enabled and a.kind = @kind and l.lease_until < clock()`, pgx.NamedArgs{"kind": kind}).Scan(&n)
	return n, err
}

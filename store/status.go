package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Restriction is what WhatsApp does not let an account do for a time.
type Restriction string

// The restrictions.
const (
	Unrestricted Restriction = ""
	NoNewChats   Restriction = "new_chats" // it may answer running chats only (error 463, reachout time lock)
	Banned       Restriction = "all"       // it may not even connect (error 402)
)

// SetStatus records what an account is doing and why, as its owner sees it; the
// same status again keeps its beginning. A status that needs a person raises an
// alert, which the next good one resolves. From a process that has lost the
// account it changes nothing; owner "" asks nobody.
func (s *Store) SetStatus(ctx context.Context, id int64, owner string, status Status, cause string) error {
	_, err := s.pool.Exec(ctx, `
		with a as (
		  update account set status = @status, status_cause = @cause,
		    status_since = case when status = @status then status_since else clock() end
		  where id = @id and (status, status_cause) is distinct from (@status, @cause)
		    and (@owner = '' or exists (
		      select from account_lease l where l.account_id = @id and l.owner = @owner and l.lease_until > clock()))
		  returning id, name),
		good as (
		  update alert set resolved_at = clock()
		  where account_id = (select id from a) and kind like 'account\_%' and kind <> 'account_' || @status
		    and resolved_at is null and @status in ('connected', 'new', 'stopped', 'logged_out', 'restricted', 'outdated', 'failed'))
		insert into alert (account_id, kind, says)
		select id, 'account_' || @status, name || ': ' || @cause from a where @status in ('logged_out', 'restricted', 'outdated', 'failed')
		on conflict (coalesce(account_id, 0), kind) where resolved_at is null do update set says = excluded.says, times = alert.times + 1`,
		pgx.NamedArgs{"id": id, "owner": owner, "status": status, "cause": cause})
	return err
}

// Restrict records what WhatsApp does not let an account do, and until when.
func (s *Store) Restrict(ctx context.Context, id int64, r Restriction, until time.Time) error {
	_, err := s.pool.Exec(ctx, `
		update account set restriction = @restriction, restricted_until = case when @restriction = '' then null else @until::timestamptz end
		where id = @id`, pgx.NamedArgs{"id": id, "restriction": r, "until": until})
	return err
}

// NoteProgress records when WhatsApp last gave a sign of life, for many accounts
// at once.
func (s *Store) NoteProgress(ctx context.Context, seen map[int64]time.Time) error {
	var ids []int64
	var ages []time.Duration
	for id, at := range seen {
		ids, ages = append(ids, id), append(ages, time.Since(at))
	}
	_, err := s.hasty.Exec(ctx, `
		update account set progress_at = clock() - seen.age
		from unnest(@ids::bigint[], @ages::interval[]) as seen (id, age) where account.id = seen.id`,
		pgx.NamedArgs{"ids": ids, "ages": ages})
	return err
}

// StatusEvent is one status that an account has had.
type StatusEvent struct {
	ID     int64
	Status Status
	Cause  string
	At     time.Time
}

// StatusHistory are the statuses an account has had, newest first.
func (s *Store) StatusHistory(ctx context.Context, account int64, p Page) ([]StatusEvent, error) {
	return many[StatusEvent](ctx, s.pool, `
		select id, status, cause, at from status_event
		where account_id = @account and (@before = 0::bigint or id < @before) order by id desc limit @limit`,
		pgx.NamedArgs{"account": account, "before": p.Before, "limit": p.Limit})
}

// Alert is something that somebody must look at. Its account is nil when it is
// about the whole installation.
type Alert struct {
	ID         int64
	AccountID  *int64
	Kind       string
	Says       string
	Times      int // how often it was raised while open
	At         time.Time
	SeenAt     *time.Time
	ResolvedAt *time.Time
}

// RaiseAlert opens an alert, or counts the open one of that kind again. Account 0
// is the whole installation.
func (s *Store) RaiseAlert(ctx context.Context, account int64, kind, says string) error {
	return raise(ctx, s.pool, account, kind, says)
}

func raise(ctx context.Context, q querier, account int64, kind, says string) error {
	_, err := q.Exec(ctx, `
		insert into alert (account_id, kind, says) values (nullif(@account, 0), @kind, @says)
		on conflict (coalesce(account_id, 0), kind) where resolved_at is null do update set says = excluded.says, times = alert.times + 1`,
		pgx.NamedArgs{"account": account, "kind": kind, "says": says})
	return err
}

// ResolveAlert closes the open alert of that kind, if there is one.
func (s *Store) ResolveAlert(ctx context.Context, account int64, kind string) error {
	_, err := s.pool.Exec(ctx, `
		update alert set resolved_at = clock() where coalesce(account_id, 0) = @account and kind = @kind and resolved_at is null`,
		pgx.NamedArgs{"account": account, "kind": kind})
	return err
}

// SeeAlert notes that a person has seen an alert, or ErrNotFound.
func (s *Store) SeeAlert(ctx context.Context, id int64) error {
	done, err := s.pool.Exec(ctx, `update alert set seen_at = coalesce(seen_at, clock()) where id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// Alerts are the open alerts, newest first; with all, those
// that are over as well.
func (s *Store) Alerts(ctx context.Context, all bool, p Page) ([]Alert, error) {
	return many[Alert](ctx, s.pool, `
		select id, account_id, kind, says, times, at, seen_at, resolved_at from alert
		where (@all or resolved_at is null) and (@before = 0::bigint or id < @before) order by id desc limit @limit`,
		pgx.NamedArgs{"all": all, "before": p.Before, "limit": p.Limit})
}

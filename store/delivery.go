package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds of deliveries. Dead ones are kept to be replayed, delivered ones as well, for
// less time.
const (
	MostDeliveriesWaiting = 100_000 // for each subscription; beyond, the oldest die
	DeadDeliveryDays      = 90
	DeliveredDays         = 7
	failingDays           = 5  // of nothing but failures; then a subscription is switched off
	fileSeconds           = 30 // that a message waits for its file
)

// Delivery is one event on its way to one subscription, as people see it.
type Delivery struct {
	ID             int64
	SubscriptionID int64
	Seq            int64 // dense for each subscription
	EventID        int64
	Type           string
	ExecutionID    *int64
	AccountID      *int64
	ConversationID *int64
	At             time.Time // of the event
	Status         string    // waiting, delivered or dead
	Behind         bool      // an earlier one of the same conversation goes first
	Tries          int       // that failed
	DueAt          time.Time
	TriedAt        *time.Time
	Answered       int    // the receiver's last status; 0: none came
	Failure        string // of the last try
	Reason         string // of its death: tries, gone, disabled or overflow
	CreatedAt      time.Time
	EndedAt        *time.Time
}

const deliveryColumns = `id, subscription_id, seq, event_id, type, execution_id, account_id, conversation_id, at, status, behind, tries, due_at,
	tried_at, answered, failure, reason, created_at, ended_at`

// Delivery is one delivery, or ErrNotFound.
func (s *Store) Delivery(ctx context.Context, id int64) (Delivery, error) {
	return one[Delivery](ctx, s.pool, `select `+deliveryColumns+` from delivery where id = @id`, pgx.NamedArgs{"id": id})
}

// Deliveries are the deliveries of a subscription, or of all (0), with a status, or
// with any (""), the newest first.
func (s *Store) Deliveries(ctx context.Context, subscription int64, status string, p Page) ([]Delivery, error) {
	return many[Delivery](ctx, s.pool, `
		select `+deliveryColumns+` from delivery
		where (@subscription = 0::bigint or subscription_id = @subscription) and (@status = '' or status = @status) and (@before = 0::bigint or id < @before)
		order by id desc limit @limit`,
		pgx.NamedArgs{"subscription": subscription, "status": status, "before": p.Before, "limit": p.Limit})
}

// DeliveryBacklog is what one subscription has not got.
type DeliveryBacklog struct {
	SubscriptionID int64
	Waiting        int
	Dead           int
	Oldest         *time.Time // the event of the first one that waits
}

// DeliveryBacklogs are the backlogs of one subscription, or of all (0).
func (s *Store) DeliveryBacklogs(ctx context.Context, subscription int64) ([]DeliveryBacklog, error) {
	return many[DeliveryBacklog](ctx, s.pool, `
		select s.id as subscription_id, w.n as waiting, d.n as dead, w.oldest
		from subscription s,
		  lateral (select count(*)::int as n, min(at) as oldest from delivery where subscription_id = s.id and status = 'waiting') w,
		  lateral (select count(*)::int as n from delivery where subscription_id = s.id and status = 'dead') d
		where @subscription = 0::bigint or s.id = @subscription
		order by s.id`, pgx.NamedArgs{"subscription": subscription})
}

// deliveryCursor is how far DispatchDeliveries has come.
const deliveryCursor = "deliveries"

// OpenDeliveries has DispatchDeliveries begin with what happens from now on, unless it
// began earlier.
func (s *Store) OpenDeliveries(ctx context.Context) error {
	now, err := s.LatestPlace(ctx)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `insert into event_cursor (name, xid, id) values (@name, @xid::bigint::text::xid8, @id) on conflict do nothing`,
		pgx.NamedArgs{"name": deliveryCursor, "xid": now.XID, "id": now.ID})
	return err
}

// Dispatch is what one round of DispatchDeliveries did.
type Dispatch struct {
	Events     int // that it read; as many as its limit: there may be more
	Deliveries int
	Overflowed map[int64]int // oldest deliveries that died, by subscription
}

// DispatchDeliveries makes deliveries of the next events, at most limit of them: each
// event once for each subscription that wants it, whatever happens in between. One
// process does that at a time; to the others it does nothing.
func (s *Store) DispatchDeliveries(ctx context.Context, limit int) (d Dispatch, err error) {
	strangers, err := s.strangers(ctx)
	if err != nil {
		return d, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		p, err := one[Place](ctx, tx, `
			select xid::text::bigint as xid, id from event_cursor where name = @name for update skip locked`, pgx.NamedArgs{"name": deliveryCursor})
		if errors.Is(err, ErrNotFound) {
			return nil // another process is at it
		}
		if err == nil {
			d, err = dispatch(ctx, tx, pgx.NamedArgs{"name": deliveryCursor, "xid": p.XID, "id": p.ID, "limit": limit, "strangers": strangers})
		}
		return err
	})
	return d, err
}

func dispatch(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (Dispatch, error) {
	subscribed, err := column[int64](ctx, tx, `
		select id from subscription where is_active and `+somethingNew+` order by id for no key update`, args)
	if err != nil {
		return Dispatch{}, err
	}
	if len(subscribed) == 0 {
		return Dispatch{}, jump(ctx, tx, args)
	}
	args["subscribed"] = subscribed
	d, err := one[Dispatch](ctx, tx, expansion, args)
	if err == nil && d.Deliveries > 0 {
		d.Overflowed, err = overflow(ctx, tx, subscribed)
	}
	return d, err
}

const somethingNew = `exists (
	select from event where (xid, id) > (@xid::bigint::text::xid8, @id::bigint) and xid < ` + horizon + `)`

// jump goes behind all that has happened, as nobody wants to hear of it.
func jump(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) error {
	_, err := tx.Exec(ctx, `
		update event_cursor set xid = (`+horizon+`::text::bigint - 1)::text::xid8, id = 9223372036854775807
		where name = @name and not exists (select from subscription where is_active) and `+somethingNew, args)
	return err
}

// expansion makes deliveries of the next events, for subscriptions whose rows are
// locked: so nobody marks a delivery meanwhile, and who is behind whom stays true.
// Who was removed since has nothing delivered any more.
var expansion = `
	with e as (
	  select * from event where (xid, id) > (@xid::bigint::text::xid8, @id::bigint) and xid < ` + horizon + `
	  order by xid, id limit @limit),
	wanted as (
	  select s.id as subscription_id, e.*, case when e.conversation_id is not null then 'c' || e.conversation_id
	    when e.execution_id is not null then 'x' || e.execution_id when e.account_id is not null then 'a' || e.account_id else '' end as lane
	  from e join subscription s on s.id = any(@subscribed) and e.at >= s.active_since and (s.account_id is null or s.account_id = e.account_id)
	  where exists (
	      select from unnest(s.events) as p where p in ('*', e.type) or (right(p, 2) = '.*' and starts_with(e.type, left(p, -1))))
	    and (e.account_id is null or exists (select from account a where a.id = e.account_id))
	    and (e.conversation_id is null or exists (select from conversation c where c.id = e.conversation_id))),
	placed as (
	  select *, row_number() over (partition by subscription_id order by xid, id) as n,
	    row_number() over (partition by subscription_id, lane order by xid, id) as place from wanted),
	counted as (
	  update subscription s set seq = s.seq + c.n from (select subscription_id, count(*) as n from placed group by subscription_id) c
	  where s.id = c.subscription_id returning s.id, s.seq - c.n as base),
	added as (
	  insert into delivery (subscription_id, seq, lane, event_id, type, execution_id, flow_id, account_id, conversation_id, message_id, outbound_id,
	    epoch, event_seq, test, data, at, behind)
	  select p.subscription_id, c.base + p.n, p.lane, p.id, p.type, p.execution_id, p.flow_id, p.account_id, p.conversation_id, p.message_id, p.outbound_id,
	    p.epoch, p.seq, p.test, p.data, p.at, p.place > 1 or ` + headOf("p.subscription_id", "p.lane") + `
	  from placed p join counted c on c.id = p.subscription_id order by p.subscription_id, p.n
	  returning id),
	moved as (
	  update event_cursor k set xid = l.xid, id = l.id from (select xid, id from e order by xid desc, id desc limit 1) l where k.name = @name)
	select (select count(*) from e)::int as events, (select count(*) from added)::int as deliveries, null::jsonb as overflowed`

// headOf says that a lane has a delivery that those behind it wait for: it has failed
// less than three times (a literal, as in the index delivery_head).
func headOf(subscription, lane string) string {
	return `exists (select from delivery h where h.subscription_id = ` + subscription + ` and h.lane = ` + lane + `
	  and h.status = 'waiting' and not h.behind and h.tries < 3)`
}

// overflow has the oldest deliveries die of subscriptions for which too many wait. The
// subscriptions' rows are locked.
func overflow(ctx context.Context, tx pgx.Tx, subscriptions []int64) (map[int64]int, error) {
	died, err := many[struct {
		SubscriptionID int64
		AccountID      int64
		Dead           int
		Lanes          []string
	}](ctx, tx, `
		with crowd as (
		  select s.id, (select count(*) from (select from delivery where subscription_id = s.id and status = 'waiting' limit @most * 2) w) - @most as n
		  from subscription s where s.id = any(@ids)),
		old as (
		  select d.id from crowd cross join lateral (
		    select id from delivery where subscription_id = crowd.id and status = 'waiting' and claimed_until <= clock()
		    order by seq limit greatest(crowd.n, 0)) d),
		dead as (
		  update delivery set status = 'dead', reason = 'overflow', behind = false, ended_at = clock() where id in (select id from old)
		  returning subscription_id, lane)
		select d.subscription_id, coalesce(s.account_id, 0) as account_id, count(*)::int as dead, array_agg(distinct d.lane) as lanes
		from dead d join subscription s on s.id = d.subscription_id group by d.subscription_id, s.account_id`,
		pgx.NamedArgs{"ids": subscriptions, "most": MostDeliveriesWaiting})
	if err != nil || len(died) == 0 {
		return nil, err
	}
	counts := map[int64]int{}
	for _, c := range died {
		counts[c.SubscriptionID] = c.Dead
		if err := advance(ctx, tx, c.SubscriptionID, c.Lanes); err != nil {
			return nil, err
		}
		if err := raise(ctx, tx, c.AccountID, overflowAlert(c.SubscriptionID), fmt.Sprintf(
			"More than %d deliveries wait for outgoing webhook %d; the oldest became dead letters, which can be replayed", MostDeliveriesWaiting, c.SubscriptionID)); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// advance lets the first of those behind go, in lanes where nobody is left that they
// wait for. The subscription's row is locked.
func advance(ctx context.Context, tx pgx.Tx, subscription int64, lanes []string) error {
	_, err := tx.Exec(ctx, advanced("@id", "any(@lanes)"), pgx.NamedArgs{"id": subscription, "lanes": lanes})
	return err
}

func advanced(subscription, lane string) string {
	return `
		update delivery set behind = false where id in (
		  select distinct on (d.lane) d.id from delivery d
		  where d.subscription_id = ` + subscription + ` and d.lane = ` + lane + ` and d.status = 'waiting' and d.behind
		    and not ` + headOf(subscription, "d.lane") + `
		  order by d.lane, d.seq)`
}

// ClaimedDelivery is a delivery that the caller, and nobody else, may try now.
type ClaimedDelivery struct {
	ID             int64
	SubscriptionID int64
	Seq            int64
	Lane           string
	Claims         int64
	Tries          int  // that failed before
	Failing        bool // nothing has arrived at this subscription lately
	URL            string
	Secret         []byte // sealed; DeliverySecrets opens both
	OldSecret      []byte

	EventID        int64
	Type           string
	ExecutionID    *int64
	Flow           string // its name
	AccountID      *int64
	ConversationID *int64
	Epoch          int64
	EventSeq       int64
	Test           bool
	Data           json.RawMessage // an object
	At             time.Time

	// Of the message that it speaks of, as it is now; WaID is "" where there is none, or
	// none any more.
	Phone     string // the account's own
	Chat      string
	WaID      string
	Outgoing  bool
	Kind      string
	Body      string
	Status    string     // as in Outbound; "" of what was not sent by us
	MessageAt *time.Time // sent, or made
	FileID    *int64
	FileState string // of a file it brought: wanted, stored, failed, too_large or gone; "": it has none
	Mime      string
	FileLabel string
}

// DeliveryClaim says how many deliveries a process has room for.
type DeliveryClaim struct {
	Process string
	Lease   time.Duration // then somebody else may try them
	Free    int
	Failing int           // of these, for subscriptions at which nothing arrives
	Each    int           // for one subscription; where nothing arrives it is 1
	Busy    map[int64]int // under way, by subscription
}

// ClaimDeliveries takes due deliveries, those of the least busy subscriptions first. One
// that speaks of a message whose file is still being fetched waits for it, not for long.
func (s *Store) ClaimDeliveries(ctx context.Context, c DeliveryClaim) ([]ClaimedDelivery, error) {
	ids, counts := make([]int64, 0, len(c.Busy)), make([]int, 0, len(c.Busy))
	for id, n := range c.Busy {
		ids, counts = append(ids, id), append(counts, n)
	}
	return many[ClaimedDelivery](ctx, s.hasty, `
		with room as (
		  select s.id, s.failing_since is not null as failing, coalesce(b.n, 0) as busy, case when s.failing_since is null then @each else 1 end as most
		  from subscription s left join unnest(@ids::bigint[], @counts::int[]) as b (id, n) on b.id = s.id
		  where s.is_active and s.resting_until <= clock()),
		due as (
		  select d.id, d.due_at, room.failing, room.busy + row_number() over (partition by room.id order by d.due_at, d.id) as place
		  from room cross join lateral (
		    select d.id, d.due_at from delivery d
		    where d.subscription_id = room.id and d.status = 'waiting' and not d.behind and d.due_at <= clock() and d.claimed_until <= clock()
		      and (d.message_id is null or d.at < clock() - @file::interval or not exists (
		        select from media m where m.message_id = d.message_id and m.state = 'wanted'))
		    order by d.due_at, d.id limit greatest(room.most - room.busy, 0) for update skip locked) d),
		ranked as (
		  select id, failing, place, due_at, row_number() over (partition by failing order by place, due_at, id) as rank from due),
		chosen as (
		  select id from ranked where not failing or rank <= @failing order by failing, place, due_at, id limit @free),
		c as (
		  update delivery d set claimed_by = @me, claimed_until = clock() + @lease::interval, claims = d.claims + 1, tried_at = clock()
		  from chosen where d.id = chosen.id returning d.*)`+claimedRows+` order by c.due_at, c.id`,
		pgx.NamedArgs{
			"me": c.Process, "lease": c.Lease, "free": c.Free, "failing": c.Failing, "each": c.Each, "ids": ids, "counts": counts,
			"file": fileSeconds * time.Second,
		})
}

// claimedRows are the deliveries of c, which the statement defines, with what they
// speak of.
const claimedRows = `
	select c.id, c.subscription_id, c.seq, c.lane, c.claims, c.tries, s.failing_since is not null as failing, s.url, s.secret, s.old_secret,
	  c.event_id, c.type, c.execution_id, coalesce(f.name, '') as flow, c.account_id, c.conversation_id, c.epoch, c.event_seq, c.test, c.data, c.at,
	  coalesce(a.phone, '') as phone, coalesce(v.chat, '') as chat, coalesce(m.wa_id, o.wa_id, '') as wa_id,
	  coalesce(m.outgoing, o.wa_id is not null) as outgoing, coalesce(m.kind, o.kind, '') as kind, coalesce(m.body, o.body, '') as body,
	  coalesce(o.status, '') as status, coalesce(m.at, o.at) as message_at, coalesce(d.file_id, o.file_id) as file_id,
	  coalesce(d.state, case when o.file_id is not null then 'stored' end, '') as file_state,
	  coalesce(x.mime, d.mime, '') as mime, coalesce(nullif(x.label, ''), d.label, '') as file_label
	from c join subscription s on s.id = c.subscription_id
	left join flow f on f.id = c.flow_id
	left join account a on a.id = c.account_id
	left join conversation v on v.id = c.conversation_id
	left join lateral (
	  select id, wa_id, direction = 'out' as outgoing, sent_at as at, ` + shownKind + ` as kind, ` + shownBody + ` as body, deleted_at
	  from message where id = c.message_id) m on true
	left join media d on d.message_id = m.id and m.deleted_at is null
	left join lateral (
	  select wa_id, kind, body, file_id, coalesce(sent_at, created_at) as at,` + outboundStatus + ` from outbound where id = c.outbound_id) o on true
	left join file x on x.id = coalesce(d.file_id, o.file_id)`

// DeliverySecrets are the secrets that sign a delivery, the newest first.
func (s *Store) DeliverySecrets(c ClaimedDelivery) ([]string, error) {
	return s.openAll(subscriptionPlace(c.SubscriptionID), c.Secret, c.OldSecret)
}

// DeliveryArrived records that the receiver has a delivery: those behind it may go. All
// statements travel at once, as one transaction: this is what most deliveries come to.
func (s *Store) DeliveryArrived(ctx context.Context, c ClaimedDelivery, status int) error {
	args := pgx.NamedArgs{"id": c.ID, "subscription": c.SubscriptionID, "answered": status}
	all := &pgx.Batch{}
	all.Queue(`select from subscription where id = @subscription for no key update`, args)
	all.Queue(`
		update delivery set status = 'delivered', reason = '', behind = false, answered = @answered, failure = '', ended_at = clock(),
		  claimed_by = null, claimed_until = '-infinity'
		where id = @id and status <> 'delivered'`, args)
	all.Queue(`update subscription set failing_since = null where id = @subscription and failing_since is not null`, args)
	all.Queue(advanced("@subscription", "(select lane from delivery where id = @id)"), args)
	return s.hasty.SendBatch(ctx, all).Close()
}

// settle runs work in a transaction that has a subscription's deliveries for itself.
// What it wrote may be gone after a crash of Postgres: then the delivery comes again.
func (s *Store) settle(ctx context.Context, subscription int64, work func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.hasty, func(tx pgx.Tx) error {
		if _, err := lockSubscription(ctx, tx, subscription); err != nil {
			if errors.Is(err, ErrNotFound) {
				return nil // it was removed, with its deliveries
			}
			return err
		}
		return work(tx)
	})
}

// lockSubscription has the deliveries of a subscription for the transaction alone. A
// statement of its own: the next one sees what others did before the lock was ours.
func lockSubscription(ctx context.Context, tx pgx.Tx, id int64) (active bool, err error) {
	err = tx.QueryRow(ctx, `select is_active from subscription where id = $1 for no key update`, id).Scan(&active)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrNotFound
	}
	return active, err
}

// DeliveryFailure says how a try ended.
type DeliveryFailure struct {
	Status int    // the receiver's; 0: none came
	Says   string // a sentence without an address
	Wait   time.Duration
	Last   bool          // there is no further try
	Rest   time.Duration // the receiver wants no delivery for so long
	Gone   bool          // the receiver wants none any more
}

// DeliveryFate is what came of a failure.
type DeliveryFate struct {
	Dead     bool
	Disabled string // why the subscription was switched off now; "": it was not
}

// DeliveryFailed records a failed try of the caller's own claim. The delivery is tried
// again after Wait, or becomes a dead letter; a subscription that wants no more, or at
// which nothing arrived for five days, is switched off.
func (s *Store) DeliveryFailed(ctx context.Context, c ClaimedDelivery, f DeliveryFailure) (fate DeliveryFate, err error) {
	err = s.settle(ctx, c.SubscriptionID, func(tx pgx.Tx) error {
		fate, err = fail(ctx, tx, c, f)
		return err
	})
	return fate, err
}

func fail(ctx context.Context, tx pgx.Tx, c ClaimedDelivery, f DeliveryFailure) (DeliveryFate, error) {
	fate := DeliveryFate{Dead: f.Last || f.Gone}
	reason := ""
	switch {
	case f.Gone:
		reason = "gone"
	case f.Last:
		reason = "tries"
	}
	lanes, err := column[string](ctx, tx, `
		update delivery set tries = tries + 1, answered = @answered, failure = @failure, due_at = clock() + @wait::interval, reason = @reason,
		  claimed_by = null, claimed_until = '-infinity',
		  status = case when @dead then 'dead' else status end, ended_at = case when @dead then clock() end
		where id = @id and claims = @claims and status = 'waiting' returning lane`,
		pgx.NamedArgs{
			"id": c.ID, "claims": c.Claims, "answered": f.Status, "failure": clean(f.Says), "wait": f.Wait, "dead": fate.Dead, "reason": reason,
		})
	if err != nil || len(lanes) == 0 {
		return DeliveryFate{}, err // somebody else has it by now
	}
	if err = advance(ctx, tx, c.SubscriptionID, lanes); err == nil {
		fate.Disabled, err = giveUp(ctx, tx, c.SubscriptionID, f)
	}
	return fate, err
}

// giveUp notes a failure of a subscription, and switches it off if that was one too many.
// It returns why.
func giveUp(ctx context.Context, tx pgx.Tx, subscription int64, f DeliveryFailure) (why string, err error) {
	var tooLong bool
	err = tx.QueryRow(ctx, `
		update subscription set failing_since = coalesce(failing_since, clock()), resting_until = greatest(resting_until, clock() + @rest::interval)
		where id = @id returning failing_since <= clock() - @days * interval '1 day'`,
		pgx.NamedArgs{"id": subscription, "rest": f.Rest, "days": failingDays}).Scan(&tooLong)
	switch {
	case err != nil:
		return "", err
	case f.Gone:
		why = "its receiver answered 410, it is gone"
	case tooLong:
		why = fmt.Sprintf("nothing has arrived there for %d days", failingDays)
	default:
		return "", nil
	}
	off, err := disable(ctx, tx, subscription, why)
	if !off {
		why = ""
	}
	return why, err
}

// ReleaseDeliveries gives deliveries back whose try was cut off: they are due at once.
func (s *Store) ReleaseDeliveries(ctx context.Context, process string, ids []int64) error {
	_, err := s.hasty.Exec(ctx, `
		update delivery set claimed_by = null, claimed_until = '-infinity' where id = any(@ids) and claimed_by = @me`,
		pgx.NamedArgs{"ids": ids, "me": process})
	return err
}

// anew has deliveries tried from the beginning, in a lane of their own: they never hold
// up what happens now. One that waits is only due at once.
const anew = `
	update delivery set status = 'waiting', reason = '', ended_at = null, due_at = clock(),
	  tries = case status when 'waiting' then tries else 0 end, behind = status <> 'waiting' or behind,
	  lane = case when status = 'waiting' or starts_with(lane, 'r') then lane else 'r' || lane end`

// ReplayDelivery delivers a delivery once more, with the webhook-id it always had, or
// ErrNotFound. One that waits is due at once. ErrSubscriptionOff when its subscription
// is switched off.
func (s *Store) ReplayDelivery(ctx context.Context, id int64) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		d, err := one[Delivery](ctx, tx, `select `+deliveryColumns+` from delivery where id = @id`, pgx.NamedArgs{"id": id})
		if err == nil {
			err = lockActive(ctx, tx, d.SubscriptionID)
		}
		if err != nil {
			return err
		}
		lanes, err := column[string](ctx, tx, anew+` where id = @id returning lane`, pgx.NamedArgs{"id": id})
		if err != nil {
			return err
		}
		return advance(ctx, tx, d.SubscriptionID, lanes)
	})
}

// ReplayDeliveries delivers all once more that a subscription was told, or was not,
// since a time, in the old order and with the old ids, and says how many these are: the
// oldest, if there is no room for all. What waits is due at once.
func (s *Store) ReplayDeliveries(ctx context.Context, subscription int64, since time.Time) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockActive(ctx, tx, subscription); err != nil {
			return err
		}
		lanes, err := column[string](ctx, tx, anew+`
			where id in (
			  select id from delivery where subscription_id = @id and at >= @since and status in ('dead', 'delivered')
			  order by seq limit @most - (select count(*) from (select from delivery where subscription_id = @id and status = 'waiting' limit @most) w))
			returning lane`, pgx.NamedArgs{"id": subscription, "since": since, "most": MostDeliveriesWaiting})
		if err != nil {
			return err
		}
		n = len(lanes)
		if _, err := tx.Exec(ctx, `
			update delivery set due_at = clock() where subscription_id = @id and at >= @since and status = 'waiting' and due_at > clock()`,
			pgx.NamedArgs{"id": subscription, "since": since}); err != nil {
			return err
		}
		return advance(ctx, tx, subscription, lanes)
	})
	return n, err
}

func lockActive(ctx context.Context, tx pgx.Tx, subscription int64) error {
	active, err := lockSubscription(ctx, tx, subscription)
	if err == nil && !active {
		err = ErrSubscriptionOff
	}
	return err
}

// AdvanceDeliveries lets those go whose predecessors were erased, with an account or a
// conversation. The others need it not.
func (s *Store) AdvanceDeliveries(ctx context.Context) error {
	stuck, err := many[struct {
		SubscriptionID int64
		Lanes          []string
	}](ctx, s.hasty, `
		select subscription_id, array_agg(distinct lane) as lanes from delivery d
		where status = 'waiting' and behind and not `+headOf("d.subscription_id", "d.lane")+` group by subscription_id`, nil)
	for _, c := range stuck {
		if err == nil {
			err = s.settle(ctx, c.SubscriptionID, func(tx pgx.Tx) error { return advance(ctx, tx, c.SubscriptionID, c.Lanes) })
		}
	}
	return err
}

// DropDeliveries forgets what was delivered DeliveredDays ago and what died
// DeadDeliveryDays ago, at most limit of each, and says how many that were.
func (s *Store) DropDeliveries(ctx context.Context, limit int) (int, error) {
	done, err := s.hasty.Exec(ctx, `
		with old as (
		  select id from delivery where status = 'delivered' and ended_at < clock() - @delivered * interval '1 day'
		  order by ended_at limit @limit for update skip locked),
		older as (
		  select id from delivery where status = 'dead' and ended_at < clock() - @dead * interval '1 day'
		  order by ended_at limit @limit for update skip locked)
		delete from delivery where id in (select id from old union all select id from older)`,
		pgx.NamedArgs{"delivered": DeliveredDays, "dead": DeadDeliveryDays, "limit": limit})
	return int(done.RowsAffected()), err
}

package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds of subscriptions.
const (
	MostSubscriptions = 100
	mostPatterns      = 50
	longestURL        = 2000
	longestLabel      = 200
)

// Subscription is somebody who is told of events at an address of their own.
type Subscription struct {
	ID             int64
	AccountID      *int64 // nil: all accounts, and what belongs to none
	URL            string
	Events         []string // types, beginnings such as message.*, or *
	Label          string
	Secret         []byte `json:"-"` // sealed; SubscriptionSecrets opens both
	OldSecret      []byte `json:"-"` // sealed; signs beside Secret
	IsActive       bool
	Seq            int64      // of its last delivery
	FailingSince   *time.Time // nothing arrived since
	RestingUntil   *time.Time // the receiver asked for it, the last time
	DisabledAt     *time.Time // nobody of the house did that
	DisabledReason string
	CreatedAt      time.Time
}

const subscriptionColumns = `id, account_id, url, events, label, secret, old_secret, is_active, seq, failing_since,
	nullif(resting_until, '-infinity') as resting_until, disabled_at, disabled_reason, created_at`

// Subscriptions are all subscriptions, in the order they came.
func (s *Store) Subscriptions(ctx context.Context) ([]Subscription, error) {
	return many[Subscription](ctx, s.pool, `select `+subscriptionColumns+` from subscription order by id`, nil)
}

// Subscription is one subscription, or ErrNotFound.
func (s *Store) Subscription(ctx context.Context, id int64) (Subscription, error) {
	return one[Subscription](ctx, s.pool, `select `+subscriptionColumns+` from subscription where id = @id`, pgx.NamedArgs{"id": id})
}

// ErrTooManySubscriptions says that there is no room for another one.
var ErrTooManySubscriptions = fmt.Errorf("there are %d subscriptions already; remove one that nobody needs", MostSubscriptions)

// subscriptionLock is the advisory lock that serialises the counting of
// subscriptions: "fs".
const subscriptionLock = 0x6673

// AddSubscription stores a subscription to what happens from now on and returns the
// secret that signs its deliveries: the given one, or one made here. It is shown this
// once. An *InvalidError says what cannot be kept.
func (s *Store) AddSubscription(ctx context.Context, n Subscription, secret string) (Subscription, string, error) {
	if err := n.validate(); err != nil {
		return Subscription{}, "", err
	}
	secret, err := signingSecret(secret)
	if err != nil {
		return Subscription{}, "", err
	}
	var added Subscription
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := roomForSubscription(ctx, tx); err != nil {
			return err
		}
		var id int64
		err := tx.QueryRow(ctx, `
			insert into subscription (account_id, url, events, label) values (@account, @url, @events, @label) returning id`,
			pgx.NamedArgs{"account": n.AccountID, "url": n.URL, "events": n.Events, "label": clean(n.Label)}).Scan(&id)
		if err != nil {
			return err
		}
		added, err = s.setSecret(ctx, tx, id, secret)
		return err
	})
	return added, secret, subscriptionError(err)
}

// subscriptionError says in our words what Postgres refused.
func subscriptionError(err error) error {
	if breaks(err, "subscription_account_id_fkey") {
		return &InvalidError{"account_id", "there is no account with this id"}
	}
	return err
}

func roomForSubscription(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, subscriptionLock); err != nil {
		return err
	}
	var n int
	if err := tx.QueryRow(ctx, `select count(*) from subscription`).Scan(&n); err != nil {
		return err
	}
	if n >= MostSubscriptions {
		return ErrTooManySubscriptions
	}
	return nil
}

// setSecret has a secret sign from now on, beside the one before it.
func (s *Store) setSecret(ctx context.Context, q querier, id int64, secret string) (Subscription, error) {
	if s.keyring == nil {
		return Subscription{}, ErrNoKey
	}
	sealed, err := s.keyring.Seal(subscriptionPlace(id), []byte(secret))
	if err != nil {
		return Subscription{}, err
	}
	return one[Subscription](ctx, q, `
		update subscription set old_secret = secret, secret = @secret where id = @id returning `+subscriptionColumns,
		pgx.NamedArgs{"id": id, "secret": sealed})
}

func subscriptionPlace(id int64) string { return fmt.Sprintf("subscription:%d", id) }

// PutSubscription changes the account, address, events and label of a subscription, or
// ErrNotFound. What waits goes to the new address, which begins without a past. An *InvalidError says what cannot be
// kept.
func (s *Store) PutSubscription(ctx context.Context, c Subscription) (Subscription, error) {
	if err := c.validate(); err != nil {
		return Subscription{}, err
	}
	changed, err := one[Subscription](ctx, s.pool, `
		update subscription set account_id = @account, url = @url, events = @events, label = @label,
		  failing_since = case when url = @url then failing_since end, resting_until = case when url = @url then resting_until else '-infinity' end
		where id = @id returning `+subscriptionColumns,
		pgx.NamedArgs{"id": c.ID, "account": c.AccountID, "url": c.URL, "events": c.Events, "label": clean(c.Label)})
	return changed, subscriptionError(err)
}

// RotateSubscriptionSecret has a new secret sign, given or made here, and returns it.
// The one before signs beside it until ForgetOldSubscriptionSecret, so that receivers
// may change at any moment between.
func (s *Store) RotateSubscriptionSecret(ctx context.Context, id int64, secret string) (string, error) {
	secret, err := signingSecret(secret)
	if err != nil {
		return "", err
	}
	_, err = s.setSecret(ctx, s.pool, id, secret)
	return secret, err
}

// ForgetOldSubscriptionSecret ends the life of the secret before the present one, or
// ErrNotFound.
func (s *Store) ForgetOldSubscriptionSecret(ctx context.Context, id int64) error {
	return s.change(ctx, `update subscription set old_secret = null where id = @id`, pgx.NamedArgs{"id": id})
}

// SubscriptionSecrets are the secrets that sign now, the newest first.
func (s *Store) SubscriptionSecrets(c Subscription) ([]string, error) {
	return s.openAll(subscriptionPlace(c.ID), c.Secret, c.OldSecret)
}

// SetSubscriptionActive switches a subscription on or off, or ErrNotFound. What waits
// when it is switched off becomes dead letters; switched on again it hears of what
// happens from then on, and of earlier things only by a replay.
func (s *Store) SetSubscriptionActive(ctx context.Context, id int64, active bool) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `
			update subscription set is_active = @active, disabled_at = null, disabled_reason = '', failing_since = null, resting_until = '-infinity',
			  active_since = case when is_active then active_since else clock() end
			where id = @id`, pgx.NamedArgs{"id": id, "active": active})
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		if !active {
			return bury(ctx, tx, id)
		}
		return calm(ctx, tx, disabledAlert(id))
	})
}

// RemoveSubscription forgets a subscription and all its deliveries, or ErrNotFound.
func (s *Store) RemoveSubscription(ctx context.Context, id int64) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `delete from subscription where id = @id`, pgx.NamedArgs{"id": id})
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		return calm(ctx, tx, disabledAlert(id), overflowAlert(id))
	})
}

func disabledAlert(id int64) string { return fmt.Sprintf("subscription_disabled_%d", id) }
func overflowAlert(id int64) string { return fmt.Sprintf("subscription_overflow_%d", id) }

// calm closes open alerts of these kinds, whatever their account.
func calm(ctx context.Context, q querier, kinds ...string) error {
	_, err := q.Exec(ctx, `update alert set resolved_at = clock() where kind = any($1) and resolved_at is null`, kinds)
	return err
}

// disable switches a subscription off, loudly. False: it was off already.
func disable(ctx context.Context, tx pgx.Tx, id int64, reason string) (bool, error) {
	off, err := many[struct {
		AccountID *int64
		Label     string
	}](ctx, tx, `
		with off as (
		  update subscription set is_active = false, disabled_at = clock(), disabled_reason = @reason where id = @id and is_active
		  returning id, account_id, label),
		noted as (
		  insert into event (type, account_id, data)
		  select 'webhook.disabled', account_id, jsonb_build_object('subscription_id', id, 'label', label, 'reason', @reason::text) from off)
		select account_id, label from off`, pgx.NamedArgs{"id": id, "reason": reason})
	if err != nil || len(off) == 0 {
		return false, err
	}
	if err := bury(ctx, tx, id); err != nil {
		return false, err
	}
	account := int64(0)
	if off[0].AccountID != nil {
		account = *off[0].AccountID
	}
	return true, raise(ctx, tx, account, disabledAlert(id), fmt.Sprintf(
		"Outgoing webhook %d (%s) was switched off: %s. What waited is kept; switch it on again and replay it", id, off[0].Label, reason))
}

// bury makes dead letters of all that waits for a subscription.
func bury(ctx context.Context, tx pgx.Tx, subscription int64) error {
	_, err := tx.Exec(ctx, `
		update delivery set status = 'dead', reason = 'disabled', behind = false, ended_at = clock()
		where subscription_id = @id and status = 'waiting'`, pgx.NamedArgs{"id": subscription})
	return err
}

// pattern is one of a subscription's events: *, a beginning such as message.*, or a type.
var pattern = regexp.MustCompile(`^(\*|[a-z_]{1,40}(\.[a-z_]{1,40}){0,3}(\.\*)?)$`)

func (c *Subscription) validate() error {
	c.URL, c.Label = strings.TrimSpace(c.URL), strings.TrimSpace(c.Label)
	if len(c.Label) > longestLabel {
		return &InvalidError{"label", fmt.Sprintf("the label is longer than %d characters", longestLabel)}
	}
	if len(c.Events) == 0 || len(c.Events) > mostPatterns {
		return &InvalidError{"events", fmt.Sprintf("name 1 to %d events, such as message.received, message.* or *", mostPatterns)}
	}
	for _, p := range c.Events {
		if !pattern.MatchString(p) {
			return &InvalidError{"events", fmt.Sprintf("%q is not an event; they look like message.received, message.* or *", p)}
		}
	}
	return validateReceiver(c.URL)
}

// validateReceiver wants https, except inside a private network. Whether a private
// address may be reached at all is asked when it is dialled, after DNS.
func validateReceiver(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") || len(address) > longestURL:
		return &InvalidError{"url", "the address must look like https://example.org/hook"}
	case u.User != nil || u.Fragment != "":
		return &InvalidError{"url", "the address must not carry a password or a #"}
	case u.Scheme == "http" && !privateHost(u.Hostname()):
		return &InvalidError{"url", "the address must begin with https; http is only for addresses inside a private network"}
	}
	return nil
}

// secretPrefix marks a secret of Standard Webhooks.
const secretPrefix = "whsec_"

var errBadSecret = &InvalidError{"secret", "a secret is whsec_ and base64 of 24 to 64 random bytes; leave it out and one is made"}

// signingSecret is the given secret if it is one of Standard Webhooks, or a new one
// for "".
func signingSecret(given string) (string, error) {
	if given == "" {
		var raw [32]byte
		_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
		return secretPrefix + base64.StdEncoding.EncodeToString(raw[:]), nil
	}
	text, marked := strings.CutPrefix(given, secretPrefix)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !marked || err != nil || len(raw) < 24 || len(raw) > 64 {
		return "", errBadSecret
	}
	return given, nil
}

// ErrSubscriptionOff says that nothing is delivered to a subscription now.
var ErrSubscriptionOff = errors.New("this subscription is switched off; switch it on first")

package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Flow is what other systems, messages and events start: the newest version of it.
type Flow struct {
	ID         int64
	Name       string
	Version    int
	IsActive   bool
	Definition json.RawMessage // as it was checked when it was put
	By         string          // who wrote this version
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

const flowRows = `
	select f.id, f.name, f.version, f.is_active, v.definition, v.by, f.created_at, f.updated_at
	from flow f join flow_version v on v.flow_id = f.id and v.version = f.version`

// Flows are all flows, by name.
func (s *Store) Flows(ctx context.Context) ([]Flow, error) {
	return many[Flow](ctx, s.pool, flowRows+` order by f.name`, nil)
}

// FlowsMark is another one whenever a flow came, went, was switched or has a new version.
func (s *Store) FlowsMark(ctx context.Context) (string, error) {
	var mark string
	err := s.pool.QueryRow(ctx, `select md5(coalesce(string_agg(format('%s %s %s', id, version, is_active), ',' order by id), '')) from flow`).Scan(&mark)
	return mark, err
}

// Flow is one flow, or ErrNotFound.
func (s *Store) Flow(ctx context.Context, id int64) (Flow, error) {
	return one[Flow](ctx, s.pool, flowRows+` where f.id = @id`, pgx.NamedArgs{"id": id})
}

// FlowNamed is the flow of that name, or ErrNotFound.
func (s *Store) FlowNamed(ctx context.Context, name string) (Flow, error) {
	return one[Flow](ctx, s.pool, flowRows+` where f.name = @name`, pgx.NamedArgs{"name": name})
}

// FlowVersion is a flow as its version says, or ErrNotFound.
func (s *Store) FlowVersion(ctx context.Context, id int64, version int) (Flow, error) {
	return one[Flow](ctx, s.pool, `
		select f.id, f.name, v.version, f.is_active, v.definition, v.by, f.created_at, v.at as updated_at
		from flow f join flow_version v on v.flow_id = f.id where f.id = @id and v.version = @version`,
		pgx.NamedArgs{"id": id, "version": version})
}

// FlowVersions are all versions of a flow, the newest first.
func (s *Store) FlowVersions(ctx context.Context, id int64) ([]Flow, error) {
	return many[Flow](ctx, s.pool, `
		select f.id, f.name, v.version, f.is_active, v.definition, v.by, f.created_at, v.at as updated_at
		from flow f join flow_version v on v.flow_id = f.id where f.id = @id order by v.version desc limit 100`, pgx.NamedArgs{"id": id})
}

// PutFlow makes a checked definition the newest version of the flow of that name, which
// is made if it is new. The same definition again changes nothing.
func (s *Store) PutFlow(ctx context.Context, name string, definition json.RawMessage, by string) (Flow, error) {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"name": name, "definition": definition, "by": by}
		if _, err := tx.Exec(ctx, `insert into flow (name, version) values (@name, 0) on conflict do nothing`, args); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			with old as (select id, version from flow where name = @name for update),
			f as (
			  update flow set version = old.version + 1, updated_at = clock() from old
			  where flow.id = old.id and not exists (
			    select from flow_version v where v.flow_id = old.id and v.version = old.version and v.definition = @definition::jsonb)
			  returning flow.id, flow.version)
			insert into flow_version (flow_id, version, definition, by) select id, version, @definition, @by from f`, args)
		return err
	})
	if err != nil {
		return Flow{}, err
	}
	return s.FlowNamed(ctx, name)
}

// SetFlowActive switches a flow on or off, or ErrNotFound. What runs goes on.
func (s *Store) SetFlowActive(ctx context.Context, id int64, active bool) error {
	return s.change(ctx, `update flow set is_active = @active, updated_at = clock() where id = @id`, pgx.NamedArgs{"id": id, "active": active})
}

// RemoveFlow forgets a flow with all its versions, webhooks and executions, or
// ErrNotFound.
func (s *Store) RemoveFlow(ctx context.Context, id int64) error {
	return s.change(ctx, `delete from flow where id = @id`, pgx.NamedArgs{"id": id})
}

// change runs a statement that changes a row, or ErrNotFound.
func (s *Store) change(ctx context.Context, statement string, args pgx.NamedArgs) error {
	done, err := s.pool.Exec(ctx, statement, args)
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// Webhook is an address that other systems call.
type Webhook struct {
	ID        string
	FlowID    int64
	Label     string
	Auth      string // none, bearer, basic, standard, github, stripe or hmac
	Header    string // hmac: where the signature stands
	Secret    []byte `json:"-"` // sealed; WebhookSecrets opens both
	OldSecret []byte `json:"-"` // sealed; still good beside Secret
	Quota     *int   // correctly signed requests in 60 s, instead of those of an address
	DeletedAt *time.Time
	CreatedAt time.Time
}

const webhookColumns = `id, flow_id, label, auth, header, secret, old_secret, quota, deleted_at, created_at`

// NewWebhookID is an id that nobody guesses: 128 bits and more.
func NewWebhookID() string { return strings.ToLower(rand.Text()) }

// Webhooks are those of a flow, or all (0), without deleted ones.
func (s *Store) Webhooks(ctx context.Context, flow int64) ([]Webhook, error) {
	return many[Webhook](ctx, s.pool, `
		select `+webhookColumns+` from webhook where deleted_at is null and (@flow = 0::bigint or flow_id = @flow) order by created_at, id`,
		pgx.NamedArgs{"flow": flow})
}

// Webhook is one webhook, also one that was deleted, or ErrNotFound.
func (s *Store) Webhook(ctx context.Context, id string) (Webhook, error) {
	return one[Webhook](ctx, s.pool, `select `+webhookColumns+` from webhook where id = @id`, pgx.NamedArgs{"id": clean(id)})
}

// WebhookFlow is a webhook with the flow that it starts, as it is now.
type WebhookFlow struct {
	Webhook

	Version int
	Active  bool
}

// WebhookFlow is what an address leads to, also one that was deleted, or ErrNotFound.
func (s *Store) WebhookFlow(ctx context.Context, id string) (WebhookFlow, error) {
	return one[WebhookFlow](ctx, s.pool, `
		select w.id, w.flow_id, w.label, w.auth, w.header, w.secret, w.old_secret, w.quota, w.deleted_at, w.created_at, f.version, f.is_active as active
		from webhook w join flow f on f.id = w.flow_id where w.id = @id`, pgx.NamedArgs{"id": clean(id)})
}

// ErrNoSecret says that a way of signing wants a secret.
var ErrNoSecret = errors.New("this kind of check wants a secret")

// PutWebhook adds a webhook or changes the one with its id. A nil secret leaves the old
// one; a new one has the old one stay good beside it, until ForgetOldSecret.
func (s *Store) PutWebhook(ctx context.Context, w Webhook, secret *string) (Webhook, error) {
	var sealed []byte
	if secret != nil {
		if s.keyring == nil {
			return w, ErrNoKey
		}
		var err error
		if sealed, err = s.keyring.Seal(webhookPlace(w.ID), []byte(*secret)); err != nil {
			return w, err
		}
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		w, err = one[Webhook](ctx, tx, `
			insert into webhook as w (id, flow_id, label, auth, header, secret, quota)
			values (@id, @flow, @label, @auth, @header, @secret, @quota)
			on conflict (id) do update set flow_id = excluded.flow_id, label = excluded.label, auth = excluded.auth, header = excluded.header,
			  quota = excluded.quota, old_secret = case when excluded.secret is null then w.old_secret else w.secret end,
			  secret = coalesce(excluded.secret, w.secret)
			returning `+webhookColumns,
			pgx.NamedArgs{"id": w.ID, "flow": w.FlowID, "label": clean(w.Label), "auth": w.Auth, "header": w.Header, "secret": sealed, "quota": w.Quota})
		if err == nil && w.Auth != "none" && w.Secret == nil {
			return ErrNoSecret
		}
		return err
	})
	return w, err
}

// ForgetOldSecret ends the life of the secret before the present one, or ErrNotFound.
func (s *Store) ForgetOldSecret(ctx context.Context, id string) error {
	return s.change(ctx, `update webhook set old_secret = null where id = @id`, pgx.NamedArgs{"id": id})
}

// RemoveWebhook has a webhook answer that it was deleted, or ErrNotFound.
func (s *Store) RemoveWebhook(ctx context.Context, id string) error {
	return s.change(ctx, `
		update webhook set deleted_at = clock(), secret = null, old_secret = null where id = @id and deleted_at is null`, pgx.NamedArgs{"id": id})
}

// WebhookSecrets are the secrets that are good now, the newest first.
func (s *Store) WebhookSecrets(w Webhook) ([]string, error) {
	return s.openAll(webhookPlace(w.ID), w.Secret, w.OldSecret)
}

func webhookPlace(id string) string { return "webhook:" + id }

// openAll opens what is not null.
func (s *Store) openAll(place string, sealed ...[]byte) (open []string, err error) {
	for _, one := range sealed {
		if one == nil {
			continue
		}
		if s.keyring == nil {
			return nil, ErrNoKey
		}
		text, err := s.keyring.Open(place, one)
		if err != nil {
			return nil, err
		}
		open = append(open, string(text))
	}
	return open, nil
}

// SetSecret keeps a secret that steps of flows name; an empty one removes it.
func (s *Store) SetSecret(ctx context.Context, name, value string) error {
	if value == "" {
		return s.change(ctx, `delete from secret where name = @name`, pgx.NamedArgs{"name": name})
	}
	if s.keyring == nil {
		return ErrNoKey
	}
	sealed, err := s.keyring.Seal(secretPlace(name), []byte(value))
	if err != nil {
		return err
	}
	return s.change(ctx, `
		insert into secret (name, value) values (@name, @value)
		on conflict (name) do update set value = excluded.value, updated_at = clock()`, pgx.NamedArgs{"name": name, "value": sealed})
}

// Secret is the secret of that name, or ErrNotFound.
func (s *Store) Secret(ctx context.Context, name string) (string, error) {
	sealed, err := column[[]byte](ctx, s.pool, `select value from secret where name = @name`, pgx.NamedArgs{"name": name})
	if err != nil {
		return "", err
	}
	open, err := s.openAll(secretPlace(name), sealed...)
	if err == nil && len(open) == 0 {
		return "", ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return open[0], nil
}

// SecretNames are the names of all secrets.
func (s *Store) SecretNames(ctx context.Context) ([]string, error) {
	return column[string](ctx, s.pool, `select name from secret order by name`, nil)
}

func secretPlace(name string) string { return "secret:" + name }

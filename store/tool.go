package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Tool is a call to a service of the house that a model may ask for.
type Tool struct {
	ID          int64
	AccountID   *int64 // nil: for all accounts
	Name        string
	Description string
	Parameters  json.RawMessage // JSON Schema of the arguments
	Method      string
	URL         string
	Headers     map[string]string // "{{secret}}" in a value stands for the secret
	Secret      []byte            `json:"-"` // sealed; OpenSecret opens it
	IsActive    bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

const toolColumns = `id, account_id, name, description, parameters, method, url, headers, secret, is_active, created_at, updated_at`

// Tools are the tools of one account and those for all of them; with account 0, every one.
func (s *Store) Tools(ctx context.Context, account int64) ([]Tool, error) {
	return many[Tool](ctx, s.pool, `
		select `+toolColumns+` from tool where @account = 0::bigint or account_id is null or account_id = @account order by name, id`,
		pgx.NamedArgs{"account": account})
}

// Tool is one tool, or ErrNotFound.
func (s *Store) Tool(ctx context.Context, id int64) (Tool, error) {
	return one[Tool](ctx, s.pool, `select `+toolColumns+` from tool where id = @id`, pgx.NamedArgs{"id": id})
}

// ErrToolExists says that the account has a tool of that name already.
var ErrToolExists = errors.New("there is a tool of this name already")

// PutTool adds a tool (ID 0) or changes one. A nil secret leaves the old one; an empty
// one removes it.
func (s *Store) PutTool(ctx context.Context, t Tool, secret *string) (Tool, error) {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		t, err = one[Tool](ctx, tx, `
			insert into tool (id, account_id, name, description, parameters, method, url, headers, is_active)
			overriding system value
			select coalesce(nullif(@id, 0::bigint), nextval(pg_get_serial_sequence('tool', 'id'))), @account, @name, @description, @parameters::jsonb,
			  @method, @url, @headers::jsonb, @active
			on conflict (id) do update set account_id = excluded.account_id, name = excluded.name, description = excluded.description,
			  parameters = excluded.parameters, method = excluded.method, url = excluded.url, headers = excluded.headers,
			  is_active = excluded.is_active, updated_at = clock()
			returning `+toolColumns,
			pgx.NamedArgs{
				"id": t.ID, "account": t.AccountID, "name": t.Name, "description": t.Description, "parameters": t.Parameters,
				"method": t.Method, "url": t.URL, "headers": t.Headers, "active": t.IsActive,
			})
		if err != nil || secret == nil {
			return err
		}
		if t.Secret = nil; *secret != "" {
			if t.Secret, err = s.sealTool(t.ID, *secret); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `update tool set secret = @secret where id = @id`, pgx.NamedArgs{"id": t.ID, "secret": t.Secret})
		return err
	})
	if breaks(err, "tool_name") {
		return t, ErrToolExists
	}
	return t, err
}

func (s *Store) sealTool(id int64, secret string) ([]byte, error) {
	if s.keyring == nil {
		return nil, ErrNoKey
	}
	return s.keyring.Seal(toolPlace(id), []byte(secret))
}

// OpenSecret is the secret of a tool; "": it has none.
func (s *Store) OpenSecret(t Tool) (string, error) {
	if t.Secret == nil {
		return "", nil
	}
	if s.keyring == nil {
		return "", ErrNoKey
	}
	open, err := s.keyring.Open(toolPlace(t.ID), t.Secret)
	return string(open), err
}

func toolPlace(id int64) string { return fmt.Sprintf("tool:%d:secret", id) }

// RemoveTool forgets a tool, or ErrNotFound.
func (s *Store) RemoveTool(ctx context.Context, id int64) error {
	done, err := s.pool.Exec(ctx, `delete from tool where id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// mostFacts is how many facts are remembered of one customer; the oldest go.
const mostFacts = 30

// Remember keeps a fact about a customer for one account.
func (s *Store) Remember(ctx context.Context, account, contact int64, fact string) error {
	_, err := s.pool.Exec(ctx, `
		with kept as (
		  insert into fact (account_id, contact_id, body) values (@account, @contact, @fact)
		  on conflict (account_id, contact_id, body) do update set at = clock())
		delete from fact where account_id = @account and contact_id = @contact and id not in (
		  select id from fact where account_id = @account and contact_id = @contact order by at desc, id desc limit @most - 1)`,
		pgx.NamedArgs{"account": account, "contact": contact, "fact": clean(fact), "most": mostFacts})
	return err
}

// ofContact are the rows of a contact and of those that turned out to be the same
// person, whichever of their ids is given.
func ofContact(id string) string {
	survivor := `(select coalesce(merged_into, id) from contact where id = ` + id + `)`
	return `contact_id in (select id from contact where id = ` + survivor + ` or merged_into = ` + survivor + `)`
}

// Facts are what is remembered of a customer, oldest first.
func (s *Store) Facts(ctx context.Context, account, contact int64) ([]string, error) {
	return column[string](ctx, s.pool, `
		select body from fact where account_id = @account and `+ofContact("@contact")+` order by at, id`,
		pgx.NamedArgs{"account": account, "contact": contact})
}

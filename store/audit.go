package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// AuditEntry is something that somebody did.
type AuditEntry struct {
	ID      int64
	At      time.Time
	By      string // a user, a token or "system"
	Action  string // such as account.remove
	Subject string // such as account:17
	Detail  map[string]any
}

// Audit writes down who did what to which row.
func (s *Store) Audit(ctx context.Context, by, action, subject string, detail any) error {
	return audit(ctx, s.pool, by, action, subject, detail)
}

func audit(ctx context.Context, q querier, by, action, subject string, detail any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	if string(text) == "null" {
		text = []byte("{}")
	}
	_, err = q.Exec(ctx, `insert into audit (by, action, subject, detail) values (@by, @action, @subject, @detail::jsonb)`,
		pgx.NamedArgs{"by": by, "action": action, "subject": subject, "detail": string(text)})
	return err
}

// AuditLog is what was done to a subject, or to all (""), newest first.
func (s *Store) AuditLog(ctx context.Context, subject string, p Page) ([]AuditEntry, error) {
	return many[AuditEntry](ctx, s.pool, `
		select id, at, by, action, subject, detail from audit
		where (@subject = '' or subject = @subject) and (@before = 0::bigint or id < @before) order by id desc limit @limit`,
		pgx.NamedArgs{"subject": subject, "before": p.Before, "limit": p.Limit})
}

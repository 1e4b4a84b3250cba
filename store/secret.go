package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// secrets are the columns that hold sealed values, and the place each is bound to.
var secrets = []struct{ table, column, place string }{
	{"provider", "api_key", "provider:%d:api_key"},
	{"account", "proxy", "account:%d:proxy"},
	{"tool", "secret", "tool:%d:secret"},
	{"subscription", "secret", "subscription:%d"},
	{"subscription", "old_secret", "subscription:%d"},
}

// RotateKeys seals every secret anew with the keyring's first key, all or none,
// and says how many there were.
func (s *Store) RotateKeys(ctx context.Context) (int, error) {
	if s.keyring == nil {
		return 0, ErrNoKey
	}
	rotated := 0
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, c := range secrets {
			n, err := s.rotate(ctx, tx, c.table, c.column, c.place)
			if err != nil {
				return err
			}
			rotated += n
		}
		return nil
	})
	return rotated, err
}

func (s *Store) rotate(ctx context.Context, tx pgx.Tx, table, column, format string) (int, error) {
	type sealed struct {
		ID     int64
		Secret []byte
	}
	rows, err := many[sealed](ctx, tx, fmt.Sprintf(`
		select id, %[2]s as secret from %[1]s where %[2]s is not null order by id for update`, table, column), nil)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		place := fmt.Sprintf(format, row.ID)
		open, err := s.keyring.Open(place, row.Secret)
		if err != nil {
			return 0, fmt.Errorf("open the %s of %s %d: %w", column, table, row.ID, err)
		}
		again, err := s.keyring.Seal(place, open)
		if err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`update %s set %s = @sealed where id = @id`, table, column),
			pgx.NamedArgs{"id": row.ID, "sealed": again}); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

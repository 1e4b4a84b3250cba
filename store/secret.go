package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// sealedColumn holds sealed values. Each is bound to its place, which its row's key names.
type sealedColumn struct{ table, key, column, place string }

var sealedColumns = []sealedColumn{
	{"provider", "id", "api_key", "provider:%s:api_key"},
	{"account", "id", "proxy", "account:%s:proxy"},
	{"tool", "id", "secret", "tool:%s:secret"},
	{"webhook", "id", "secret", "webhook:%s"},
	{"webhook", "id", "old_secret", "webhook:%s"},
	{"secret", "name", "value", "secret:%s"},
	{"subscription", "id", "secret", "subscription:%s"},
	{"subscription", "id", "old_secret", "subscription:%s"},
}

// RotateKeys seals every secret anew with the keyring's first key, all or none,
// and says how many there were.
func (s *Store) RotateKeys(ctx context.Context) (int, error) {
	if s.keyring == nil {
		return 0, ErrNoKey
	}
	rotated := 0
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for _, c := range sealedColumns {
			n, err := s.rotate(ctx, tx, c)
			if err != nil {
				return err
			}
			rotated += n
		}
		return nil
	})
	return rotated, err
}

func (s *Store) rotate(ctx context.Context, tx pgx.Tx, c sealedColumn) (int, error) {
	type sealed struct {
		Key    string
		Secret []byte
	}
	rows, err := many[sealed](ctx, tx, fmt.Sprintf(`
		select %[2]s::text as key, %[3]s as secret from %[1]s where %[3]s is not null order by %[2]s for update`, c.table, c.key, c.column), nil)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		place := fmt.Sprintf(c.place, row.Key)
		open, err := s.keyring.Open(place, row.Secret)
		if err != nil {
			return 0, fmt.Errorf("open the %s of %s %s: %w", c.column, c.table, row.Key, err)
		}
		again, err := s.keyring.Seal(place, open)
		if err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`update %s set %s = @sealed where %s::text = @key`, c.table, c.column, c.key),
			pgx.NamedArgs{"key": row.Key, "sealed": again}); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

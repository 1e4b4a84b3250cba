package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"frontdesk/migrations"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// migrationLock is the advisory lock that every process asks for before it
// touches a schema: "fd" and a number of our own.
const migrationLock = 0x6664_0001

// lockPoll is how often a process that waits for another's migration asks again.
const lockPoll = 100 * time.Millisecond

// Migrate brings our schema and whatsmeow's up to date, one process at a time.
// upgradeWhatsApp is whatsmeow's own upgrade (bot.Upgrade).
func (s *Store) Migrate(ctx context.Context, upgradeWhatsApp func(context.Context, *sql.DB) error) error {
	release, err := s.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	defer release()
	if _, err := s.pool.Exec(ctx, `create schema if not exists frontdesk; create schema if not exists whatsmeow`); err != nil {
		return fmt.Errorf("create schemas: %w", err)
	}
	if err := s.migrateOwn(ctx); err != nil {
		return fmt.Errorf("migrate schema frontdesk: %w", err)
	}
	if err := s.adoptEvents(ctx); err != nil {
		return fmt.Errorf("adopt the events of a dump: %w", err)
	}
	if err := upgradeWhatsApp(ctx, s.whatsDB); err != nil {
		return fmt.Errorf("migrate schema whatsmeow: %w", err)
	}
	return nil
}

// lockMigrations polls instead of queueing: a session that waits for an advisory
// lock inside a statement holds a snapshot, and "create index concurrently"
// waits for that snapshot.
func (s *Store) lockMigrations(ctx context.Context) (release func(), err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	for {
		if locked, err := tryMigrationLock(ctx, conn); err != nil || locked {
			return func() { unlockMigrations(ctx, conn) }, err
		}
		select {
		case <-ctx.Done():
			conn.Release()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

func tryMigrationLock(ctx context.Context, conn *pgxpool.Conn) (locked bool, err error) {
	err = conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, migrationLock).Scan(&locked)
	return locked, err
}

func unlockMigrations(ctx context.Context, conn *pgxpool.Conn) {
	defer conn.Release()
	_, _ = conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, migrationLock)
}

func (s *Store) migrateOwn(ctx context.Context) error {
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

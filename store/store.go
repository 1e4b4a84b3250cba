package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// Connections this process may hold at once, by purpose (architecture.md).
// Leases and doorbells take one more connection each.
const (
	poolSize         = 14
	whatsAppPoolSize = 10
)

// hastyPoolSize is for statements that need no flush of their own. What they wrote
// may be gone after a crash of Postgres itself, and that is harmless: an answer
// and the claim of a bubble are flushed by the commit that every send makes before
// its frame leaves (one log, in order), and marks are made again.
const hastyPoolSize = 6

// ErrNotFound says that no row answers to the id.
var ErrNotFound = errors.New("not found")

// Options say where the database is and how secrets are sealed.
type Options struct {
	DSN     string   // any Postgres ≥ 14
	Keyring *Keyring // seals provider keys; nil refuses to store any
	Log     *slog.Logger
}

// Store hands out records. Its methods may be called from any goroutine.
type Store struct {
	pool     *pgxpool.Pool
	hasty    *pgxpool.Pool // commits without waiting for the disk; see hastyPoolSize
	whatsApp *pgxpool.Pool
	whatsDB  *sql.DB
	leases   *pgxpool.Pool
	keyring  *Keyring
	log      *slog.Logger
}

// Open connects to the database and fails with a plain sentence when it is not
// there. It changes nothing; see Migrate.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{keyring: o.Keyring, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.pool, err = newPool(ctx, o.DSN, "frontdesk", poolSize); err != nil {
		return nil, err
	}
	if err := s.pool.Ping(ctx); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if s.hasty, err = newPool(ctx, o.DSN, "frontdesk", hastyPoolSize, "synchronous_commit", "off"); err != nil {
		return nil, err
	}
	// whatsmeow's own commits need no flush: ours, which follows each of them before
	// anything is acknowledged, flushes all that precedes it in the log. bot asks for
	// a flush where a ratchet must be safe before a frame leaves.
	if s.whatsApp, err = newPool(ctx, o.DSN, "whatsmeow", whatsAppPoolSize, "synchronous_commit", "off"); err != nil {
		return nil, err
	}
	if s.leases, err = newPool(ctx, o.DSN, "frontdesk", 1); err != nil {
		return nil, err
	}
	s.whatsDB = stdlib.OpenDBFromPool(s.whatsApp)
	return s, nil
}

// Close releases every connection. Later calls of any method fail.
func (s *Store) Close() {
	s.whatsDB.Close()
	s.whatsApp.Close()
	s.leases.Close()
	s.hasty.Close()
	s.pool.Close()
}

// WhatsApp is the database of whatsmeow's own tables: schema whatsmeow, on
// connections that nothing else uses.
func (s *Store) WhatsApp() *sql.DB { return s.whatsDB }

// Ping says whether the database answers now.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Now is the database's business clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.pool.QueryRow(ctx, `select clock()`).Scan(&now)
	return now, err
}

// Connections are how many of the pool's connections are in use, and its size.
func (s *Store) Connections() (used, limit int) {
	stat := s.pool.Stat()
	return int(stat.AcquiredConns()), int(stat.MaxConns())
}

// Skew moves the business clock of the whole installation by d, at once. For
// tests: it replaces the function clock.
func (s *Store) Skew(ctx context.Context, d time.Duration) error {
	_, err := s.pool.Exec(ctx, fmt.Sprintf(`
		create or replace function clock() returns timestamptz language sql stable as $$
		  select now() + interval '%d milliseconds' $$`, d.Milliseconds()))
	return err
}

// Setting is the value kept under name, or "" when there is none.
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.pool.QueryRow(ctx, `select value from setting where name = @name`, pgx.NamedArgs{"name": name}).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetSetting keeps value under name.
func (s *Store) SetSetting(ctx context.Context, name, value string) error {
	_, err := s.pool.Exec(ctx, `
		insert into setting (name, value) values (@name, @value)
		on conflict (name) do update set value = excluded.value`,
		pgx.NamedArgs{"name": name, "value": value})
	return err
}

func newPool(ctx context.Context, dsn, schema string, size int32, settings ...string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL is not an address of a Postgres database; it looks like postgres://user:password@host:5432/frontdesk")
	}
	c.MaxConns, c.MinConns = size, 0
	c.ConnConfig.RuntimeParams["search_path"] = schema
	c.ConnConfig.RuntimeParams["application_name"] = "frontdesk"
	c.ConnConfig.ConnectTimeout = 10 * time.Second
	for i := 0; i+1 < len(settings); i += 2 {
		c.ConnConfig.RuntimeParams[settings[i]] = settings[i+1]
	}
	return pgxpool.NewWithConfig(ctx, c)
}

// one reads a single row into a record by column names, or ErrNotFound.
func one[T any](ctx context.Context, q querier, query string, args pgx.NamedArgs) (T, error) {
	var none T
	rows, err := q.Query(ctx, query, args)
	if err != nil {
		return none, err
	}
	record, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return none, ErrNotFound
	}
	return record, err
}

// many reads every row into a record by column names.
func many[T any](ctx context.Context, q querier, query string, args pgx.NamedArgs) ([]T, error) {
	rows, err := q.Query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// column reads the only column of every row.
func column[T any](ctx context.Context, q querier, query string, args pgx.NamedArgs) ([]T, error) {
	rows, err := q.Query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Unstorable says that Postgres refuses what is in a row, however often it is tried:
// the data themselves (class 22) or what is too large for it (class 54).
func Unstorable(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "54"))
}

// Dangling says that what a row belongs to is gone.
func Dangling(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "23503"
}

// breaks says whether err is Postgres refusing a row because of constraint.
func breaks(err error, constraint string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.ConstraintName == constraint
}

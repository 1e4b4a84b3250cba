package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"

	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(quotaEnv); job != "" {
		if err := spend(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

// ring is shared by every store of these tests, as processes share a key file.
var ring = store.NewKeyring()

// open gives a store over a migrated database of its own, and its address.
func open(t testing.TB) (*store.Store, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	s := connect(t, dsn)
	must(t, s.Migrate(context.Background(), func(context.Context, *sql.DB) error { return nil }))
	return s, dsn
}

func connect(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Options{DSN: dsn, Keyring: ring})
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

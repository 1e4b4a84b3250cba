// Package pgtest gives tests a real Postgres, and each test a database of its
// own: advisory locks and notifications stop at a database's border.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store/pglocal"

	"github.com/jackc/pgx/v5"
)

var (
	server    *pglocal.Server // set by Main before any test runs
	databases atomic.Int64
)

// Main runs the tests of a package beside one Postgres and returns their exit
// code: func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "pgtest")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err = pglocal.Start(ctx, pglocal.Options{Dir: dir, Settings: map[string]string{
		"fsync": "off", "max_connections": "300", "log_min_messages": "fatal",
	}})
	if err != nil {
		return failed(err)
	}
	defer server.Stop(context.WithoutCancel(ctx))
	return m.Run()
}

// Database creates an empty database for this test and returns its address.
func Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	admin(t, "create database "+name)
	t.Cleanup(func() { admin(t, "drop database "+name+" with (force)") })
	return server.DSN(name)
}

func admin(t testing.TB, statement string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "pgtest:", err)
	return 1
}

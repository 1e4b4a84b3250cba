package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"frontdesk/bot"
	"frontdesk/store"
	"frontdesk/store/pglocal"
)

// databaseName is the database's name on the embedded server.
const databaseName = "frontdesk"

// database is an open store and the server under it, if that is ours.
type database struct {
	*store.Store
	dsn string

	mu       sync.Mutex
	server   *pglocal.Server // nil: somebody else's; guarded by mu
	stopping context.CancelFunc
	watching sync.WaitGroup
}

// openDatabase opens the database, starting our own where none is given. With
// join it uses the one that a running serve has started.
func openDatabase(ctx context.Context, s *Settings, log *slog.Logger, join bool) (*database, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, err
	}
	d := &database{dsn: s.DatabaseURL}
	if s.embedded() {
		if err := d.startOwn(ctx, s, join); err != nil {
			return nil, mendable(err)
		}
	}
	if d.server != nil {
		d.watch(ctx, s, log)
	}
	d.Store, err = store.Open(ctx, store.Options{DSN: d.dsn, Keyring: ring, Log: log})
	if err != nil {
		d.stopOwn(ctx)
		return nil, &settingsError{plainConnect(err) + "; check DATABASE_URL and that Postgres is running"}
	}
	return d, nil
}

// plainConnect says in one line why there is no connection; pgx says it once for
// each address that it tried.
func plainConnect(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		return fmt.Sprintf("connect to the database at %v: %v", op.Addr, op.Err)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func (d *database) startOwn(ctx context.Context, s *Settings, join bool) error {
	dir := s.postgresDir()
	if join {
		if dsn, ok := pglocal.Join(ctx, dir, databaseName); ok {
			d.dsn = dsn
			return nil
		}
	}
	if err := os.MkdirAll(s.DataDir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user and passes through
		return fmt.Errorf("make the data folder: %w; set FRONTDESK_DATA_DIR to one you may write", err)
	}
	server, err := launch(ctx, dir)
	if err != nil {
		return err
	}
	d.server = server
	if err := server.CreateDatabase(ctx, databaseName); err != nil {
		d.stopOwn(ctx)
		return err
	}
	d.dsn = server.DSN(databaseName)
	return nil
}

// migrate brings every schema up to date.
func (d *database) migrate(ctx context.Context) error { return d.Migrate(ctx, bot.Upgrade) }

func (d *database) close(ctx context.Context) {
	d.Close()
	d.stopOwn(ctx)
}

func (d *database) stopOwn(ctx context.Context) {
	if d.stopping != nil {
		d.stopping()
		d.watching.Wait()
	}
	if own := d.own(); own != nil {
		own.Stop(ctx)
	}
}

func (s *Settings) postgresDir() string { return filepath.Join(s.DataDir, "postgres") }

func launch(ctx context.Context, dir string) (*pglocal.Server, error) {
	return pglocal.Start(ctx, pglocal.Options{Dir: dir, Settings: map[string]string{"max_connections": "200"}})
}

func (d *database) own() *pglocal.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server
}

// restartPause is between two tries to start a Postgres that ended by itself.
const restartPause = time.Second

// watch starts our Postgres again whenever it ends by itself; connections come
// back by themselves, for its address stays.
func (d *database) watch(ctx context.Context, s *Settings, log *slog.Logger) {
	ctx, d.stopping = context.WithCancel(context.WithoutCancel(ctx))
	d.watching.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.own().Done():
			}
			log.ErrorContext(ctx, "Embedded Postgres ended by itself, starting it again")
			if !d.restart(ctx, s, log) {
				return
			}
		}
	})
}

// restart tries until Postgres runs again; false: the stop came first.
func (d *database) restart(ctx context.Context, s *Settings, log *slog.Logger) bool {
	for {
		server, err := launch(ctx, s.postgresDir())
		if err == nil {
			d.mu.Lock()
			d.server = server
			d.mu.Unlock()
			log.InfoContext(ctx, "Embedded Postgres runs again")
			return true
		}
		log.WarnContext(ctx, "Embedded Postgres not started yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return false
		case <-time.After(restartPause):
		}
	}
}

// mendable marks what people can mend on the machine.
func mendable(err error) error {
	var missing *pglocal.MissingError
	var locked *pglocal.LockedError
	var version *pglocal.VersionError
	var unreachable *pglocal.UnreachableError
	if errors.As(err, &missing) || errors.As(err, &locked) || errors.As(err, &version) || errors.As(err, &unreachable) ||
		errors.Is(err, fs.ErrPermission) {
		return &settingsError{err.Error()}
	}
	return err
}

// keyring reads the key that seals stored secrets. On the embedded database the
// first start makes one; with a database of one's own it must be there, because
// a new key could not open what another has sealed.
func (s *Settings) keyring() (*store.Keyring, error) {
	file := s.keyFile()
	ring, err := store.ReadKeyring(file)
	switch {
	case err == nil:
		return ring, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &settingsError{err.Error()}
	case !s.embedded() || s.SecretKeyFile != "":
		return nil, &settingsError{fmt.Sprintf("there is no secret key at %s: run 'frontdesk keys init', or set FRONTDESK_SECRET_KEY_FILE to the key you have", file)}
	}
	if err := os.MkdirAll(s.DataDir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user and passes through
		return nil, &settingsError{fmt.Sprintf("make the data folder: %v; set FRONTDESK_DATA_DIR to one you may write", err)}
	}
	return store.CreateKeyring(file)
}

func (s *Settings) keyFile() string {
	if s.SecretKeyFile != "" {
		return s.SecretKeyFile
	}
	return filepath.Join(s.DataDir, "secret.key")
}

// withStore runs do on the database of a running serve, or on one opened for it.
func withStore(ctx context.Context, s *Settings, do func(*database) error) error {
	d, err := openDatabase(ctx, s, slog.New(slog.DiscardHandler), true)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		d.close(ctx)
	}()
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return do(d)
}

type migrateCommand struct{}

// Run is frontdesk migrate.
func (migrateCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(*database) error {
		fmt.Println("The database is up to date.")
		return nil
	})
}

type keysCommand struct {
	Init keysInitCommand `cmd:"" help:"Create the secret key, unless there is one."`
}

type keysInitCommand struct{}

// Run is frontdesk keys init.
func (keysInitCommand) Run(s *Settings) error {
	if err := os.MkdirAll(filepath.Dir(s.keyFile()), 0o755); err != nil { //nolint:gosec // the key itself is 0600
		return err
	}
	if _, err := store.CreateKeyring(s.keyFile()); err != nil {
		return &settingsError{err.Error()}
	}
	fmt.Println("Created", s.keyFile()+". Keep a copy: without it, stored provider keys cannot be read.")
	return nil
}

package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say where the server keeps its data.
type Options struct {
	Dir      string            // absolute; the child's user must be able to reach it
	Settings map[string]string // of Postgres, beside our own
}

// Server is a running Postgres. It dies with this process.
type Server struct {
	dir    string
	child  *exec.Cmd
	unlock func()
	said   tail // its last words
	exited chan struct{}
	stop   sync.Once
}

// Start makes the database at first use, starts it and waits until it answers.
// What people can mend is a *MissingError, *LockedError, *VersionError or
// *UnreachableError.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{dir: o.Dir, exited: make(chan struct{})}
	installed, err := find(majorOfData(s.data()))
	if err != nil {
		return nil, within(err, o.Dir)
	}
	owner, name, err := childUser()
	if err != nil {
		return nil, err
	}
	if err := reachable(owner, name, o.Dir); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, installed.folder, owner); err != nil {
		return nil, err
	}
	if err := s.launch(installed.folder, owner, o.Settings); err != nil {
		s.unlock()
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	if err := s.awaitAnswer(ctx); err != nil {
		s.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return s, nil
}

// within completes a *VersionError with the folder it speaks of.
func within(err error, dir string) error {
	if v, ok := errors.AsType[*VersionError](err); ok {
		v.Dir = dir
	}
	return err
}

// Join is the address of database name on the server that another process runs
// in dir; ok says whether there is one that answers.
func Join(ctx context.Context, dir, name string) (dsn string, ok bool) {
	s := &Server{dir: dir}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // one that is not there says so at once
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(name))
	if err != nil {
		return "", false
	}
	return s.DSN(name), conn.Close(ctx) == nil
}

// CreateDatabase creates database name unless it exists.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize())
	return err
}

// DSN is the address of database name on this server.
func (s *Server) DSN(name string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s sslmode=disable", s.socket(), name)
}

// Done is closed when Postgres has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.exited }

// Stop ends Postgres, letting it write what it holds; when ctx ends first, at
// once. A second call only waits.
func (s *Server) Stop(ctx context.Context) {
	s.stop.Do(func() { _ = s.child.Process.Signal(syscall.SIGINT) })
	select {
	case <-s.exited:
	case <-ctx.Done():
		_ = s.child.Process.Signal(syscall.SIGQUIT)
		<-s.exited
	}
}

func (s *Server) data() string   { return filepath.Join(s.dir, "data") }
func (s *Server) socket() string { return socketFolder(s.dir) }

// prepare locks the folder and makes the database in it, if there is none.
func (s *Server) prepare(ctx context.Context, binaries string, owner *syscall.Credential) error {
	if err := ownFolders(owner, s.dir, s.socket()); err != nil {
		return fmt.Errorf("prepare the database in %s: %w", s.dir, err)
	}
	unlock, err := Lock(filepath.Join(s.dir, "lock"))
	if Held(err) {
		return &LockedError{Dir: s.dir}
	}
	if err != nil {
		return err
	}
	s.unlock = unlock
	if err = awaitFormer(ctx, s.data()); err == nil {
		err = s.initialize(ctx, binaries, owner)
	}
	if err != nil {
		unlock()
		return fmt.Errorf("prepare the database in %s: %w", s.dir, err)
	}
	return nil
}

// initialize runs initdb beside the final place and renames, so that a crash
// half way leaves nothing that looks like a database.
func (s *Server) initialize(ctx context.Context, binaries string, owner *syscall.Credential) error {
	if _, err := os.Stat(s.data()); err == nil {
		return nil
	}
	fresh := s.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(binaries, "initdb"), //nolint:gosec // the host's own Postgres
		"-D", fresh, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust")
	initdb.Dir = s.dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return os.Rename(fresh, s.data())
}

func (s *Server) launch(binaries string, owner *syscall.Credential, settings map[string]string) error {
	args := []string{"-D", s.data(), "-k", s.socket(), "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	s.child = exec.Command(filepath.Join(binaries, "postgres"), args...) //nolint:gosec,noctx // the host's own Postgres; Stop ends it
	s.child.Dir = s.dir
	s.child.SysProcAttr = attributes(owner)
	s.child.Stdout, s.child.Stderr = &s.said, &s.said
	started := make(chan error)
	go s.keep(started)
	return <-started
}

// keep owns the child. The kernel sends Pdeathsig when the starting thread ends,
// so the thread is held until the child is gone.
func (s *Server) keep(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.child.Start()
	started <- err
	if err == nil {
		_ = s.child.Wait() // how it ended does not matter; that it ended does
		s.unlock()
		close(s.exited)
	}
}

func (s *Server) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("start Postgres: it ended at once: %s", strings.TrimSpace(s.said.String()))
		case <-ctx.Done():
			return fmt.Errorf("wait for Postgres to answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail keeps the last kilobyte written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-1024):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	exited chan struct{}
	stop   sync.Once
}

// Start makes the database at first use, starts it and waits until it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	binaries, err := Find()
	if err != nil {
		return nil, err
	}
	owner, err := childUser()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: o.Dir, exited: make(chan struct{})}
	if err := s.prepare(ctx, binaries, owner); err != nil {
		return nil, fmt.Errorf("prepare the database in %s: %w", o.Dir, err)
	}
	if err := s.launch(binaries, owner, o.Settings); err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	if err := s.awaitAnswer(ctx); err != nil {
		s.Stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return s, nil
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
func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

// prepare runs initdb beside the final place and renames, so that a crash half
// way leaves nothing that looks like a database.
func (s *Server) prepare(ctx context.Context, binaries string, owner *syscall.Credential) error {
	if err := ownFolders(owner, s.dir, s.socket()); err != nil {
		return err
	}
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
			return errors.New("start Postgres: it ended at once; is another frontdesk using this folder, or was it made by another Postgres version?")
		case <-ctx.Done():
			return fmt.Errorf("wait for Postgres to answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ownFolders(owner *syscall.Credential, folders ...string) error {
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if owner == nil {
			continue
		}
		if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

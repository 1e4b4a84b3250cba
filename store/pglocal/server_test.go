package pglocal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestDataSurvivesAStop(t *testing.T) {
	dir := folder(t)
	s := start(t, dir)
	ask(t, s.DSN("postgres"), "create table kept (n int)")
	s.Stop(t.Context())
	s = start(t, dir)
	ask(t, s.DSN("postgres"), "insert into kept values (1)")
}

func TestDataSurvivesAKilledPostgres(t *testing.T) {
	dir := folder(t)
	s := start(t, dir)
	ask(t, s.DSN("postgres"), "create table kept (n int)")
	if err := s.child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	s = start(t, dir)
	ask(t, s.DSN("postgres"), "insert into kept values (1)")
}

func TestSecondServerInAFolderIsRefused(t *testing.T) {
	dir := folder(t)
	start(t, dir)
	_, err := Start(t.Context(), Options{Dir: dir})
	if _, ok := errors.AsType[*LockedError](err); !ok || !strings.Contains(err.Error(), "FRONTDESK_DATA_DIR") {
		t.Errorf("second server: %v, want a *LockedError that says what to do", err)
	}
}

func TestOthersJoinARunningServer(t *testing.T) {
	dir := folder(t)
	if dsn, ok := Join(t.Context(), dir, "postgres"); ok {
		t.Errorf("joined %q where nothing runs", dsn)
	}
	s := start(t, dir)
	for range 2 {
		if err := s.CreateDatabase(t.Context(), "frontdesk"); err != nil {
			t.Fatal(err)
		}
	}
	dsn, ok := Join(t.Context(), dir, "frontdesk")
	if !ok {
		t.Fatal("a running server was not found")
	}
	ask(t, dsn, "select 1")
}

func TestDataOfAnotherVersionIsLeftAlone(t *testing.T) {
	dir := folder(t)
	data := filepath.Join(dir, "data")
	must(t, os.MkdirAll(data, 0o700))
	must(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600))
	_, err := Start(t.Context(), Options{Dir: dir})
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Data != "9" || v.Dir != dir {
		t.Errorf("data of Postgres 9: %v, want a *VersionError", err)
	}
	if entries, _ := os.ReadDir(data); len(entries) != 1 {
		t.Errorf("%d entries in the data, want the one that was there", len(entries))
	}
}

func TestPostmasterFileOfAnotherProgramIsStale(t *testing.T) {
	dir := folder(t)
	s := start(t, dir)
	s.Stop(t.Context())
	stranger := exec.CommandContext(t.Context(), "sleep", "60")
	must(t, stranger.Start())
	defer stranger.Wait()
	defer stranger.Process.Kill()
	pid := filepath.Join(dir, "data", "postmaster.pid")
	must(t, os.WriteFile(pid, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"+dir+"/data\n"), 0o600))
	start(t, dir)
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program was touched: %v", err)
	}
}

func TestDeepFolderGetsAShortSocket(t *testing.T) {
	dir := filepath.Join(folder(t), strings.Repeat("deep/", 20), "end")
	s := start(t, dir)
	ask(t, s.DSN("postgres"), "select 1")
	t.Cleanup(func() { os.RemoveAll(s.socket()) })
}

func TestFolderThatPostgresCannotEnterIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root runs Postgres as somebody else; nothing to refuse")
		return
	}
	closed := filepath.Join(folder(t), "closed")
	must(t, os.Mkdir(closed, 0o700))
	_, err := Start(t.Context(), Options{Dir: filepath.Join(closed, "inside")})
	if u, ok := errors.AsType[*UnreachableError](err); !ok || u.Folder != closed {
		t.Errorf("folder behind a closed one: %v, want an *UnreachableError that names it", err)
	}
}

func TestMissingBinariesAreNamedWithTheWayOut(t *testing.T) {
	err := error(&MissingError{})
	for _, want := range []string{"install", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	must(t, err)
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// folder is one that the user postgres can enter, which t.TempDir is not.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pglocal") //nolint:usetesting // t.TempDir cannot be entered by another user
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func ask(t *testing.T, dsn, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), statement)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

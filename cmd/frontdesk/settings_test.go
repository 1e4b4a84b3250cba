package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatPeopleCanMendIsSaidInOneSentenceAndExitsWithTwo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.key")
	must(t, os.WriteFile(broken, []byte("not a key\n"), 0o600))
	taken := freePort(t)
	r := newRig(t, nil)
	r.env = append(r.env, "FRONTDESK_LISTEN="+taken)
	r.start()

	for name, c := range map[string]struct {
		env  []string
		says []string
	}{
		"several wrong settings": {
			[]string{"FRONTDESK_LISTEN=4000", "FRONTDESK_PUBLIC_URL=desk", "FRONTDESK_LIMIT_ACCOUNTS=0"},
			[]string{"FRONTDESK_LISTEN", "FRONTDESK_PUBLIC_URL", "FRONTDESK_LIMIT_ACCOUNTS is 0, not at least 1"},
		},
		"a limit that is no number": {[]string{"FRONTDESK_LIMIT_TURNS=many"}, []string{"turns"}},
		"an unreadable DATABASE_URL": {
			[]string{"DATABASE_URL=http://nowhere", "FRONTDESK_SECRET_KEY_FILE=" + keyFile(t, dir)},
			[]string{"DATABASE_URL", "postgres://user:password@host:5432/frontdesk"},
		},
		"a database that is not there": {
			[]string{"DATABASE_URL=postgres://frontdesk@" + freePort(t) + "/frontdesk", "FRONTDESK_SECRET_KEY_FILE=" + keyFile(t, dir)},
			[]string{"connect to the database at", "check DATABASE_URL"},
		},
		"no secret key beside DATABASE_URL": {
			[]string{"DATABASE_URL=postgres://frontdesk@localhost/frontdesk", "FRONTDESK_SECRET_KEY_FILE=" + filepath.Join(dir, "none.key")},
			[]string{"there is no secret key", "frontdesk keys init"},
		},
		"a damaged secret key":    {[]string{"FRONTDESK_SECRET_KEY_FILE=" + broken}, []string{"broken.key"}},
		"a folder as secret key":  {[]string{"FRONTDESK_SECRET_KEY_FILE=" + dir}, []string{dir}},
		"a port in use":           {[]string{"FRONTDESK_LISTEN=" + taken}, []string{"listen on " + taken, "FRONTDESK_LISTEN"}},
		"a second frontdesk here": {[]string{"FRONTDESK_DATA_DIR=" + r.dir}, []string{"postgres"}},
		"a file as data folder":   {[]string{"FRONTDESK_DATA_DIR=" + broken}, []string{"FRONTDESK_DATA_DIR"}},
		"WhatsApp without its key": {
			[]string{"FRONTDESK_WHATSAPP_URL=ws://127.0.0.1:1/ws/chat"}, []string{"FRONTDESK_WHATSAPP_CERT_KEY", "set both or none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, said := tried(t, c.env)
			if code != exitSettings || strings.Count(said, "\n") != 1 {
				t.Fatalf("exit code %d, and %q", code, said)
			}
			for _, word := range c.says {
				if !strings.Contains(said, word) {
					t.Errorf("%q does not name %q", said, word)
				}
			}
		})
	}
}

// tried starts frontdesk in vain and returns its exit code and what it said.
func tried(t *testing.T, env []string) (code int, said string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "frontdesk") //nolint:usetesting // short enough for a socket, and open to Postgres' own user
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o755))
	c := exec.CommandContext(deadline(t, time.Minute), binary)
	c.Env = append(append(os.Environ(), "DATABASE_URL=", "FRONTDESK_LISTEN=127.0.0.1:0", "FRONTDESK_DATA_DIR="+dir, "FRONTDESK_SANDBOX=off"), env...)
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	exit, failed := errors.AsType[*exec.ExitError](c.Run())
	if !failed {
		t.Fatalf("frontdesk started, and said %s", output.String())
	}
	return exit.ExitCode(), output.String()
}

// keyFile makes a secret key.
func keyFile(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "good.key")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	c := exec.CommandContext(deadline(t, time.Minute), binary, "keys", "init")
	c.Env = append(os.Environ(), "FRONTDESK_SECRET_KEY_FILE="+path, "FRONTDESK_DATA_DIR="+dir)
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return path
}

func TestHelpersOfACommandLineWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	for args, says := range map[string]string{
		"version":                              "frontdesk",
		"accounts list":                        "STATUS",
		"providers list":                       "demo",
		"migrate":                              "",
		"tokens create --name x --role viewer": "fd_",
		"evaluate --kind complaint":            "HANDED OFF",
		"--help":                               "Answers customers on WhatsApp",
	} {
		if said := r.command(strings.Fields(args)...); !strings.Contains(said, says) {
			t.Errorf("frontdesk %s said %q", args, said)
		}
	}
}

func TestKnowledgeOfAFolderIsAddedAndReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	folder := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, "prices"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "hours.md"), []byte("# Hours\n\nFrom nine."), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "prices", "cuts.txt"), []byte("A cut costs 30."), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "prices", "hours.md"), []byte("# Prices by hour"), 0o600))
	must(t, os.Symlink(filepath.Join(folder, "hours.md"), filepath.Join(folder, "linked.md")))
	must(t, os.Mkdir(filepath.Join(folder, "empty"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "logo.png"), []byte("\x89PNG\r\n\x1a\n"), 0o600))
	for _, word := range []string{"Added", "Replaced"} {
		if said := r.command("knowledge", "add", folder); strings.Count(said, word) != 4 || !strings.Contains(said, "prices/hours") {
			t.Errorf("%s: %s", word, said)
		}
	}
	eventually(t, time.Minute, "the documents to be indexed", func() bool { return strings.Count(r.command("knowledge", "list"), "ready") == 4 })
	for says, paths := range map[string][]string{
		"missing.md":                  {"missing.md"},
		"image/png is not read":       {"logo.png"},
		"holds no file":               {"empty"},
		`has the same title, "hours"`: {"hours.md", "prices/hours.md"},
	} {
		c := exec.CommandContext(deadline(t, time.Minute), binary, append([]string{"knowledge", "add"}, paths...)...)
		c.Env, c.Dir = r.env, folder
		said, err := c.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitSettings || !strings.Contains(string(said), says) {
			t.Errorf("%q: %v: %s", paths, err, said)
		}
	}
}

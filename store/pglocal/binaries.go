package pglocal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// MissingError says that this machine has no Postgres binaries, and what to do.
type MissingError struct{}

func (*MissingError) Error() string {
	return "no Postgres binaries found: install them (" + installation() + ") or set DATABASE_URL to a database of your own"
}

func installation() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql"
	}
	return "apt-get install postgresql"
}

// VersionError says that the data was made by a Postgres that is not installed.
// The data is left as it is.
type VersionError struct {
	Dir   string // of the data
	Data  string // its major version
	Found string // the major version that is installed
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the database in %s was made by Postgres %s, but only Postgres %s is installed: install Postgres %s, or move the data with pg_dumpall; nothing was changed",
		e.Dir, e.Data, e.Found, e.Data)
}

// binaries are the folder of one Postgres and its major version.
type binaries struct{ folder, major string }

// Find is the folder of the newest Postgres of this machine, or a *MissingError.
func Find() (folder string, err error) {
	found, err := find("")
	return found.folder, err
}

// find prefers the major version that made the data; "" takes the newest.
func find(major string) (binaries, error) {
	var newest binaries
	for _, folder := range places() {
		if !isExecutable(filepath.Join(folder, "initdb")) || !isExecutable(filepath.Join(folder, "postgres")) {
			continue
		}
		b := binaries{folder, majorOf(folder)}
		if major == "" || b.major == major {
			return b, nil
		}
		if newest.folder == "" {
			newest = b
		}
	}
	if newest.folder == "" {
		return newest, &MissingError{}
	}
	return newest, &VersionError{Data: major, Found: newest.major}
}

// places are the folders where Postgres is usually found, the newest first.
func places() []string {
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"} {
		folders, _ := filepath.Glob(pattern) // errors only on a malformed pattern
		slices.Reverse(folders)
		found = append(found, folders...)
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		found = append(found, filepath.Dir(initdb))
	}
	return found
}

var versionNumber = regexp.MustCompile(`\d+`)

func majorOf(folder string) string {
	out, err := exec.Command(filepath.Join(folder, "postgres"), "--version").Output() //nolint:gosec,noctx // the host's own Postgres; answers at once
	if err != nil {
		return ""
	}
	return versionNumber.FindString(string(out))
}

// majorOfData is the version that made the data, "" when there is none yet.
func majorOfData(data string) string {
	version, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(version))
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

package pglocal

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

// MissingError says that this machine has no Postgres binaries, and what to do.
type MissingError struct{}

func (*MissingError) Error() string {
	install := "apt-get install postgresql"
	if runtime.GOOS == "darwin" {
		install = "brew install postgresql"
	}
	return "no Postgres binaries found: install them (" + install + ") or set DATABASE_URL to a database of your own"
}

// Find is the folder that holds initdb and postgres, the newest version first,
// or a *MissingError.
func Find() (folder string, err error) {
	for _, folder := range places() {
		if isExecutable(filepath.Join(folder, "initdb")) && isExecutable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", &MissingError{}
}

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

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

package pglocal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// longestSocket is what the shortest of the kernels takes as a socket's path.
const longestSocket = 103

// Socket is the folder of the socket that the database in dir listens on.
func Socket(dir string) string { return socketFolder(dir) }

// socketFolder is where the socket of the database in dir lives: inside it, or
// under the system's folder for temporary files when that path is too long.
func socketFolder(dir string) string {
	folder := filepath.Join(dir, "socket")
	if len(folder)+len("/.s.PGSQL.5432") <= longestSocket {
		return folder
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), "frontdesk-"+hex.EncodeToString(sum[:8]))
}

// ownFolders makes folders that only owner enters. One that exists already and
// is somebody else's is refused: whoever made it could read along.
func ownFolders(owner *syscall.Credential, folders ...string) error {
	uid := os.Geteuid()
	if owner != nil {
		uid = int(owner.Uid)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil { //nolint:gosec // the owner of folder passes through
			return err
		}
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if owner != nil {
			if err := os.Lchown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		info, err := os.Lstat(folder)
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != uid {
			return fmt.Errorf("%s belongs to somebody else; remove it", folder)
		}
		if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder needs to be entered
			return err
		}
	}
	return nil
}

// UnreachableError says that the user Postgres runs as cannot enter a folder on
// the way to its data.
type UnreachableError struct{ User, Folder string }

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("Postgres runs as the user %s here, who cannot enter %s: set FRONTDESK_DATA_DIR to a folder outside it, such as /var/lib/frontdesk",
		e.User, e.Folder)
}

// reachable checks every folder above dir for owner.
func reachable(owner *syscall.Credential, name, dir string) error {
	if owner == nil {
		return nil
	}
	for folder := filepath.Dir(dir); ; folder = filepath.Dir(folder) {
		if !enters(owner, folder) {
			return &UnreachableError{User: name, Folder: folder}
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func enters(owner *syscall.Credential, folder string) bool {
	info, err := os.Stat(folder)
	if err != nil {
		return true // not made yet: it will be ours
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !ok:
		return true
	case stat.Uid == owner.Uid:
		return mode&0o100 != 0
	case stat.Gid == owner.Gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

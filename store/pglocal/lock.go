package pglocal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// LockedError says that another process holds a folder.
type LockedError struct{ Dir string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("another frontdesk is running on %s: stop it first, or set FRONTDESK_DATA_DIR to another folder", e.Dir)
}

// errHeld says that another process holds a lock file.
var errHeld = errors.New("held by another process")

// Lock holds the file at path until unlock is called or this process ends, in
// whatever way. errHeld, wrapped, when another process has it.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, errHeld)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// Held says whether err is Lock finding another holder.
func Held(err error) bool { return errors.Is(err, errHeld) }

package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	spoolPattern = "upload-*.spool"
	roomTime     = 10 * time.Second // after which a full spool or disk may have room
)

// spool is a folder for files on their way in. What all of them take is bounded.
type spool struct {
	folder string
	bytes  budget
	create func() (*os.File, error)
}

func newSpool(folder string, most int64) *spool {
	s := &spool{folder: folder, bytes: budget{most: most}}
	s.create = func() (*os.File, error) { return os.CreateTemp(s.folder, spoolPattern) }
	return s
}

// sweep makes the folder, and removes what a process that died has left in it. Files that
// another process is reading stay readable for it.
func (s *spool) sweep() error {
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(s.folder, spoolPattern))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// parcel is the part of the spool that belongs to one request: one file, in which the
// request's files stand one behind the other.
type parcel struct {
	file *os.File
	room share
}

func (s *spool) open() (*parcel, error) {
	file, err := s.create()
	if err != nil {
		return nil, noSpace(fmt.Errorf("make a file in the spool: %w", err))
	}
	return &parcel{file: file, room: share{of: &s.bytes}}, nil
}

// Write adds bytes as long as there is room.
func (p *parcel) Write(b []byte) (int, error) {
	if !p.room.take(int64(len(b))) {
		return 0, errSpoolFull
	}
	n, err := p.file.Write(b)
	if err != nil {
		err = noSpace(fmt.Errorf("write to the spool: %w", err))
	}
	return n, err
}

// remove leaves nothing behind. It may be called more than once.
func (p *parcel) remove() {
	_ = p.file.Close()
	_ = os.Remove(p.file.Name())
	p.room.giveBack()
}

// ReadAt is for the files of the request.
func (p *parcel) ReadAt(b []byte, at int64) (int, error) { return p.file.ReadAt(b, at) }

var _ io.ReaderAt = (*parcel)(nil)

var errSpoolFull = later(http.StatusServiceUnavailable, roomTime, "no_space", "Too many uploads are under way; nothing was accepted, send it again in a moment")

// noSpace tells a full disk, which others mend, from all else.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return later(http.StatusServiceUnavailable, roomTime, "no_space", "There is no room for uploads now; nothing was accepted, send it again in a moment")
	}
	return &ownError{err}
}

// ownError is a fault of this side, whatever the sender did.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Upload is a file that comes from somewhere.
type Upload struct {
	From  io.Reader // what can be read again from its beginning needs no room on this disk
	Label string    // as its sender calls it
	Most  int64     // bytes
}

// What can be wrong with an upload.
var (
	ErrFileTooLarge = errors.New("the file is too large")
	ErrFileEmpty    = errors.New("the file is empty")
	ErrBrokenOff    = errors.New("the file broke off on its way")
)

// KeepFile puts a file in its place, looks at what it is and records it. It is never
// held in memory.
func (s *Store) KeepFile(ctx context.Context, files Files, u Upload) (File, error) {
	from, again := u.From.(io.ReadSeeker)
	if !again {
		beside, err := os.CreateTemp("", "frontdesk-upload-*")
		if err != nil {
			return File{}, err
		}
		defer os.Remove(beside.Name())
		defer beside.Close()
		if _, err := io.Copy(beside, io.LimitReader(u.From, u.Most+1)); err != nil {
			return File{}, fmt.Errorf("%w: %w", ErrBrokenOff, err)
		}
		from = beside
	}
	f, err := lookAt(from, u)
	if err != nil {
		return File{}, err
	}
	if err := files.Put(ctx, f.Name, from, f.Bytes); err != nil {
		return File{}, err
	}
	return s.AddFile(ctx, f)
}

// lookAt reads a file once and leaves it at its beginning.
func lookAt(from io.ReadSeeker, u Upload) (File, error) {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return File{}, err
	}
	head, err := io.ReadAll(io.LimitReader(from, SniffLength))
	if err != nil {
		return File{}, err
	}
	sum := sha256.New()
	sum.Write(head)
	rest, err := io.Copy(sum, io.LimitReader(from, u.Most+1))
	n := int64(len(head)) + rest
	switch {
	case err != nil:
		return File{}, err
	case n > u.Most:
		return File{}, ErrFileTooLarge
	case n == 0:
		return File{}, ErrFileEmpty
	}
	label := CleanLabel(u.Label)
	_, err = from.Seek(0, io.SeekStart)
	return File{Name: NewFileName(), Label: label, Mime: MimeOf(head, label), Bytes: n, SHA256: sum.Sum(nil)}, err
}

// CleanLabel is a file name without folders and without what is no letter; "" for
// nothing that is left.
func CleanLabel(name string) string {
	name = filepath.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > 150 {
		name = string(runes[:150])
	}
	return strings.Trim(name, ". /")
}

// Natural is the kind of message that a file makes on WhatsApp unless somebody asks for
// another.
func (f File) Natural() string {
	top, _, _ := strings.Cut(f.Mime, "/")
	switch {
	case f.Mime == "image/jpeg", f.Mime == "image/png":
		return "image"
	case f.Mime == "video/mp4":
		return "video"
	case top == "audio":
		return "audio"
	}
	return "document"
}

// ForgetFile removes a file that nothing speaks of.
func (s *Store) ForgetFile(ctx context.Context, files Files, f File) error {
	if _, err := s.pool.Exec(ctx, `delete from file where id = $1`, f.ID); err != nil {
		return err
	}
	return files.Remove(ctx, f.Name)
}

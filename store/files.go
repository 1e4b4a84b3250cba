package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Files keeps what is too large for rows: pictures, voice notes, documents. Names
// are ours and random. Its methods may be called from any goroutine.
type Files interface {
	// Put keeps size bytes of r under name; they are safe when it returns.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Open reads a file from its beginning; ErrNotFound when there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Remove forgets a file. One that is not there is no error.
	Remove(ctx context.Context, name string) error
}

// NewFileName is a random name for a file.
func NewFileName() string { return strings.ToLower(rand.Text()) }

// OpenFiles is the place at an address: a folder, which is made if it is missing,
// or s3://key:secret@host:port/bucket, with ?tls=off for a server of one's own.
func OpenFiles(address string) (Files, error) {
	if !strings.HasPrefix(address, "s3://") {
		return folder(address), os.MkdirAll(address, 0o700)
	}
	u, err := url.Parse(address)
	bucket := ""
	if err == nil {
		bucket = strings.Trim(u.Path, "/")
	}
	if err != nil || u.Host == "" || bucket == "" || strings.Contains(bucket, "/") {
		return nil, errors.New("an address of files looks like s3://key:secret@host/bucket, or is a folder")
	}
	keys := credentials.NewEnvAWS()
	if secret, ok := u.User.Password(); ok {
		keys = credentials.NewStaticV4(u.User.Username(), secret, "")
	}
	client, err := minio.New(u.Host, &minio.Options{Creds: keys, Secure: u.Query().Get("tls") != "off"})
	if err != nil {
		return nil, fmt.Errorf("address of files: %w", err)
	}
	return &objects{client, bucket}, nil
}

// folder keeps files on this machine, a folder for each beginning of a name.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), name[:2], name) }

func (f folder) Put(_ context.Context, name string, r io.Reader, size int64) error {
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o700); err != nil {
		return err
	}
	beside, err := os.CreateTemp(filepath.Dir(f.path(name)), "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name())
	n, err := io.Copy(beside, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = beside.Sync()
	}
	if err := errors.Join(err, beside.Close()); err != nil {
		return err
	}
	if err := os.Rename(beside.Name(), f.path(name)); err != nil {
		return err
	}
	return errors.Join(syncFolder(filepath.Dir(f.path(name))), syncFolder(string(f)))
}

// syncFolder makes the names in a folder safe.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return file, err
}

func (f folder) Remove(_ context.Context, name string) error {
	if err := os.Remove(f.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// objects keeps files in a bucket of an S3-compatible store.
type objects struct {
	client *minio.Client
	bucket string
}

func (o *objects) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	_, err := o.client.PutObject(ctx, o.bucket, name, r, size, minio.PutObjectOptions{})
	return err
}

func (o *objects) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := o.client.GetObject(ctx, o.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := object.Stat(); err != nil {
		object.Close()
		if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
			return nil, ErrNotFound
		}
		return nil, err
	}
	return object, nil
}

func (o *objects) Remove(ctx context.Context, name string) error {
	return o.client.RemoveObject(ctx, o.bucket, name, minio.RemoveObjectOptions{})
}

// filesMarker is a file that tells one place of files from another.
const filesMarker = "frontdesk-files"

// OtherFilesError says that this process does not see the files of the others.
type OtherFilesError struct{ cause error }

func (e *OtherFilesError) Error() string {
	says := "this is not where the other processes keep their files: give all of them the same FRONTDESK_FILES_URL, a folder that they share or s3://…"
	if e.cause != nil {
		says += " (" + e.cause.Error() + ")"
	}
	return says
}

// CheckFiles makes sure that files belongs to this installation: a marker in it has
// the installation's id. A place without a marker gets one, unless others are at
// work already: then it is a *OtherFilesError.
func (s *Store) CheckFiles(ctx context.Context, files Files, p Process) error {
	var id string
	err := s.pool.QueryRow(ctx, `
		with made as (insert into setting (name, value) values ('files_id', $1) on conflict (name) do nothing returning value)
		select value from made union all select value from setting where name = 'files_id' limit 1`, rand.Text()).Scan(&id)
	if err != nil {
		return err
	}
	found, err := readMarker(ctx, files)
	switch {
	case err == nil && found == id:
		return nil
	case err == nil:
		return &OtherFilesError{}
	case !errors.Is(err, ErrNotFound):
		return &OtherFilesError{err}
	}
	var others int
	if err := s.pool.QueryRow(ctx, `
		select count(*) from process where id <> $1 and kind = $2 and seen_at > clock() - interval '12 seconds'`, p.ID, p.Kind).Scan(&others); err != nil {
		return err
	}
	if others > 0 {
		return &OtherFilesError{}
	}
	if err := files.Put(ctx, filesMarker, strings.NewReader(id), int64(len(id))); err != nil {
		return &OtherFilesError{err}
	}
	return nil
}

func readMarker(ctx context.Context, files Files) (string, error) {
	r, err := files.Open(ctx, filesMarker)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, 100))
	return string(text), err
}

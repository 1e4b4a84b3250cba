package store_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/jackc/pgx/v5"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// places are a folder and a bucket of an S3 store on loopback.
func places(t *testing.T) map[string]string {
	t.Helper()
	backend := s3mem.New()
	must(t, backend.CreateBucket("desk"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	return map[string]string{
		"folder": t.TempDir(),
		"s3":     "s3://key:secret@" + strings.TrimPrefix(server.URL, "http://") + "/desk?tls=off",
	}
}

func TestFilesAreKeptUntilTheyAreRemoved(t *testing.T) {
	for kind, address := range places(t) {
		t.Run(kind, func(t *testing.T) {
			files, err := store.OpenFiles(address)
			must(t, err)
			name, text := store.NewFileName(), strings.Repeat("frontdesk ", 100_000)
			must(t, files.Put(t.Context(), name, strings.NewReader(text), int64(len(text))))
			r, err := files.Open(t.Context(), name)
			must(t, err)
			found, err := io.ReadAll(r)
			must(t, errors.Join(err, r.Close()))
			if string(found) != text {
				t.Errorf("%d bytes came back, want %d", len(found), len(text))
			}
			must(t, files.Remove(t.Context(), name))
			must(t, files.Remove(t.Context(), name))
			if _, err := files.Open(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a removed file gives %v", err)
			}
			if err := files.Put(t.Context(), name, strings.NewReader("short"), 10); err == nil {
				t.Error("a file that broke off was kept")
			}
		})
	}
}

func TestProcessWithFilesOfItsOwnIsRefused(t *testing.T) {
	for kind, address := range places(t) {
		t.Run(kind, func(t *testing.T) {
			s, dsn := open(t)
			shared, err := store.OpenFiles(address)
			must(t, err)
			first := store.Process{ID: "first", Kind: store.KindWhatsApp, Cap: 100}
			second := store.Process{ID: "second", Kind: store.KindWhatsApp, Cap: 100}
			must(t, s.CheckFiles(t.Context(), shared, first))
			_, err = s.RenewLeases(t.Context(), first, time.Hour)
			must(t, err)
			db, err := pgx.Connect(t.Context(), dsn)
			must(t, err)
			defer db.Close(context.Background())
			_, err = db.Exec(t.Context(), `update frontdesk.process set seen_at = now() + interval '1 hour'`) // however slow the machine is
			must(t, err)
			must(t, s.CheckFiles(t.Context(), shared, second))
			own, err := store.OpenFiles(t.TempDir())
			must(t, err)
			var other *store.OtherFilesError
			if err := s.CheckFiles(t.Context(), own, second); !errors.As(err, &other) {
				t.Errorf("a place of its own gives %v", err)
			}
			must(t, s.LeaveProcess(context.Background(), first))
			must(t, s.CheckFiles(t.Context(), own, second)) // alone it may begin anew
		})
	}
}

func TestAddressOfFilesIsRefusedWithAnExample(t *testing.T) {
	for _, address := range []string{"s3://", "s3://host", "s3://host/a/b", "s3://%zz/b"} {
		if _, err := store.OpenFiles(address); err == nil || !strings.Contains(err.Error(), "s3://key:secret@host/bucket") {
			t.Errorf("%q gives %v", address, err)
		}
	}
}

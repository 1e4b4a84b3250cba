package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"frontdesk/store"
)

// shelf is a desk with a place for files.
type shelf struct {
	desk
	files store.Files
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	files, err := store.OpenFiles(t.TempDir())
	must(t, err)
	return shelf{newDesk(t), files}
}

// keep stores a file that came so long ago.
func (s shelf) keep(t *testing.T, ago string) store.File {
	t.Helper()
	f, err := s.KeepFile(t.Context(), s.files, store.Upload{From: strings.NewReader("words"), Label: "a.txt", Most: 100})
	must(t, err)
	s.run(t, `update file set created_at = created_at - $2::interval where id = $1`, f.ID, ago)
	return f
}

func (s shelf) run(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := s.db.Exec(t.Context(), statement, args...)
	must(t, err)
}

// drop looks at all files and says how many went.
func (s shelf) drop(t *testing.T) int {
	t.Helper()
	n, err := s.DropFiles(t.Context(), s.files, 1000)
	must(t, err)
	return n
}

// has says whether a file is there, with its bytes; never only one of both.
func (s shelf) has(t *testing.T, f store.File) bool {
	t.Helper()
	_, err := s.File(t.Context(), f.ID)
	r, opened := s.files.Open(t.Context(), f.Name)
	if opened == nil {
		must(t, r.Close())
	}
	if (err == nil) != (opened == nil) {
		t.Errorf("file %d: its row says %v, its bytes %v", f.ID, err, opened)
	}
	return err == nil
}

// flow stores a flow that sends media.
func (s shelf) flow(t *testing.T, media string) store.Flow {
	t.Helper()
	f, err := s.PutFlow(t.Context(), "sends", json.RawMessage(`{"steps": [{"id": "a", "type": "send", "media": "`+media+`"}]}`), "test")
	must(t, err)
	return f
}

// execution stores one whose trigger brought files.
func (s shelf) execution(t *testing.T, f store.Flow, test string, ids ...any) store.Execution {
	t.Helper()
	files := []map[string]any{}
	for _, id := range ids {
		files = append(files, map[string]any{"id": id})
	}
	trigger, err := json.Marshal(map[string]any{"files": files})
	must(t, err)
	x, _, err := s.AddExecution(t.Context(), store.NewExecution{FlowID: f.ID, Version: f.Version, Trigger: trigger, Test: test, MostTests: 10})
	must(t, err)
	return x
}

func TestAFileThatNothingNamesGoesAfterAWeek(t *testing.T) {
	s := newShelf(t)
	old, fresh := s.keep(t, "169 hours"), s.keep(t, "167 hours")
	if n := s.drop(t); n != 1 || s.has(t, old) || !s.has(t, fresh) {
		t.Errorf("%d files went; the old one stayed: %t, the fresh one: %t", n, s.has(t, old), s.has(t, fresh))
	}
}

func TestWhatNamesAFileKeepsIt(t *testing.T) {
	s := newShelf(t)
	sent, came, brought, sends := s.keep(t, "9 days"), s.keep(t, "9 days"), s.keep(t, "9 days"), s.keep(t, "9 days")
	f := s.flow(t, fmt.Sprint(sends.ID))
	must(t, s.queued(t, store.Parcel{AccountID: s.account, ContactID: s.contact, Chat: "c", Kind: "document", FileID: &sent.ID, Origin: "person"}))
	s.receive(t, "A")
	s.run(t, `insert into media (message_id, account_id, state, reference, file_id) select id, $1, 'stored', '', $2 from message`, s.account, came.ID)
	x := s.execution(t, f, "", brought.ID, 999_999, "x", nil, 1e30)
	if n := s.count(t, `select count(*) from execution_file`); n != 1 {
		t.Errorf("the execution keeps %d files, want 1", n)
	}
	if n := s.drop(t); n != 0 {
		t.Errorf("%d files went", n)
	}
	if n := s.count(t, `select count(distinct conrelid) from pg_constraint where contype = 'f' and confrelid = 'file'::regclass`); n != 4 {
		t.Errorf("%d tables name files; this test and DropFiles know 4", n)
	}
	s.run(t, `delete from execution where id = $1`, x.ID)
	s.run(t, `delete from flow where id = $1`, f.ID)
	if n := s.drop(t); n != 2 || !s.has(t, sent) || !s.has(t, came) || s.has(t, brought) || s.has(t, sends) {
		t.Errorf("%d files went, want those of the execution and of the flow", n)
	}
	s.run(t, `delete from conversation`)
	if n := s.drop(t); n != 2 {
		t.Errorf("%d files went, want those of messages", n)
	}
}

func TestFilesOfATestGoWithIt(t *testing.T) {
	s := newShelf(t)
	f := s.flow(t, "{{trigger.files[0].id}}")
	tested, real := s.keep(t, "3 hours"), s.keep(t, "3 hours")
	test, execution := s.execution(t, f, "live", tested.ID), s.execution(t, f, "", real.ID)
	if n := s.drop(t); n != 0 {
		t.Errorf("%d files went while their executions are there", n)
	}
	s.run(t, `delete from execution where id in ($1, $2)`, test.ID, execution.ID)
	if n := s.drop(t); n != 1 || s.has(t, tested) || !s.has(t, real) {
		t.Errorf("%d files went, want that of the test", n)
	}
}

// Somebody queues a message with an old file at the very moment of the sweep.
func TestAFileThatIsBeingNamedStays(t *testing.T) {
	s := newShelf(t)
	f, loose := s.keep(t, "9 days"), s.keep(t, "9 days")
	s.receive(t, "A")
	tx, err := s.db.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(t.Context(), `
		insert into outbound (wa_id, conversation_id, account_id, origin, out_seq, after_seq, body, file_id) select 'M', id, account_id, 'person', 1, 1, '', $1 from conversation`, f.ID)
	must(t, err)
	if n := s.drop(t); n != 1 || s.has(t, loose) {
		t.Errorf("%d files went, want the other one", n)
	}
	must(t, tx.Commit(t.Context()))
	if s.drop(t); !s.has(t, f) {
		t.Error("the message has lost its file")
	}
}

func TestASweepGoesOnWhereTheLastOneEnded(t *testing.T) {
	s := newShelf(t)
	s.keep(t, "0")
	s.keep(t, "0")
	old := s.keep(t, "9 days")
	for i, want := range []int{0, 1, 0, 0} {
		if n, err := s.DropFiles(t.Context(), s.files, 2); err != nil || n != want {
			t.Errorf("sweep %d removed %d files (%v), want %d", i+1, n, err, want)
		}
		if i == 1 && s.has(t, old) {
			t.Error("the old one is there")
		}
	}
}

// stuck is a place whose files cannot be removed now.
type stuck struct{ store.Files }

var errStuck = errors.New("the bucket is away")

func (stuck) Remove(context.Context, string) error { return errStuck }

func TestAFileThatCannotBeRemovedNowIsTriedAgain(t *testing.T) {
	s := newShelf(t)
	f := s.keep(t, "9 days")
	if _, err := s.DropFiles(t.Context(), stuck{s.files}, 10); !errors.Is(err, errStuck) {
		t.Errorf("the sweep says %v", err)
	}
	s.run(t, `update file set created_at = created_at - interval '9 days'`)
	if n := s.drop(t); n != 1 || s.has(t, f) {
		t.Errorf("%d files went a week later", n)
	}
}

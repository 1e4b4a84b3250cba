package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/wasim"
	"frontdesk/store/pglocal"

	"github.com/jackc/pgx/v5"
)

// newAttended is frontdesk with an account whose customers are answered, and whose
// messages start a flow of these steps.
func newAttended(t *testing.T, steps string) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.start()
	r.provider(r.ai, "first", 10)
	account := r.pair(phone)
	r.quick(account, 0)
	r.command("flows", "put", r.file("flow.json", fmt.Sprintf(`{"name": "attended", "account": %d, "trigger": {"type": "message"}, "steps": [%s]}`, account, steps)))
	return r
}

// What is kept of a person is given out whole and erased whole, from every table that
// there is, and from WhatsApp's; the next customer and the person's next message find
// everything as it was.
func TestAnErasedPersonLeavesNoTrace(t *testing.T) {
	t.Parallel()
	r := newAttended(t, `{"id": "told", "type": "send", "text": "re 0"}`)
	crowd := newCrowd(r, phone, 2)
	db := r.database()
	r.api(http.MethodPost, "/api/v1/subscriptions", map[string]any{"url": r.ai.url(), "events": []string{"message.received"}, "label": "erasure"}, nil)
	person := r.wa.Customer(crowd.number(0))
	_, err := person.Send(deadline(t, time.Minute), phone, "1")
	must(t, err)
	eventually(t, time.Minute, "the first answer", func() bool { return len(crowd.answers(0)) > 0 })
	_, err = r.wa.Customer(crowd.number(1)).Send(deadline(t, time.Minute), phone, "1")
	must(t, err)
	var picture bytes.Buffer
	must(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))))
	id, err := person.SendMedia(deadline(t, time.Minute), phone, wasim.Media{Kind: wasim.Image, Mime: "image/png", Data: picture.Bytes(), Caption: "tulips"})
	must(t, err)
	_, err = person.React(deadline(t, time.Minute), phone, id, "👍")
	must(t, err)
	r.remember(db)

	eventually(t, time.Minute, "something in every table that holds what is about people", func() bool { return len(r.without(db)) == 0 })
	var exported map[string][]map[string]any
	must(t, json.Unmarshal([]byte(r.command("export", "+"+crowd.number(0), "--files", filepath.Join(r.dir, "given"))), &exported))
	if len(exported["message"]) != 2 || len(exported["file"]) != 1 || exported["message"][1]["body"] != "tulips" {
		t.Errorf("given out were %d messages and %d files: %v", len(exported["message"]), len(exported["file"]), exported["message"])
	}
	given, err := os.ReadDir(filepath.Join(r.dir, "given"))
	must(t, err)
	if len(given) != 1 {
		t.Errorf("%d files were given out, want 1", len(given))
	}
	eventually(t, time.Minute, "nothing more to be on its way to the person", func() bool {
		var busy bool
		must(t, db.QueryRow(t.Context(), `select exists (select from outbound where sent_at is null and failed_at is null and cancelled_at is null) or exists (select from execution where status not in ('completed', 'failed', 'cancelled'))
			or exists (select from conversation where answered_seq < last_seq)`).Scan(&busy))
		return !busy
	})
	r.command("erase", "+"+crowd.number(0))
	for _, table := range r.mentioning(db, crowd.number(0)) {
		t.Errorf("table %s still holds the person's number, LID or words", table)
	}
	left, err := filepath.Glob(filepath.Join(r.dir, "files", "*", "*"))
	must(t, err)
	if len(left) != 1 || filepath.Base(left[0]) != "frontdesk-files" { // which says whose the place is
		t.Errorf("files are left: %v", left)
	}
	if len(r.mentioning(db, crowd.number(1))) < 3 {
		t.Error("another customer is gone as well")
	}
	before := len(crowd.answers(0))
	_, err = person.Send(deadline(t, time.Minute), phone, "9")
	must(t, err)
	eventually(t, time.Minute, "an answer to who writes again", func() bool { return len(crowd.answers(0)) > before })
	unknown := exec.Command(binary, "erase", "+12025550999")
	unknown.Env = r.env
	if said, _ := unknown.CombinedOutput(); unknown.ProcessState.ExitCode() != 2 {
		t.Errorf("erasing a stranger ended with %d: %s", unknown.ProcessState.ExitCode(), said)
	}
}

// An answer that is being written and an execution that waits are not for somebody who
// was erased meanwhile, and leave nothing of them behind.
func TestErasureStopsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	r := newAttended(t, `{"id": "pause", "type": "wait", "for": "15s"}, {"id": "told", "type": "send", "text": "re 0"}`)
	crowd := newCrowd(r, phone, 2)
	db := r.database()
	r.ai.slow.Store(int64(10 * time.Second))
	asked := r.ai.calls.Load()
	write := func(i int) {
		_, err := r.wa.Customer(crowd.number(i)).Send(deadline(t, time.Minute), phone, "1")
		must(t, err)
	}
	write(0)
	eventually(t, time.Minute, "an answer and an execution under way", func() bool {
		var waits bool
		must(t, db.QueryRow(t.Context(), `select exists (select from execution)`).Scan(&waits))
		return waits && r.ai.calls.Load() > asked
	})
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if status := r.api(http.MethodDelete, "/api/v1/contacts/1", nil, nil); status != want {
			t.Fatalf("erasing answered %d, want %d", status, want)
		}
	}
	write(1) // whose two messages come after the time of the other's
	eventually(t, time.Minute, "both messages to the next customer", func() bool { return len(crowd.answers(1)) == 2 })
	if told := crowd.answers(0); len(told) != 0 {
		t.Errorf("who was erased was told %v", told)
	}
	for _, table := range r.mentioning(db, crowd.number(0)) {
		t.Errorf("table %s speaks of the person again", table)
	}
	if log := r.log.String(); strings.Contains(log, `"ERROR"`) {
		t.Error("the erasure was an error to somebody")
	}
}

// database looks behind the process.
func (r *rig) database() *pgx.Conn {
	r.t.Helper()
	dsn, running := pglocal.Join(r.t.Context(), filepath.Join(r.dir, "postgres"), databaseName)
	if !running {
		r.t.Fatal("there is no Postgres to ask")
	}
	db, err := pgx.Connect(r.t.Context(), dsn+" search_path=frontdesk")
	must(r.t, err)
	r.t.Cleanup(func() { db.Close(deadline(r.t, time.Minute)) })
	return db
}

// remember adds to the first conversation what comes only of longer acquaintance.
func (r *rig) remember(db *pgx.Conn) {
	r.t.Helper()
	eventually(r.t, time.Minute, "a second execution, and the picture", func() bool {
		var n int
		must(r.t, db.QueryRow(r.t.Context(), `select count(*) from execution where conversation_id = 1 and exists (select from file)`).Scan(&n))
		return n > 1
	})
	for _, statement := range []string{
		`insert into draft (conversation_id, after_seq, bubbles, provider, model) values (1, 1, '{tulips}', 'first', 'first')`,
		`insert into fact (account_id, contact_id, body) values (1, 1, 'likes tulips')`,
		`insert into note (conversation_id, body, by) values (1, 'tulips', 'Ana')`,
		`insert into execution_file (execution_id, file_id) select min(e.id), min(f.id) from execution e, file f`,
		`with old as (insert into contact (name, merged_into) values ('tulips', 1) returning id),
		 merge as (insert into contact_merge (survivor, merged, by) select 1, id, 'Ana' from old returning id)
		 insert into contact_merge_move (merge_id, kind, row_id) select id, 'message', 1 from merge`,
	} {
		_, err := db.Exec(r.t.Context(), statement)
		must(r.t, err)
	}
}

// without are the tables about people in which nothing is kept.
func (r *rig) without(db *pgx.Conn) (empty []string) {
	r.t.Helper()
	tables := r.names(db, `select distinct table_name from information_schema.columns where table_schema = 'frontdesk'
		and column_name in ('contact_id', 'conversation_id', 'execution_id', 'message_id', 'survivor', 'merge_id')`)
	for _, table := range tables {
		var filled bool
		must(r.t, db.QueryRow(r.t.Context(), `select exists (select from frontdesk.`+table+`)`).Scan(&filled))
		if !filled {
			empty = append(empty, table)
		}
	}
	return empty
}

// mentioning are the tables, WhatsApp's among them, in which a customer's number stands,
// or a word that only they said.
func (r *rig) mentioning(db *pgx.Conn, number string) (found []string) {
	r.t.Helper()
	for _, table := range r.names(db, `select table_schema || '.' || table_name from information_schema.tables where table_schema in ('frontdesk', 'whatsmeow')`) {
		var mentioned bool
		must(r.t, db.QueryRow(r.t.Context(), `select exists (select from `+table+` t where t::text ~ $1)`, number+"|tulips").Scan(&mentioned))
		if mentioned {
			found = append(found, table)
		}
	}
	return found
}

func (r *rig) names(db *pgx.Conn, query string) []string {
	r.t.Helper()
	rows, err := db.Query(r.t.Context(), query)
	must(r.t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(r.t, err)
	return names
}

package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// person is everything that leads to what is kept of somebody.
type person struct {
	contacts, conversations, executions, files []int64
	users                                      []string // numbers and LIDs, as WhatsApp's own tables begin with
}

func (p person) args() pgx.NamedArgs {
	return pgx.NamedArgs{"contacts": p.contacts, "conversations": p.conversations, "executions": p.executions, "files": p.files, "users": p.users}
}

// holding is a table and the condition of what is a person's in it.
type holding struct{ table, of string }

// kept is where something of a person is kept, in the order in which it can be removed.
// A test compares it with the tables that there are.
var kept = []holding{
	{"delivery", `conversation_id = any(@conversations) or execution_id = any(@executions)`},
	{"event", `conversation_id = any(@conversations) or execution_id = any(@executions)`},
	{"execution_step", `execution_id = any(@executions)`},
	{"execution_file", `execution_id = any(@executions)`},
	{"execution", `id = any(@executions)`},
	{"media", `message_id in (select id from message where conversation_id = any(@conversations))`},
	{"reaction", `conversation_id = any(@conversations)`},
	{"message", `conversation_id = any(@conversations)`},
	{"outbound", `conversation_id = any(@conversations)`},
	{"draft", `conversation_id = any(@conversations)`},
	{"note", `conversation_id = any(@conversations)`},
	{"prompt", `conversation_id = any(@conversations)`},
	{"timeline", `conversation_id = any(@conversations)`},
	{"provider_attempt", `conversation_id = any(@conversations)`},
	{"conversation", `id = any(@conversations)`},
	{"fact", `contact_id = any(@contacts)`},
	{"contact_merge_move", `merge_id in (select id from contact_merge where survivor = any(@contacts) or merged = any(@contacts))`},
	{"contact_merge", `survivor = any(@contacts) or merged = any(@contacts)`},
	{"contact_address", `contact_id = any(@contacts)`},
	{"contact", `id = any(@contacts)`},
}

// keptByWhatsApp is what whatsmeow keeps of a person in its own tables, by numbers and
// LIDs. It learns them anew from a customer who writes again.
var keptByWhatsApp = []holding{
	ofUser("whatsmeow_contacts", "their_jid"),
	ofUser("whatsmeow_chat_settings", "chat_jid"),
	ofUser("whatsmeow_message_secrets", "chat_jid"),
	ofUser("whatsmeow_privacy_tokens", "their_jid"),
	ofUser("whatsmeow_retry_buffer", "chat_jid"),
	ofUser("whatsmeow_sender_keys", "sender_id"),
	ofUser("whatsmeow_sessions", "their_id"),
	ofUser("whatsmeow_identity_keys", "their_id"),
	ofUser("whatsmeow_lid_map", "lid"),
	ofUser("whatsmeow_lid_map", "pn"),
}

func ofUser(table, column string) holding {
	return holding{"whatsmeow." + table, `substring(` + column + ` from '^\d+') = any(@users)`}
}

// ExportContact is all that is kept of a person, of every contact that was merged with
// theirs and in every account: rows by table. Keys of files and other secrets are left
// out. ErrNotFound: there is no such contact.
func (s *Store) ExportContact(ctx context.Context, id int64) (map[string][]json.RawMessage, error) {
	found := map[string][]json.RawMessage{}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return found, pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		p, err := personOf(ctx, tx, id)
		if err != nil {
			return err
		}
		for _, k := range append(slices.Clone(kept), holding{"file", `id = any(@files)`}) {
			found[k.table], err = column[json.RawMessage](ctx, tx, fmt.Sprintf(`
				select to_jsonb(t) - '{reference,request_hash}'::text[] from %s t where %s`, k.table, k.of), p.args())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// EraseContact removes all that is kept of a person, of every contact that was merged
// with theirs and in every account: rows, files and WhatsApp's keys. What is under way
// for them stops. Only that it was done, and by whom, stays. The person's phone and the
// account's keep what they hold; who writes again begins anew. ErrNotFound: there is no
// such contact.
func (s *Store) EraseContact(ctx context.Context, files Files, id int64, by string) (rows int64, err error) {
	var dropped []File
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		p, err := lockPerson(ctx, tx, id)
		if err != nil {
			return err
		}
		if rows, dropped, err = erase(ctx, tx, p); err != nil {
			return err
		}
		return audit(ctx, tx, by, "contact.erase", contactSubject(id), map[string]int64{"rows": rows, "files": int64(len(dropped))})
	})
	if err != nil || files == nil {
		return rows, err
	}
	return rows, s.removeFiles(ctx, files, dropped)
}

// samePerson are the contacts of one person, whichever of them @id is.
const samePerson = `(select coalesce(merged_into, id) from contact where id = @id) in (id, merged_into)`

// lockPerson finds a person of whom nobody merges a contact before tx ends.
func lockPerson(ctx context.Context, tx pgx.Tx, id int64) (p person, err error) {
	for range resolveTries {
		locked, err := column[int64](ctx, tx, `select id from contact where `+samePerson+` order by id for update`, pgx.NamedArgs{"id": id})
		if err != nil {
			return p, err
		}
		if p, err = personOf(ctx, tx, id); err != nil || slices.Equal(p.contacts, locked) {
			return p, err
		}
	} // they were merged while the statement waited
	return p, ErrMoved
}

// personOf finds what leads to all that is kept of a contact.
func personOf(ctx context.Context, tx pgx.Tx, id int64) (p person, err error) {
	err = tx.QueryRow(ctx, `
		with us as (select id, phone, lid from contact where `+samePerson+`),
		talks as (select id from conversation where contact_id in (select id from us)),
		runs as (select id from execution where contact_id in (select id from us) or conversation_id in (select id from talks)),
		held as (
		  select file_id from media where message_id in (select id from message where conversation_id in (select id from talks))
		  union select file_id from outbound where conversation_id in (select id from talks)
		  union select file_id from execution_file where execution_id in (select id from runs)),
		users as (
		  select phone as value from us union select lid from us
		  union select value from contact_address where contact_id in (select id from us) and kind <> 'username' and left_at is null)
		select array(select id from us order by id), array(select id from talks), array(select id from runs),
		  array(select file_id from held where file_id is not null), array(select value from users where value is not null)`,
		pgx.NamedArgs{"id": id}).Scan(&p.contacts, &p.conversations, &p.executions, &p.files, &p.users)
	if err == nil && len(p.contacts) == 0 {
		return p, ErrNotFound
	}
	return p, err
}

// erase removes a person's rows, says how many they were, and which files nobody names
// any more.
func erase(ctx context.Context, tx pgx.Tx, p person) (rows int64, files []File, err error) {
	for _, k := range slices.Concat(kept, keptByWhatsApp) {
		done, err := tx.Exec(ctx, fmt.Sprintf(`delete from %s where %s`, k.table, k.of), p.args())
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", k.table, err)
		}
		rows += done.RowsAffected()
	}
	files, err = many[File](ctx, tx, `delete from file f where id = any(@files) and`+nobodyNames+` returning `+fileColumns, p.args())
	return rows, files, err
}

package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Media is a file that a message brought, as its sender describes it.
type Media struct {
	Label     string // file name
	Mime      string
	Bytes     int64
	Seconds   int
	Width     int
	Height    int
	Reference []byte // what WhatsApp needs to hand it out
	TooLarge  bool   // it will not be fetched
}

// File is something in store.Files.
type File struct {
	ID        int64
	Name      string // in store.Files
	Label     string // the name that people gave it
	Mime      string // what it is, by its content
	Bytes     int64
	SHA256    []byte `db:"sha256"`
	CreatedAt time.Time
}

const fileColumns = `id, name, label, mime, bytes, sha256, created_at`

// keepMedia stores the file of the message that CTE m has just stored.
const keepMedia = `
	kept_media as (
	  insert into media (message_id, account_id, state, label, mime, bytes, seconds, width, height, reference)
	  select m.id, @account, @media_state, @media_label, @media_mime, @media_bytes, @media_seconds, @media_width, @media_height, @media_reference
	  from m where @media_reference::bytea is not null)`

func (s *Store) mediaArgs(args pgx.NamedArgs, in Inbound) {
	m, state := Media{}, "wanted"
	var sealed []byte
	if in.Media != nil {
		m = *in.Media
		sealed = s.sealReference(in.AccountID, in.WaID, m.Reference)
	}
	if m.TooLarge {
		state = "too_large"
	}
	args["media_state"], args["media_label"], args["media_mime"], args["media_bytes"] = state, clean(m.Label), clean(m.Mime), max(0, m.Bytes)
	args["media_seconds"], args["media_width"], args["media_height"], args["media_reference"] = clamped(m.Seconds), clamped(m.Width), clamped(m.Height), sealed
}

// sealReference keeps the keys of a file unreadable at rest. Without a secret key
// there is nothing to seal with: then the database holds them as whatsmeow's own
// tables hold session keys.
func (s *Store) sealReference(account int64, waID string, reference []byte) []byte {
	if s.keyring == nil || reference == nil {
		return reference
	}
	sealed, err := s.keyring.Seal(referencePlace(account, waID), reference)
	if err != nil {
		panic(err) // only a key of the wrong size, which a keyring cannot hold
	}
	return sealed
}

func (s *Store) openReference(account int64, waID string, sealed []byte) ([]byte, error) {
	if s.keyring == nil || sealed == nil {
		return sealed, nil
	}
	return s.keyring.Open(referencePlace(account, waID), sealed)
}

func referencePlace(account int64, waID string) string {
	return fmt.Sprintf("media:%d:%s", account, waID)
}

// MediaJob is a file that waits to be fetched from WhatsApp.
type MediaJob struct {
	MessageID int64
	AccountID int64
	WaID      string
	Chat      string
	Ours      bool // sent from the account's own phone
	Kind      string
	Label     string
	Bytes     int64
	Attempts  int
	Asked     int // how often the phone was asked for it
	Reference []byte
}

const mediaJobs = `
	select d.message_id, d.account_id, m.wa_id, c.chat, m.direction = 'out' as ours, m.kind, d.label, d.bytes, d.attempts, d.asked, d.reference
	from media d join message m on m.id = d.message_id join conversation c on c.id = m.conversation_id`

// WantedMedia are files of an account that should be fetched now, oldest first.
func (s *Store) WantedMedia(ctx context.Context, account int64, limit int) ([]MediaJob, error) {
	jobs, err := many[MediaJob](ctx, s.pool, mediaJobs+`
		where d.account_id = @account and d.state = 'wanted' and d.due_at <= clock() order by d.due_at, d.message_id limit @limit`,
		pgx.NamedArgs{"account": account, "limit": limit})
	return s.openJobs(jobs, err)
}

// MediaOf is the file of one message of an account, or ErrNotFound.
func (s *Store) MediaOf(ctx context.Context, account int64, waID string) (MediaJob, error) {
	jobs, err := many[MediaJob](ctx, s.pool, mediaJobs+`
		where d.account_id = @account and m.wa_id = @wa_id and d.state = 'wanted'`, pgx.NamedArgs{"account": account, "wa_id": waID})
	jobs, err = s.openJobs(jobs, err)
	if err == nil && len(jobs) == 0 {
		return MediaJob{}, ErrNotFound
	}
	if err != nil {
		return MediaJob{}, err
	}
	return jobs[0], nil
}

func (s *Store) openJobs(jobs []MediaJob, err error) ([]MediaJob, error) {
	for i, j := range jobs {
		if err != nil {
			break
		}
		jobs[i].Reference, err = s.openReference(j.AccountID, j.WaID, j.Reference)
	}
	return jobs, err
}

// KeepMedia records that the file of a message is here.
func (s *Store) KeepMedia(ctx context.Context, message int64, f File) error {
	_, err := s.pool.Exec(ctx, `
		with f as (
		  insert into file (name, label, mime, bytes, sha256) values (@name, @label, @mime, @bytes, @sha256) returning id)
		update media set state = 'stored', file_id = f.id, failure = '' from f where message_id = @message and state = 'wanted'`,
		pgx.NamedArgs{"message": message, "name": f.Name, "label": f.Label, "mime": f.Mime, "bytes": f.Bytes, "sha256": f.SHA256})
	return err
}

// PutOffMedia has a file fetched again after wait; why is what went wrong.
func (s *Store) PutOffMedia(ctx context.Context, message int64, wait time.Duration, why string) error {
	_, err := s.pool.Exec(ctx, `
		update media set attempts = attempts + 1, due_at = clock() + @wait::interval, failure = @why where message_id = @message and state = 'wanted'`,
		pgx.NamedArgs{"message": message, "wait": wait, "why": why})
	return err
}

// AwaitPhone notes that the phone was asked to upload a file again; it is asked anew
// after wait.
func (s *Store) AwaitPhone(ctx context.Context, message int64, wait time.Duration, why string) error {
	_, err := s.pool.Exec(ctx, `
		update media set asked = asked + 1, due_at = clock() + @wait::interval, failure = @why where message_id = @message and state = 'wanted'`,
		pgx.NamedArgs{"message": message, "wait": wait, "why": why})
	return err
}

// NotAsked takes AwaitPhone back, but for its wait: the phone could not be asked, and why.
func (s *Store) NotAsked(ctx context.Context, message int64, why string) error {
	_, err := s.pool.Exec(ctx, `
		update media set asked = asked - 1, attempts = attempts + 1, failure = @why where message_id = @message and state = 'wanted' and asked > 0`,
		pgx.NamedArgs{"message": message, "why": why})
	return err
}

// GiveUpMedia says that a file will not come: failed, gone or too_large.
func (s *Store) GiveUpMedia(ctx context.Context, message int64, state, why string) error {
	_, err := s.pool.Exec(ctx, `update media set state = @state, failure = @why where message_id = @message and state = 'wanted'`,
		pgx.NamedArgs{"message": message, "state": state, "why": why})
	return err
}

// RenewMedia records where WhatsApp has a file now, to be fetched at once.
func (s *Store) RenewMedia(ctx context.Context, j MediaJob, reference []byte) error {
	_, err := s.pool.Exec(ctx, `update media set reference = @reference, due_at = clock() where message_id = @message and state = 'wanted'`,
		pgx.NamedArgs{"message": j.MessageID, "reference": s.sealReference(j.AccountID, j.WaID, reference)})
	return err
}

// AddFile records a file that is in store.Files.
func (s *Store) AddFile(ctx context.Context, f File) (File, error) {
	return one[File](ctx, s.pool, `
		insert into file (name, label, mime, bytes, sha256) values (@name, @label, @mime, @bytes, @sha256) returning `+fileColumns,
		pgx.NamedArgs{"name": f.Name, "label": f.Label, "mime": f.Mime, "bytes": f.Bytes, "sha256": f.SHA256})
}

// File is one file, or ErrNotFound.
func (s *Store) File(ctx context.Context, id int64) (File, error) {
	return one[File](ctx, s.pool, `select `+fileColumns+` from file where id = @id`, pgx.NamedArgs{"id": id})
}

// KeepReference records that WhatsApp has the file of a message of ours, so that a
// repetition needs no second upload.
func (s *Store) KeepReference(ctx context.Context, account, id int64, waID string, reference []byte) error {
	_, err := s.pool.Exec(ctx, `update outbound set reference = @reference where id = @id`,
		pgx.NamedArgs{"id": id, "reference": s.sealReference(account, waID, reference)})
	return err
}

// WaitingMedia counts the files that wait to be fetched.
func (s *Store) WaitingMedia(ctx context.Context) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `select count(*) from media where state = 'wanted'`).Scan(&n)
	return n, err
}

// HashOf is the sum that files are known by.
func HashOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

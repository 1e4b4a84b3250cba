package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Attachment is the file of a customer's message.
type Attachment struct {
	MessageID  int64
	Seq        int64
	Kind       string
	State      string // wanted, stored, failed, too_large or gone
	Mime       string
	Label      string
	Bytes      int64
	Seconds    int
	File       *string       // its name in Files, once it is here
	Transcript *string       // nil: nobody has listened yet
	Age        time.Duration // since the message came
}

// Attachments are the files of the messages (after, hi] of a conversation, oldest
// first.
func (s *Store) Attachments(ctx context.Context, conversation, after, hi int64) ([]Attachment, error) {
	return many[Attachment](ctx, s.pool, `
		select m.id as message_id, m.seq, m.kind, d.state, coalesce(f.mime, d.mime) as mime, coalesce(nullif(f.label, ''), d.label) as label,
		  coalesce(f.bytes, d.bytes) as bytes, d.seconds, f.name as file, m.transcript, clock() - m.received_at as age
		from message m join media d on d.message_id = m.id left join file f on f.id = d.file_id
		where m.conversation_id = @id and m.seq > @after and m.seq <= @hi and m.direction = 'in' and m.deleted_at is null
		order by m.seq`, pgx.NamedArgs{"id": conversation, "after": after, "hi": hi})
}

// SetTranscript keeps what a provider heard in a voice note.
func (s *Store) SetTranscript(ctx context.Context, message int64, words, by string) error {
	_, err := s.pool.Exec(ctx, `update message set transcript = @words, transcript_by = @by where id = @id`,
		pgx.NamedArgs{"id": message, "words": words, "by": by})
	return err
}

package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Earlier is what was said in a chat before its account was linked. It is context:
// nothing of it is answered.
type Earlier struct {
	AccountID int64
	Phone     string
	LID       string
	Name      string
	Chat      string
	Messages  []EarlierMessage // newest first
}

// EarlierMessage is one message of it.
type EarlierMessage struct {
	WaID   string
	Ours   bool
	Kind   string
	Body   string
	SentAt time.Time
	Quoted string
}

// StoreEarlier keeps messages that are not there yet, before all that is, and says
// how many those were. No turn becomes due by them.
func (s *Store) StoreEarlier(ctx context.Context, e Earlier) (int, error) {
	contact, err := s.ResolveContact(ctx, e.Phone, e.LID, e.Name)
	if err != nil {
		return 0, err
	}
	var ids, kinds, bodies, quoted []string
	var ours []bool
	var at []time.Time
	for _, m := range e.Messages {
		ids, kinds, bodies, quoted = append(ids, m.WaID), append(kinds, m.Kind), append(bodies, m.Body), append(quoted, m.Quoted)
		ours, at = append(ours, m.Ours), append(at, m.SentAt)
	}
	stored := 0
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		contact, err := living(ctx, tx, contact)
		if err != nil {
			return err
		}
		args := pgx.NamedArgs{
			"account": e.AccountID, "contact": contact, "chat": e.Chat, "ids": ids, "kinds": kinds, "bodies": bodies, "quoted": quoted, "ours": ours, "at": at,
		}
		if _, err := tx.Exec(ctx, `
			insert into conversation (account_id, contact_id, chat, active_at)
			values (@account, @contact, @chat, (select max(said) from unnest(@at::timestamptz[]) as said)) on conflict do nothing`, args); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `
			with c as (
			  select id from conversation where account_id = @account and contact_id = @contact for update),
			new as (
			  select c.id, h.*, row_number() over (order by h.at desc, h.place) as before
			  from c, unnest(@ids::text[], @kinds::text[], @bodies::text[], @quoted::text[], @ours::boolean[], @at::timestamptz[])
			    with ordinality as h (wa_id, kind, body, quoted, ours, at, place)
			  where not exists (select from message m where m.conversation_id = c.id and m.wa_id = h.wa_id)
			    and not exists (select from outbound o where o.wa_id = h.wa_id))
			insert into message (conversation_id, seq, direction, wa_id, kind, body, sent_at, quoted_wa_id)
			select id, least(0, (select min(seq) from message m where m.conversation_id = new.id)) - before,
			  case when ours then 'out' else 'in' end, wa_id, kind, body, at, quoted from new
			on conflict do nothing`, args)
		stored = int(done.RowsAffected())
		return err
	})
	return stored, err
}

// NoteCall writes into the contact's conversation, if there is one, that they called,
// and whether the call was rejected.
func (s *Store) NoteCall(ctx context.Context, account, contact int64, rejected bool) error {
	_, err := s.pool.Exec(ctx, `
		insert into timeline (conversation_id, seq, kind, detail)
		select id, last_seq, 'call', jsonb_build_object('rejected', @rejected::boolean) from conversation
		where account_id = @account and contact_id = (select coalesce(merged_into, id) from contact where id = @contact)`,
		pgx.NamedArgs{"account": account, "contact": contact, "rejected": rejected})
	return err
}

package store

import (
	"context"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
)

// Change is what somebody did to an earlier message: a sign put on it (React), other
// words (Edit), or that it shall be forgotten (Delete). It never asks for an answer.
type Change struct {
	AccountID int64
	Phone     string // the customer of the chat, as in Inbound
	LID       string
	WaID      string // of the earlier message
	Ours      bool   // done on the account's side
}

func (c Change) args(more pgx.NamedArgs) pgx.NamedArgs {
	args := pgx.NamedArgs{"account": c.AccountID, "phone": c.Phone, "lid": c.LID, "wa_id": clean(c.WaID), "ours": c.Ours}
	maps.Copy(args, more)
	return args
}

// theirChat is the conversation that a change happened in.
const theirChat = `
	with` + whoWrites + `,
	chat as (
	  select c.id from conversation c join person on person.id = c.contact_id where c.account_id = @account)`

// React puts a sign on a message, in place of the former one; "" takes it away.
func (s *Store) React(ctx context.Context, c Change, sign string, at time.Time) error {
	_, err := s.pool.Exec(ctx, theirChat+`,
		gone as (
		  delete from reaction using chat where conversation_id = chat.id and wa_id = @wa_id and ours = @ours and @sign = '')
		insert into reaction (conversation_id, wa_id, ours, sign, at) select id, @wa_id, @ours, @sign, @at from chat where @sign <> ''
		on conflict (conversation_id, wa_id, ours) do update set sign = excluded.sign, at = excluded.at where reaction.at <= excluded.at`,
		c.args(pgx.NamedArgs{"sign": clean(sign), "at": at}))
	return err
}

// Edit gives a message other words. While its turn waits, they are what is answered.
func (s *Store) Edit(ctx context.Context, c Change, body string) error {
	_, err := s.pool.Exec(ctx, theirChat+`,
		own as (
		  update outbound set body = @body from chat where conversation_id = chat.id and wa_id = @wa_id and @ours)
		update message set body = @body, edited_at = clock() from chat
		where conversation_id = chat.id and wa_id = @wa_id and direction = case when @ours then 'out' else 'in' end and deleted_at is null`,
		c.args(pgx.NamedArgs{"body": clean(body)}))
	return err
}

// Delete hides a message from people and prompts.
func (s *Store) Delete(ctx context.Context, c Change) error {
	_, err := s.pool.Exec(ctx, theirChat+`
		update message set deleted_at = coalesce(deleted_at, clock()) from chat
		where conversation_id = chat.id and wa_id = @wa_id and direction = case when @ours then 'out' else 'in' end`, c.args(nil))
	return err
}

// Kinds of bubbles that change an earlier message.
const (
	KindReaction = "reaction"
	KindEdit     = "edit"
	KindDelete   = "delete"
)

// changeKinds are no messages of their own.
var changeKinds = []string{KindReaction, KindEdit, KindDelete}

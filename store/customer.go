package store

import (
	"cmp"
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ChangeContact adds attributes and tags to what is kept of a person; an empty
// attribute goes, and so does a tag with "-" before it. ErrNotFound: there is none.
func (s *Store) ChangeContact(ctx context.Context, id int64, attributes map[string]string, tags []string) error {
	return s.change(ctx, `
		with now as (
		  select contact.id,
		    (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(attributes || @attributes::jsonb) where value <> '""') as attributes,
		    (select coalesce(array_agg(distinct tag order by tag), '{}') from unnest(tags || @tags::text[]) as tag
		     where tag not like '-%' and '-' || tag <> all(@tags::text[])) as tags
		  from contact where contact.id = (select coalesce(merged_into, c.id) from contact c where c.id = @id) for update)
		update contact set attributes = now.attributes, tags = now.tags from now where contact.id = now.id`,
		pgx.NamedArgs{"id": id, "attributes": cleanAll(attributesOf(attributes)), "tags": append([]string{}, tags...)})
}

func attributesOf(texts map[string]string) map[string]any {
	all := map[string]any{}
	for name, text := range texts {
		all[name] = text
	}
	return all
}

// SetConsent notes whether a customer wants automated messages of an account, as if
// they had said so. ErrNotFound: they have no conversation.
func (s *Store) SetConsent(ctx context.Context, account, contact int64, c Consent) error {
	return s.change(ctx, `
		update conversation set opted_out_at = case when @consent = 'out' then coalesce(opted_out_at, clock()) end
		where account_id = @account and merged_into is null and `+ofContact("@contact"),
		pgx.NamedArgs{"account": account, "contact": contact, "consent": string(c)})
}

// ConversationWith is an account's conversation with a customer, or ErrNotFound.
func (s *Store) ConversationWith(ctx context.Context, account, contact int64) (ConversationSummary, error) {
	return one[ConversationSummary](ctx, s.pool, conversationSummaries+`
		where c.account_id = @account and c.merged_into is null and c.`+ofContact("@contact")+` order by c.id limit 1`,
		pgx.NamedArgs{"account": account, "contact": contact})
}

// ConversationAt is an account's conversation with whoever has this address now, such as
// 877770000001@lid, or ErrNotFound.
func (s *Store) ConversationAt(ctx context.Context, account int64, chat string) (int64, error) {
	user, server, _ := strings.Cut(chat, "@")
	kind := "phone"
	if server == "lid" {
		kind = "lid"
	}
	ids, err := column[int64](ctx, s.pool, `
		select c.id from contact_address a join conversation c on c.contact_id = a.contact_id
		where a.value = @user and a.kind = @kind and a.left_at is null and c.account_id = @account and c.merged_into is null`,
		pgx.NamedArgs{"account": account, "user": user, "kind": kind})
	if err != nil || len(ids) == 0 {
		return 0, cmp.Or(err, ErrNotFound)
	}
	return ids[0], nil
}

// ReplyAfter is the customer's first message behind another, or ErrNotFound.
func (s *Store) ReplyAfter(ctx context.Context, conversation, seq int64) (ChatMessage, error) {
	return one[ChatMessage](ctx, s.pool, `
		select direction, 'customer' as origin, wa_id, `+shownKind+` as kind, case when deleted_at is null then coalesce(nullif(body, ''), transcript, '') else '' end as body,
		  'received' as status, sent_at as at, seq, 0::bigint as out_seq, '' as quoted, null::jsonb as extra, edited_at, '{}'::text[] as reactions,
		  d.file_id, coalesce(d.state, '') as file_state, coalesce(d.label, '') as file_label, coalesce(d.mime, '') as file_mime,
		  coalesce(d.bytes, 0) as file_bytes, coalesce(d.seconds, 0) as seconds, coalesce(transcript, '') as transcript
		from message m left join media d on d.message_id = m.id
		where conversation_id = @id and seq > @seq and direction = 'in' order by seq limit 1`,
		pgx.NamedArgs{"id": conversation, "seq": seq})
}

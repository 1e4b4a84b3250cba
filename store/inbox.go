package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// InboxFilter chooses conversations; what is left out chooses all.
type InboxFilter struct {
	Account  int64
	State    State
	Assigned string
	Tag      string
	Search   string // a part of the name, number or last words
	Unseen   bool   // with messages that nobody of the house has seen
	Drafted  bool   // with a draft that waits for a person
	Before   time.Time
	Limit    int
}

// InboxLine is a conversation as a list shows it.
type InboxLine struct {
	ConversationSummary

	LastBody      string
	LastKind      string
	LastDirection string
	Unseen        int64 // messages of the customer that nobody of the house has seen
	Drafted       bool  // a draft waits for a person
}

// Inbox are conversations, those in which something happened last first.
func (s *Store) Inbox(ctx context.Context, f InboxFilter) ([]InboxLine, error) {
	return many[InboxLine](ctx, s.pool, strings.Replace(conversationSummaries, "from conversation c", `,
	  coalesce(l.body, '') as last_body, coalesce(l.kind, '') as last_kind, coalesce(l.direction, '') as last_direction,
	  case when c.state = 'bot' then 0 else greatest(c.last_seq - greatest(c.seen_seq, 0), 0) end as unseen,
	  `+drafted+` as drafted
	from conversation c`, 1)+`
	left join lateral (`+strings.ReplaceAll(history, "@id", "c.id")+`) l on true
		where c.merged_into is null
		  and (@account = 0::bigint or c.account_id = @account) and (@state = '' or c.state = @state)
		  and (@assigned = '' or c.assigned_to = @assigned) and (@tag = '' or @tag = any(c.tags))
		  and (not @unseen or (c.last_seq > c.seen_seq and c.state <> 'bot'))
		  and (not @drafted or `+drafted+`)
		  and (@search = '' or strpos(lower(p.name), lower(@search)) > 0 or strpos(coalesce(p.phone, ''), @search) > 0 or strpos(lower(l.body), lower(@search)) > 0)
		  and (@before::timestamptz is null or c.active_at < @before)
		order by c.active_at desc, c.id desc limit @most`, f.args())
}

const drafted = `exists (select from draft d where d.conversation_id = c.id and d.decision is null)`

func (f InboxFilter) args() pgx.NamedArgs {
	var before *time.Time
	if !f.Before.IsZero() {
		before = &f.Before
	}
	return pgx.NamedArgs{
		"account": f.Account, "state": string(f.State), "assigned": f.Assigned, "tag": f.Tag, "search": strings.TrimSpace(f.Search), "unseen": f.Unseen, "drafted": f.Drafted,
		"before": before, "most": f.Limit, "hi": int64(1) << 62, "limit": 1, "changes": changeKinds,
	}
}

// ConversationChange is what people note on a conversation; nil leaves a field.
type ConversationChange struct {
	AssignedTo *string
	Tags       *[]string
	SeenSeq    *int64 // people have seen it up to here
}

// ChangeConversation changes the given fields, or ErrNotFound.
func (s *Store) ChangeConversation(ctx context.Context, id int64, c ConversationChange) error {
	done, err := s.pool.Exec(ctx, `
		update conversation set assigned_to = coalesce(@assigned, assigned_to), tags = coalesce(@tags, tags),
		  seen_seq = greatest(seen_seq, least(@seen, last_seq))
		where id = @id`,
		pgx.NamedArgs{"id": id, "assigned": c.AssignedTo, "tags": tidyTags(c.Tags), "seen": c.SeenSeq})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// tidyTags are tags in small letters, each once.
func tidyTags(tags *[]string) *[]string {
	if tags == nil {
		return nil
	}
	tidy := []string{}
	for _, t := range *tags {
		if t = strings.ToLower(strings.TrimSpace(clean(t))); t != "" {
			tidy = append(tidy, t)
		}
	}
	slices.Sort(tidy)
	tidy = slices.Compact(tidy)
	return &tidy
}

// Note is what people write for each other on a conversation.
type Note struct {
	ID             int64
	ConversationID int64
	Body           string
	By             string
	At             time.Time
}

// AddNote adds a note, or ErrNotFound.
func (s *Store) AddNote(ctx context.Context, conversation int64, body, by string) (Note, error) {
	return one[Note](ctx, s.pool, `
		insert into note (conversation_id, body, by) select id, @body, @by from conversation where id = @id
		returning id, conversation_id, body, by, at`, pgx.NamedArgs{"id": conversation, "body": clean(body), "by": by})
}

// AddNoteOnce adds a note unless the same one was added since.
func (s *Store) AddNoteOnce(ctx context.Context, conversation int64, body, by string, since time.Time) error {
	_, err := s.pool.Exec(ctx, `
		insert into note (conversation_id, body, by) select id, @body, @by from conversation
		where id = @id and not exists (select from note where conversation_id = @id and by = @by and body = @body and at >= @since)`,
		pgx.NamedArgs{"id": conversation, "body": clean(body), "by": by, "since": since})
	return err
}

// Notes are the notes of a conversation and of those that became part of it, oldest
// first.
func (s *Store) Notes(ctx context.Context, conversation int64, limit int) ([]Note, error) {
	return many[Note](ctx, s.pool, `
		select * from (
		  select id, conversation_id, body, by, at from note
		  where conversation_id in (select id from conversation where id = @id or merged_into = @id) order by id desc limit @limit) newest
		order by id`, pgx.NamedArgs{"id": conversation, "limit": limit})
}

// QuickReply is words that people use again and again.
type QuickReply struct {
	ID        int64
	AccountID *int64 // nil: for all accounts
	Name      string
	Body      string
}

// ErrQuickReplyExists says that the name is taken.
var ErrQuickReplyExists = errors.New("there is a quick reply of this name already")

// QuickReplies are those of an account and those for all; with 0, every one.
func (s *Store) QuickReplies(ctx context.Context, account int64) ([]QuickReply, error) {
	return many[QuickReply](ctx, s.pool, `
		select id, account_id, name, body from quick_reply where @account = 0::bigint or account_id is null or account_id = @account
		order by lower(name), id`, pgx.NamedArgs{"account": account})
}

// AddQuickReply adds one.
func (s *Store) AddQuickReply(ctx context.Context, q QuickReply) (QuickReply, error) {
	added, err := one[QuickReply](ctx, s.pool, `
		insert into quick_reply (account_id, name, body) values (@account, @name, @body) returning id, account_id, name, body`,
		pgx.NamedArgs{"account": q.AccountID, "name": q.Name, "body": q.Body})
	if breaks(err, "quick_reply_name") {
		return added, ErrQuickReplyExists
	}
	return added, err
}

// RemoveQuickReply forgets one, or ErrNotFound.
func (s *Store) RemoveQuickReply(ctx context.Context, id int64) error {
	done, err := s.pool.Exec(ctx, `delete from quick_reply where id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

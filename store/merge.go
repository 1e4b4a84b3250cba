package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMerged says that contacts cannot be merged: they are one already.
var ErrMerged = errors.New("these contacts are one person already")

// ErrTwoPeople says that contacts cannot be one person: WhatsApp knows two.
var ErrTwoPeople = errors.New("both contacts have a phone number, or both a LID: on WhatsApp they are two people")

// ErrNotMerged says that there is no merge to undo.
var ErrNotMerged = errors.New("this contact was not merged, or something was merged after it; undo that first")

// Merge is two contacts that turned out to be one person.
type Merge struct {
	ID       int64
	Survivor int64
	Merged   int64
	At       time.Time
	By       string
	UndoneAt *time.Time
	UndoneBy *string
}

// MergeContacts makes two contacts one: the older id survives, with all addresses,
// and returns it. Their conversations with each account become one, in which
// everything that was said is found, and what waits for an answer gets one answer.
func (s *Store) MergeContacts(ctx context.Context, one, other int64, by string) (survivor int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		ids, err := column[int64](ctx, tx, `
			select id from contact where id in (@one, @other) and merged_into is null order by id for update`,
			pgx.NamedArgs{"one": one, "other": other})
		switch {
		case err != nil:
			return err
		case one == other || len(ids) < 2:
			return ErrMerged
		}
		if err := onePerson(ctx, tx, ids); err != nil {
			return err
		}
		if survivor, err = merge(ctx, tx, ids[0], ids[1], by); err != nil {
			return err
		}
		return audit(ctx, tx, by, "contact.merge", contactSubject(survivor), map[string]any{"merged": ids[1]})
	})
	return survivor, err
}

// onePerson refuses two contacts with an address of the same kind each.
func onePerson(ctx context.Context, tx pgx.Tx, ids []int64) error {
	var two bool
	err := tx.QueryRow(ctx, `select count(phone) > 1 or count(lid) > 1 from contact where id = any($1)`, ids).Scan(&two)
	if err == nil && two {
		return ErrTwoPeople
	}
	return err
}

// merge moves all that belongs to merged to survivor. Both contacts are locked, so
// that no message finds either of them meanwhile; then their conversations, in the
// order of ids. Turns under way on them are fenced by their cursors: that of the
// closed conversation is at its end, and in the other a newer message has come. What
// executions wait for moves along; one that runs goes on under the merged id, which
// leads to the survivor wherever it is used.
func merge(ctx context.Context, tx pgx.Tx, survivor, merged int64, by string) (int64, error) {
	args := pgx.NamedArgs{"survivor": survivor, "merged": merged, "by": by, "claims": claimLock}
	var id int64
	err := tx.QueryRow(ctx, `insert into contact_merge (survivor, merged, by) values (@survivor, @merged, @by) returning id`, args).Scan(&id)
	if err != nil {
		return 0, err
	}
	args["merge"] = id
	old, err := one[Contact](ctx, tx, `select `+contactColumns+` from contact where id = @merged`, args)
	if err != nil {
		return 0, err
	}
	args["phone"], args["lid"], args["username"], args["name"] = old.Phone, old.LID, old.Username, old.Name
	return survivor, steps(ctx, tx, mergeSteps, args)
}

// steps runs statements one after another.
func steps(ctx context.Context, tx pgx.Tx, statements []string, args pgx.NamedArgs) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement, args); err != nil {
			return err
		}
	}
	return nil
}

// pair are the conversations of both with one account: one is kept, one is closed.
const pair = `
	with pair as (
	  select d.id as closed, k.id as kept, d.answered_seq, k.last_seq, k.out_seq
	  from conversation d join conversation k on k.account_id = d.account_id and k.contact_id = @survivor
	  where d.contact_id = @merged and d.merged_into is null)`

// newSeq is the place that a message of the closed conversation got in the kept
// one, by its old place; before the first of them, one before all.
const newSeq = `coalesce(
	(select m.seq from contact_merge_move v join message m on m.id = v.row_id
	 where v.merge_id = @merge and v.kind = 'message' and v.place = closed and v.seq <= was.seq order by v.seq desc limit 1),
	least(0, (select min(seq) from message where conversation_id = kept)) - 1)`

// mergeSteps: what is settled goes before everything else of the kept
// conversation, what waits goes behind it.
var mergeSteps = []string{
	// both contacts' conversations are still
	`select from conversation where contact_id in (@survivor, @merged) and merged_into is null order by id for update`,
	// an account that only the merged one wrote to
	`with moved as (
	   update conversation c set contact_id = @survivor where contact_id = @merged and merged_into is null
	     and not exists (select from conversation k where k.account_id = c.account_id and k.contact_id = @survivor)
	   returning id)
	 insert into contact_merge_move (merge_id, kind, row_id) select @merge, 'conversation', id from moved`,
	// messages, but for those that both have
	pair + `,
	was as (
	  select m.id, m.seq, closed, kept, last_seq, m.seq > answered_seq as waits
	  from pair join message m on m.conversation_id = closed
	  where not exists (select from message x where x.conversation_id = kept and x.wa_id = m.wa_id)),
	placed as (
	  select id, seq, closed, kept, case
	    when waits then last_seq + row_number() over (partition by kept, waits order by seq)
	    else least(0, (select min(seq) from message where conversation_id = kept)) - row_number() over (partition by kept, waits order by seq desc)
	    end as place
	  from was),
	noted as (
	  insert into contact_merge_move (merge_id, kind, row_id, place, seq) select @merge, 'message', id, closed, seq from placed)
	update message m set conversation_id = kept, seq = placed.place from placed where m.id = placed.id`,
	// what we sent and what waits to be sent
	pair + `,
	was as (
	  select o.id, o.out_seq as old, o.after_seq as seq, closed, kept, pair.out_seq,
	    o.sent_at is null and o.failed_at is null and o.cancelled_at is null as waits
	  from pair join outbound o on o.conversation_id = closed),
	placed as (
	  select id, old, seq, closed, kept, ` + newSeq + ` as after_seq, case
	    when waits then out_seq + row_number() over (partition by kept, waits order by old)
	    else least(0, (select min(out_seq) from outbound where conversation_id = kept)) - row_number() over (partition by kept, waits order by old desc)
	    end as place
	  from was),
	noted as (
	  insert into contact_merge_move (merge_id, kind, row_id, place, seq, out_seq) select @merge, 'outbound', id, closed, seq, old from placed)
	update outbound o set conversation_id = kept, out_seq = placed.place, after_seq = placed.after_seq from placed where o.id = placed.id`,
	// why the bot did or did not answer
	pair + `,
	was as (
	  select t.id, t.seq, closed, kept from pair join timeline t on t.conversation_id = closed),
	placed as (
	  select id, seq, closed, kept, ` + newSeq + ` as place from was),
	noted as (
	  insert into contact_merge_move (merge_id, kind, row_id, place, seq) select @merge, 'timeline', id, closed, seq from placed)
	update timeline t set conversation_id = kept, seq = placed.place from placed where t.id = placed.id`,
	// the kept conversation's queue
	pair + `,
	more as (
	  select kept, d.state, d.chat, d.active_at, d.pending_since, d.due_at, d.return_at, d.opted_out_at,
	    (select count(*) from message m where m.conversation_id = kept and m.seq > pair.last_seq) as waiting,
	    (select count(*) from outbound o where o.conversation_id = kept and o.out_seq > pair.out_seq) as queued
	  from pair join conversation d on d.id = closed)
	update conversation k set
	  last_seq = k.last_seq + waiting,
	  out_seq = k.out_seq + queued,
	  state = case when 'human' in (k.state, more.state) then 'human' when 'paused' in (k.state, more.state) then 'paused' else k.state end,
	  answered_seq = case when k.state = 'bot' and more.state = 'bot' then k.answered_seq else k.last_seq + waiting end,
	  pending_since = case when waiting > 0 then least(k.pending_since, more.pending_since) else k.pending_since end,
	  due_at = case when waiting > 0 then greatest(k.due_at, more.due_at) else k.due_at end,
	  return_at = case when (k.state in ('human', 'paused') and k.return_at is null) or (more.state in ('human', 'paused') and more.return_at is null)
	              then null else greatest(k.return_at, more.return_at) end,
	  opted_out_at = coalesce(k.opted_out_at, more.opted_out_at),
	  chat = case when more.active_at > k.active_at then more.chat else k.chat end,
	  active_at = greatest(k.active_at, more.active_at)
	from more where k.id = more.kept`,
	// executions are not claimed meanwhile, and stay as they are
	`select pg_advisory_xact_lock(@claims::bigint) where exists (select from execution where contact_id = @merged and finished_at is null)`,
	pair + `
	select from execution x join pair on x.conversation_id in (closed, kept) where x.finished_at is null order by x.id for update of x`,
	`update execution set contact_id = @survivor where contact_id = @merged and status in ('queued', 'waiting')`,
	// a word that came since an execution waits for one ends its wait, from whichever address it came
	pair + `,
	said as (
	  select kept, m.direction, m.seq, m.received_at, coalesce(v.seq, m.seq) as was, coalesce(v.place, kept) as place
	  from pair join message m on m.conversation_id = kept
	  left join contact_merge_move v on v.merge_id = @merge and v.kind = 'message' and v.row_id = m.id),
	waits as (
	  select x.id, pair.kept, last_seq, (
	    select min(seq) from said where said.kept = pair.kept and direction = 'in'
	      and case when place = x.conversation_id then was > x.awaits_seq else was > 0 and received_at >= x.step_began_at end) as reply
	  from pair join execution x on x.conversation_id in (closed, pair.kept) where x.finished_at is null)
	update execution x set conversation_id = kept,
	  awaits_seq = case when awaits_seq is not null then coalesce(reply - 1, last_seq) end,
	  due_at = case when awaits = 'reply' and reply is not null then least(due_at, clock()) else due_at end
	from waits where x.id = waits.id`,
	// where a person speaks, the bot does not
	pair + `
	update outbound o set cancelled_at = clock() from pair join conversation k on k.id = kept
	where o.conversation_id = kept and k.state <> 'bot' and o.origin = 'bot' and o.claimed_at is null
	  and o.sent_at is null and o.failed_at is null and o.cancelled_at is null`,
	// the other one is closed
	pair + `,
	noted as (
	  insert into contact_merge_move (merge_id, kind, row_id, place, seq, word)
	  select @merge, 'closed', closed, kept, d.answered_seq, d.state from pair join conversation d on d.id = closed)
	update conversation d set state = 'closed', state_since = clock(), answered_seq = d.last_seq, retry_at = null, merged_into = kept
	from pair where d.id = closed`,
	// the person
	`insert into contact_merge_move (merge_id, kind, row_id, word)
	 select @merge, 'address', id, a.kind || ':' || a.value
	 from contact, lateral (values ('phone', phone), ('lid', lid), ('username', username)) as a (kind, value)
	 where id in (@survivor, @merged) and a.value is not null`,
	`with moved as (update contact set merged_into = @survivor where merged_into = @merged returning id)
	 insert into contact_merge_move (merge_id, kind, row_id) select @merge, 'contact', id from moved`,
	`update contact set phone = null, lid = null, username = null, merged_into = @survivor where id = @merged`,
	`update contact set phone = coalesce(phone, @phone), lid = coalesce(lid, @lid), username = coalesce(username, @username),
	   name = case when name = '' then @name else name end
	 where id = @survivor`,
}

// UnmergeContact takes a merge back: addresses, conversations and all that was
// moved go where they were; what came after the merge stays with the survivor.
// ErrNotMerged when the contact was not merged or something was merged later.
func (s *Store) UnmergeContact(ctx context.Context, contact int64, by string) (Merge, error) {
	var m Merge
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		m, err = one[Merge](ctx, tx, `
			select id, survivor, merged, at, by, undone_at, undone_by from contact_merge m
			where merged = @contact and undone_at is null and not exists (
			  select from contact_merge l where l.id > m.id and l.undone_at is null and (l.survivor in (m.survivor, m.merged) or l.merged in (m.survivor, m.merged)))
			for update`, pgx.NamedArgs{"contact": contact})
		if errors.Is(err, ErrNotFound) {
			return ErrNotMerged
		}
		if err != nil {
			return err
		}
		err = steps(ctx, tx, unmergeSteps, pgx.NamedArgs{"merge": m.ID, "survivor": m.Survivor, "merged": m.Merged, "by": by})
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, "contact.unmerge", contactSubject(contact), map[string]any{"survivor": m.Survivor})
	})
	return m, err
}

func contactSubject(id int64) string { return "contact:" + strconv.FormatInt(id, 10) }

// was is the address of a kind that a contact had before the merge.
func was(kind, contact string) string {
	return `(select substr(word, ` + lengthOf(kind) + `) from contact_merge_move where merge_id = @merge and kind = 'address'
	  and row_id = ` + contact + ` and word like '` + kind + `:%')`
}

func lengthOf(kind string) string { return strconv.Itoa(len(kind) + 2) }

// back is an address of the survivor after the merge is undone: its own again, if
// it still has the merged one's.
func back(kind string) string {
	return kind + ` = case when ` + kind + ` = ` + was(kind, "@merged") + ` then ` + was(kind, "@survivor") + ` else ` + kind + ` end`
}

// again is an address of the merged contact, unless somebody else has it by now.
func again(kind string) string {
	return kind + ` = (select a from ` + was(kind, "@merged") + ` as t (a) where not exists (select from contact x where x.` + kind + ` = a))`
}

var unmergeSteps = []string{
	`select from contact where id in (@survivor, @merged) order by id for update`,
	`select from conversation where id in (
	   select row_id from contact_merge_move where merge_id = @merge and kind in ('conversation', 'closed')
	   union select place from contact_merge_move where merge_id = @merge and kind = 'closed')
	 order by id for update`,
	`update contact set ` + back("phone") + `, ` + back("lid") + `, ` + back("username") + ` where id = @survivor`,
	`update contact set merged_into = null, ` + again("phone") + `, ` + again("lid") + `, ` + again("username") + ` where id = @merged`,
	`update contact set merged_into = @merged where id in (select row_id from contact_merge_move where merge_id = @merge and kind = 'contact')`,
	`update conversation set contact_id = @merged where id in (select row_id from contact_merge_move where merge_id = @merge and kind = 'conversation')`,
	// what waits in the kept conversation waits in the other one again, and only that
	`update conversation d set state = v.word, state_since = clock(), merged_into = null,
	   answered_seq = case when v.word = 'bot' and exists (
	     select from contact_merge_move w join message m on m.id = w.row_id join conversation k on k.id = v.place
	     where w.merge_id = @merge and w.kind = 'message' and w.place = d.id and m.direction = 'in' and m.seq > k.answered_seq)
	     then greatest(v.seq, (
	       select max(w.seq) from contact_merge_move w join message m on m.id = w.row_id join conversation k on k.id = v.place
	       where w.merge_id = @merge and w.kind = 'message' and w.place = d.id and m.seq <= k.answered_seq))
	     else d.last_seq end
	 from contact_merge_move v where v.merge_id = @merge and v.kind = 'closed' and v.row_id = d.id`,
	// messages go where they were; one that became readable after it was settled goes behind the others
	`with was as (
	   select m.id, d.id as conversation, d.last_seq, v.seq,
	     d.state = 'bot' and m.direction = 'in' and m.seq > k.answered_seq and v.seq <= d.answered_seq as late
	   from contact_merge_move v join message m on m.id = v.row_id join conversation d on d.id = v.place
	   join contact_merge_move c on c.merge_id = @merge and c.kind = 'closed' and c.row_id = d.id join conversation k on k.id = c.place
	   where v.merge_id = @merge and v.kind = 'message'),
	 placed as (
	   select id, conversation, case when late then last_seq + row_number() over (partition by conversation, late order by seq) else seq end as place from was)
	 update message m set conversation_id = conversation, seq = place from placed where m.id = placed.id`,
	`update conversation d set last_seq = greatest(d.last_seq, (select max(seq) from message where conversation_id = d.id))
	 from contact_merge_move v where v.merge_id = @merge and v.kind = 'closed' and v.row_id = d.id`,
	`update outbound o set conversation_id = v.place, out_seq = v.out_seq, after_seq = v.seq from contact_merge_move v
	 where v.merge_id = @merge and v.kind = 'outbound' and v.row_id = o.id`,
	`update timeline t set conversation_id = v.place, seq = v.seq from contact_merge_move v
	 where v.merge_id = @merge and v.kind = 'timeline' and v.row_id = t.id`,
	// what still waits there moves behind all that was said, so that no turn under way settles it: it has read what went
	`update message m set seq = m.seq + k.last_seq - k.answered_seq
	 from contact_merge_move v join conversation k on k.id = v.place
	 where v.merge_id = @merge and v.kind = 'closed' and m.conversation_id = k.id and m.seq > k.answered_seq`,
	`update conversation k set answered_seq = last_seq,
	   last_seq = greatest(last_seq, (select max(seq) from message where conversation_id = k.id))
	 from contact_merge_move v where v.merge_id = @merge and v.kind = 'closed' and v.place = k.id`,
	`update contact_merge set undone_at = clock(), undone_by = @by where id = @merge`,
	`delete from contact_merge_move where merge_id = @merge`,
}

// Merges are the merges that a person took part in, newest first.
func (s *Store) Merges(ctx context.Context, contact int64) ([]Merge, error) {
	return many[Merge](ctx, s.pool, `
		select id, survivor, merged, at, by, undone_at, undone_by from contact_merge
		where survivor = @contact or merged = @contact order by id desc`, pgx.NamedArgs{"contact": contact})
}

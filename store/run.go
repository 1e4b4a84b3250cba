package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// StepEvent is one event of an execution that a statement about it adds.
type StepEvent struct {
	Type string         `json:"type"`
	Data map[string]any `json:"data,omitempty"`
}

// ErrMoved says that an execution belongs to another process now, or to none.
var ErrMoved = errors.New("the execution was taken over")

// claimLock is the advisory lock, "fe", under which executions are claimed: one
// contact's are claimed one after the other.
const claimLock = 0x6665

// claimLook is how many due executions a claim looks at.
const claimLook = 500

// Places are how many executions a process can take.
type Places struct {
	All   int
	Tests int // among them
}

// ClaimExecutions takes executions that are due, in order, at most one of a contact,
// none of a contact of whom one runs. They are p's until it settles them or dies.
func (s *Store) ClaimExecutions(ctx context.Context, p Process, free Places) (claimed []Execution, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, claimLock); err != nil {
			return err
		}
		claimed, err = many[Execution](ctx, tx, `
			with busy as (
			  select coalesce(c.merged_into, c.id) as person from execution r join contact c on c.id = r.contact_id where r.status = 'running'),
			ready as (
			  select d.id, coalesce(c.merged_into, c.id) as person, test <> '' as is_test, due_at
			  from execution d left join contact c on c.id = d.contact_id
			  where status in ('queued', 'waiting') and due_at <= clock()
			    and not exists (select from busy where busy.person = coalesce(c.merged_into, c.id))
			  order by due_at, d.id limit @look),
			first as (
			  select distinct on (coalesce(person, -id)) id, is_test, due_at from ready order by coalesce(person, -id), due_at, id),
			turn as (
			  select id from (select *, row_number() over (partition by is_test order by due_at, id) as nth from first) numbered
			  where not is_test or nth <= @tests order by due_at, id limit @all),
			x as (
			  update execution set status = 'running', owner = @me, epoch = epoch + 1, started_at = coalesce(started_at, clock()), event_seq = event_seq + 1
			  where id in (select id from turn) and status in ('queued', 'waiting') -- it may have been cancelled meanwhile
			  returning *),
			e as (
			  insert into event (type, execution_id, flow_id, account_id, conversation_id, epoch, seq, test)
			  select case epoch when 1 then 'execution.started' else 'execution.resumed' end, id, flow_id, account_id, conversation_id, epoch, event_seq, test <> ''
			  from x)`+executionRows+` order by x.due_at, x.id`,
			pgx.NamedArgs{"me": p.ID, "look": claimLook, "all": free.All, "tests": free.Tests})
		return err
	})
	return claimed, err
}

// NextExecution is how long until the next execution is due, at most limit.
func (s *Store) NextExecution(ctx context.Context, limit time.Duration) (time.Duration, error) {
	var wait time.Duration
	err := s.pool.QueryRow(ctx, `
		select least(@limit::interval, min(due_at) - clock()) -- of no execution: the limit
		from execution where status in ('queued', 'waiting') and due_at > clock()`,
		pgx.NamedArgs{"limit": limit}).Scan(&wait)
	return wait, err
}

// Work is an execution under way, by the epoch of its owner.
type Work struct {
	ID    int64
	Epoch int64
}

// RequeueExecutions has somebody go on with what processes held that have left, with
// what p holds without being at work on it, and with what processes hold that were
// silent for ttl (0: they are believed to live). It says how many executions those were.
func (s *Store) RequeueExecutions(ctx context.Context, p Process, atWork []Work, ttl time.Duration) (int, error) {
	ids, epochs := []int64{}, []int64{}
	for _, w := range atWork {
		ids, epochs = append(ids, w.ID), append(epochs, w.Epoch)
	}
	done, err := s.pool.Exec(ctx, `
		update execution x set status = 'queued', owner = null, due_at = clock()
		where status = 'running' and case when owner = @me
		  then not exists (select from unnest(@ids::bigint[], @epochs::bigint[]) as w (id, epoch) where w.id = x.id and w.epoch = x.epoch)
		  else not exists (select from process p where p.id = x.owner and (@ttl::interval = '0' or p.seen_at > clock() - @ttl::interval)) end`,
		pgx.NamedArgs{"me": p.ID, "ids": ids, "epochs": epochs, "ttl": ttl})
	return int(done.RowsAffected()), err
}

// WakeExecutions makes those due that wait for a word of a customer, or for how far a
// message got, which is there now. Only the given conversations and messages are
// looked at; nil: all.
func (s *Store) WakeExecutions(ctx context.Context, conversations, outbounds []int64) (int, error) {
	args := pgx.NamedArgs{"conversations": conversations, "outbounds": outbounds}
	replied, err := s.pool.Exec(ctx, `
		update execution x set due_at = clock()
		where status = 'waiting' and awaits = 'reply' and due_at > clock() and (@conversations::bigint[] is null or conversation_id = any(@conversations))
		  and exists (select from message m where m.conversation_id = x.conversation_id and m.direction = 'in' and m.seq > x.awaits_seq)`, args)
	if err != nil {
		return 0, err
	}
	sent, err := s.pool.Exec(ctx, `
		update execution x set due_at = clock() from outbound o
		where status = 'waiting' and awaits in ('sent', 'delivered') and x.due_at > clock() and (@outbounds::bigint[] is null or awaits_outbound = any(@outbounds))
		  and o.id = x.awaits_outbound and (o.failed_at is not null or o.cancelled_at is not null
		    or case x.awaits when 'sent' then o.sent_at else o.delivered_at end is not null)`, args)
	return int(replied.RowsAffected() + sent.RowsAffected()), err
}

// fence writes about a running execution as long as it is still the caller's: it sets
// columns and adds events in one statement, numbered behind the last one. also are
// further parts of the statement, which may read x. What a crash of Postgres itself may
// undo is done again: claims are flushed, and everything else has its own key. Whoever
// then knows more than the row does is like one whom it was taken from.
func (s *Store) fence(ctx context.Context, x *Execution, set, also string, args pgx.NamedArgs, events []StepEvent) error {
	told := make([]any, len(events))
	for i, v := range events {
		told[i] = map[string]any{"type": v.Type, "data": Clean(v.Data)}
	}
	args["id"], args["owner"], args["epoch"], args["events"], args["n"] = x.ID, x.Owner, x.Epoch, told, len(events)
	args["at_step"], args["at_seq"] = x.Step, x.EventSeq
	err := s.hasty.QueryRow(ctx, `
		with x as (
		  update execution set event_seq = event_seq + @n, `+set+`
		  where id = @id and status = 'running' and owner = @owner and epoch = @epoch and step = @at_step and event_seq = @at_seq
		  returning *),
		noted as (
		  insert into event (type, execution_id, flow_id, account_id, conversation_id, epoch, seq, test, data)
		  select e.value->>'type', x.id, x.flow_id, x.account_id, x.conversation_id, x.epoch, x.event_seq - @n + e.place, x.test <> '', coalesce(nullif(e.value->'data', 'null'), '{}')
		  from x, jsonb_array_elements(@events::jsonb) with ordinality as e (value, place))`+also+`
		select event_seq, clock() from x`, args).Scan(&x.EventSeq, &x.Now)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("execution %d: %w", x.ID, ErrMoved)
	}
	return err
}

// livingConversation is @conversation, or the one that it became part of meanwhile.
const livingConversation = `coalesce((select merged_into from conversation c where c.id = @conversation), @conversation)`

// TryStep notes that the next step is tried, before it is. The caller's x follows.
func (s *Store) TryStep(ctx context.Context, x *Execution, events ...StepEvent) error {
	err := s.fence(ctx, x, `tries = tries + 1, step_began_at = coalesce(step_began_at, clock())`, "", pgx.NamedArgs{}, events)
	if err != nil {
		return err
	}
	x.Tries++
	if x.StepBeganAt == nil {
		x.StepBeganAt = new(x.Now)
	}
	return nil
}

// SettleStep keeps what the next step came to and moves on behind it; ran is the time
// that the execution has worked since it was last written down. A response, if there is
// one, is what whoever started it gets. With the last step the execution ends.
func (s *Store) SettleStep(ctx context.Context, x *Execution, o ExecutionStep, ran time.Duration, events ...StepEvent) error {
	err := s.fence(ctx, x, `
		  step = step + 1, tries = 0, step_began_at = null, awaits = '', awaits_seq = null, awaits_outbound = null, ran_ms = ran_ms + @ran,
		  response = coalesce(@response::jsonb, response), conversation_id = coalesce(`+livingConversation+`, conversation_id),
		  status = coalesce(nullif(@ends, ''), status), finished_at = case when @ends <> '' then clock() end,
		  failure = case when @ends = 'failed' then @name || ': ' || @failure else failure end, owner = case when @ends = '' then owner end`, `,
		kept as (
		  insert into execution_step (execution_id, position, name, type, status, result, failure, tries, began_at)
		  select id, step - 1, @name, @type, @status, @result::jsonb, @failure, @tries, coalesce(@began::timestamptz, clock()) from x
		  on conflict (execution_id, position) do update set status = excluded.status, result = excluded.result, failure = excluded.failure,
		    tries = excluded.tries, ended_at = excluded.ended_at)`,
		pgx.NamedArgs{
			"name": o.Name, "type": o.Type, "status": o.Status, "result": o.Result, "failure": clean(o.Failure), "tries": x.Tries, "began": x.StepBeganAt,
			"ran": ran.Milliseconds(), "response": o.Response, "conversation": x.ConversationID, "ends": o.Ends,
		}, events)
	if err != nil {
		return err
	}
	x.Step, x.Tries, x.StepBeganAt, x.Awaits, x.AwaitsSeq, x.AwaitsOutbound = x.Step+1, 0, nil, "", nil, nil
	return nil
}

// Await is what an execution waits for, without a place.
type Await struct {
	What     string        // time, reply, sent, delivered or retry
	For      time.Duration // at most
	Outbound *int64        // sent, delivered: of this message
}

// WaitExecution gives an execution's place away until what it waits for is there. A
// reply is a message that comes from now on.
func (s *Store) WaitExecution(ctx context.Context, x *Execution, a Await, ran time.Duration, events ...StepEvent) error {
	return s.fence(ctx, x, `
		  status = case when cancel_at is null then 'waiting' else 'queued' end, owner = null,
		  due_at = clock() + case when cancel_at is null then @for::interval else interval '0' end, awaits = @what, awaits_outbound = coalesce(@outbound, awaits_outbound),
		  awaits_seq = case when @what = 'reply' then coalesce(awaits_seq, (select last_seq from conversation c where c.id = execution.conversation_id)) end,
		  ran_ms = ran_ms + @ran, conversation_id = coalesce(`+livingConversation+`, conversation_id)`, "",
		pgx.NamedArgs{"what": a.What, "for": a.For, "outbound": a.Outbound, "ran": ran.Milliseconds(), "conversation": x.ConversationID}, events)
}

// ReleaseExecution gives an execution back to the queue, to be taken up after wait. A try
// that was cut off does not count, what went wrong on our side does.
func (s *Store) ReleaseExecution(ctx context.Context, x *Execution, wait, ran time.Duration) error {
	return s.fence(ctx, x, `
		  status = 'queued', owner = null, due_at = clock() + @wait::interval, ran_ms = ran_ms + @ran,
		  tries = case when @wait::interval > '0' then tries + 1 else greatest(0, tries - 1) end`, "",
		pgx.NamedArgs{"wait": wait, "ran": ran.Milliseconds()}, nil)
}

// EndExecution ends an execution: completed, failed or cancelled.
func (s *Store) EndExecution(ctx context.Context, x *Execution, status, failure string, ran time.Duration, events ...StepEvent) error {
	return s.fence(ctx, x, `
		  status = @status, failure = @failure, finished_at = clock(), owner = null, awaits = '', ran_ms = ran_ms + @ran`, "",
		pgx.NamedArgs{"status": status, "failure": clean(failure), "ran": ran.Milliseconds()}, events)
}

// CancelExecution has an execution end before its next step. One that waits ends at
// once; its owner hears of one that runs. One that has ended stays as it is.
func (s *Store) CancelExecution(ctx context.Context, id int64) (Execution, error) {
	_, err := s.pool.Exec(ctx, `
		with x as (
		  update execution set cancel_at = coalesce(cancel_at, clock()),
		    status = case when status = 'running' then status else 'cancelled' end,
		    finished_at = case when status = 'running' then null else clock() end,
		    event_seq = event_seq + case when status = 'running' then 0 else 1 end
		  where id = @id and finished_at is null
		  returning *),
		e as (
		  insert into event (type, execution_id, flow_id, account_id, conversation_id, epoch, seq, test)
		  select 'execution.cancelled', id, flow_id, account_id, conversation_id, epoch, event_seq, test <> '' from x where status = 'cancelled')
		select pg_notify('frontdesk', json_build_object('topic', 'execution', 'id', id)::text) from x`, pgx.NamedArgs{"id": id})
	if err != nil {
		return Execution{}, err
	}
	return s.Execution(ctx, id)
}

// UnwantedExecutions are those of an owner that somebody wants to end.
func (s *Store) UnwantedExecutions(ctx context.Context, owner string) ([]int64, error) {
	return column[int64](ctx, s.pool, `
		select id from execution where status = 'running' and owner = @owner and cancel_at is not null`, pgx.NamedArgs{"owner": owner})
}

// CountExecutions are how many executions wait for a place, and how many for something
// else.
func (s *Store) CountExecutions(ctx context.Context) (queued, waiting int, err error) {
	err = s.pool.QueryRow(ctx, `
		select count(*) filter (where status = 'queued'), count(*) filter (where status = 'waiting') from execution where status in ('queued', 'waiting')`).
		Scan(&queued, &waiting)
	return queued, waiting, err
}

// How long executions are kept.
const (
	ExecutionDays = 30
	testHours     = 1
)

// DropExecutions forgets executions that ended long ago, and tests, at most limit of
// each, and the names of deliveries after a week. It says how many executions those were.
func (s *Store) DropExecutions(ctx context.Context, limit int) (int, error) {
	done, err := s.pool.Exec(ctx, `
		with named as (
		  update execution set delivery_key = null where id in (
		    select id from execution where delivery_key is not null and created_at < clock() - @days * interval '1 day' order by created_at limit @limit))
		delete from execution where id in (
		  (select id from execution where finished_at < clock() - @keep * interval '1 day' order by finished_at limit @limit)
		  union
		  (select id from execution where test <> '' and finished_at < clock() - @tests * interval '1 hour' order by finished_at limit @limit))`,
		pgx.NamedArgs{"days": deliveryDays, "keep": ExecutionDays, "tests": testHours, "limit": limit})
	return int(done.RowsAffected()), err
}

package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Execution is one delivery, one version of a flow and one contact. Its row is the
// queue: queued and waiting ones are for whoever claims them, a running one belongs to
// its owner.
type Execution struct {
	ID             int64
	FlowID         int64
	Flow           string // its name
	Version        int
	WebhookID      *string
	AccountID      *int64
	ContactID      *int64
	Chat           string
	ConversationID *int64
	Trigger        json.RawMessage // an object
	Test           string          // "", simulated or live
	Status         string          // queued, running, waiting, completed, failed or cancelled
	Step           int             // the next one, from 0
	Tries          int             // of it
	StepBeganAt    *time.Time      // its first try
	DueAt          time.Time       // queued or waiting: not before
	Awaits         string          // "", time, reply, sent, delivered or retry
	AwaitsSeq      *int64
	AwaitsOutbound *int64
	Owner          *string
	Epoch          int64
	EventSeq       int64 // of its last event
	RanMS          int64 `db:"ran_ms"` // without waits
	CancelAt       *time.Time
	Response       json.RawMessage // {"status", "body"}, or null
	Failure        string
	ReplayOf       *int64
	CreatedAt      time.Time
	StartedAt      *time.Time
	FinishedAt     *time.Time
	Position       int       // of a queued one among those that wait for a place, about
	Now            time.Time // when it was read
}

// Ended says that nothing more happens to it.
func (e Execution) Ended() bool { return e.FinishedAt != nil }

// ExecutionStep is what a step came to.
type ExecutionStep struct {
	Position int
	Name     string
	Type     string
	Status   string // completed, failed or skipped
	Result   json.RawMessage
	Failure  string
	Tries    int
	BeganAt  time.Time
	EndedAt  time.Time

	Response json.RawMessage `db:"-"` // what whoever started the execution gets
	Ends     string          `db:"-"` // completed or failed: so the execution is with it; "": it goes on
}

// positionOf is how many wait as long as x or longer.
const positionOf = `case when x.status = 'queued' then (
	select count(*)::int from execution q where q.status = 'queued' and (q.due_at, q.id) <= (x.due_at, x.id)) else 0 end`

// executionRows are the rows of x, which the statement defines.
const executionRows = `
	select x.id, x.flow_id, f.name as flow, x.version, x.webhook_id, x.account_id, x.contact_id, x.chat, x.conversation_id, x.trigger, x.test, x.status,
	  x.step, x.tries, x.step_began_at, x.due_at, x.awaits, x.awaits_seq, x.awaits_outbound, x.owner, x.epoch, x.event_seq, x.ran_ms, x.cancel_at,
	  x.response, x.failure, x.replay_of, x.created_at, x.started_at, x.finished_at,
	  ` + positionOf + ` as position, clock() as now
	from x join flow f on f.id = x.flow_id`

// Execution is one execution, or ErrNotFound.
func (s *Store) Execution(ctx context.Context, id int64) (Execution, error) {
	return one[Execution](ctx, s.pool, `with x as (select * from execution where id = @id)`+executionRows, pgx.NamedArgs{"id": id})
}

// ExecutionFilter says which executions are meant; zero values: all.
type ExecutionFilter struct {
	FlowID    int64
	ContactID int64
	Status    string
	Tests     bool // tests too
}

// listed leaves out what lists do not show: triggers may be large, places are counted.
var listed = strings.NewReplacer("x.trigger,", "'{}'::jsonb as trigger,", positionOf, "0").Replace(executionRows)

// Executions are executions, the newest first, without their triggers and places.
func (s *Store) Executions(ctx context.Context, f ExecutionFilter, p Page) ([]Execution, error) {
	return many[Execution](ctx, s.pool, `
		with x as (
		  select * from execution
		  where (@before = 0::bigint or id < @before) and (@flow = 0::bigint or flow_id = @flow) and (@contact = 0::bigint or contact_id = @contact)
		    and (@status = '' or status = @status) and (@tests or test = '')
		  order by id desc limit @limit)`+listed+` order by x.id desc`,
		pgx.NamedArgs{
			"before": p.Before, "limit": p.Limit, "flow": f.FlowID, "contact": f.ContactID, "status": f.Status, "tests": f.Tests,
		})
}

// LastExecutions are the newest execution of each flow that has one, tests aside.
func (s *Store) LastExecutions(ctx context.Context) ([]Execution, error) {
	return many[Execution](ctx, s.pool, `
		with x as (
		  select last.* from flow
		  cross join lateral (select * from execution where flow_id = flow.id and test = '' order by id desc limit 1) last)`+executionRows, nil)
}

// ExecutionSteps are what the steps of an execution came to, in order.
func (s *Store) ExecutionSteps(ctx context.Context, id int64) ([]ExecutionStep, error) {
	return many[ExecutionStep](ctx, s.pool, `
		select position, name, type, status, result, failure, tries, began_at, ended_at
		from execution_step where execution_id = @id order by position`, pgx.NamedArgs{"id": id})
}

// NewExecution is an execution that somebody wants.
type NewExecution struct {
	FlowID         int64
	Version        int
	WebhookID      *string
	AccountID      *int64
	ContactID      *int64
	Chat           string
	ConversationID *int64
	Trigger        json.RawMessage
	Test           string
	DeliveryKey    string // "": every delivery is a new one
	RequestHash    []byte
	ReplayOf       *int64
	Step           int  // where it begins; steps before it are those of ReplayOf
	MostTests      int  // of a webhook that may wait (L24)
	Spacious       bool // far fewer than MostQueued wait; nobody needs to count
}

// MostQueued is how many executions may wait for a place (L16).
const MostQueued = 10_000

// What AddExecution refuses.
var (
	ErrQueueFull      = errors.New("too many executions wait for a place")
	ErrDeliveryReused = errors.New("this delivery came before with another body")
	ErrNoAccount      = errors.New("the account that it is for was removed")
)

// deliveryDays is how long the name of a delivery is known.
const deliveryDays = 7

// AddExecution stores an execution to be claimed, with its first event, in one commit.
// The same delivery again returns the first execution and replayed; with another body
// it is ErrDeliveryReused. Where too many wait it is ErrQueueFull, and nothing is
// stored.
func (s *Store) AddExecution(ctx context.Context, n NewExecution) (x Execution, replayed bool, err error) {
	x, err = s.addExecution(ctx, n)
	switch {
	case breaks(err, "execution_delivery"):
		return s.deliveredBefore(ctx, n)
	case breaks(err, "execution_account_id_fkey"):
		err = ErrNoAccount
	}
	return x, false, err
}

func (s *Store) addExecution(ctx context.Context, n NewExecution) (Execution, error) {
	x, err := one[Execution](ctx, s.pool, `
		with room as (
		  select @spacious or count(*) < case when @test = '' then @most::int else @most_tests::int end as free from (
		    select from execution where status = 'queued' and test = '' and @test = '' and not @spacious
		    union all select from execution where status = 'queued' and test <> '' and @test <> '' and webhook_id is not distinct from @webhook
		    limit @most) waiting),
		x as (
		  insert into execution (flow_id, version, webhook_id, account_id, contact_id, chat, conversation_id, trigger, test, delivery_key, request_hash,
		    replay_of, step, event_seq)
		  select @flow, @version, @webhook, @account, @contact, @chat, @conversation, @trigger::jsonb, @test, nullif(@key, ''), @hash, @replay_of, @step, 1
		  from room where free
		  returning *),
		known as (
		  insert into execution_step (execution_id, position, name, type, status, result, failure, tries, began_at, ended_at)
		  select x.id, s.position, s.name, s.type, s.status, s.result, s.failure, s.tries, s.began_at, s.ended_at
		  from x join execution_step s on s.execution_id = x.replay_of and s.position < x.step),
		e as (
		  insert into event (type, execution_id, flow_id, account_id, conversation_id, seq, test, data)
		  select 'execution.queued', id, flow_id, account_id, conversation_id, 1, test <> '', jsonb_build_object('version', version) from x)`+strings.Replace(executionRows, positionOf, "0", 1),
		pgx.NamedArgs{
			"flow": n.FlowID, "spacious": n.Spacious && n.Test == "", "version": n.Version, "webhook": n.WebhookID, "account": n.AccountID, "contact": n.ContactID, "chat": n.Chat,
			"conversation": n.ConversationID, "trigger": n.Trigger, "test": n.Test, "key": clean(n.DeliveryKey), "hash": n.RequestHash,
			"replay_of": n.ReplayOf, "step": n.Step, "most": MostQueued, "most_tests": n.MostTests,
		})
	if errors.Is(err, ErrNotFound) {
		return x, ErrQueueFull
	}
	return x, err
}

// PositionOf is the place of a queued execution among those that wait for one, about; 0
// when it waits no more.
func (s *Store) PositionOf(ctx context.Context, x Execution) (int, error) {
	var n int
	err := s.pool.QueryRow(ctx, `
		with x as (select * from execution where id = $1) select `+positionOf+` from x`, x.ID).Scan(&n)
	return n, err
}

func (s *Store) deliveredBefore(ctx context.Context, n NewExecution) (x Execution, replayed bool, err error) {
	first, err := one[struct {
		ID   int64
		Same bool
	}](ctx, s.pool, `
		select id, request_hash is not distinct from @hash as same from execution
		where flow_id = @flow and coalesce(webhook_id, '') = coalesce(@webhook, '') and delivery_key = @key`,
		pgx.NamedArgs{"flow": n.FlowID, "webhook": n.WebhookID, "key": clean(n.DeliveryKey), "hash": n.RequestHash})
	if err == nil && !first.Same {
		err = ErrDeliveryReused
	}
	if err != nil {
		return Execution{}, false, err
	}
	x, err = s.Execution(ctx, first.ID)
	return x, true, err
}

package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrOverQuota says that a provider may not be called: today's quota does not
// cover the call, or it was switched off or deleted meanwhile.
var ErrOverQuota = errors.New("today's quota is spent")

// Reservation is a claim on a provider's quota of one day. Settle it when the
// call has ended.
type Reservation struct {
	ID   string
	Day  time.Time // the provider's local day
	Fill float64   // 0 to 1: how much of the tightest limit is taken, this claim included
}

// Usage is what calls of a provider took. A nil Cost is an unknown price.
type Usage struct {
	ProviderID       int64
	Requests         int64
	PromptTokens     int64
	CompletionTokens int64
	Cost             *int64 // micros
	InputPrice       *int64 // that Cost was reckoned with
	OutputPrice      *int64
}

// ReserveQuota claims one request and an estimate of tokens and cost from the
// provider's local day, or returns ErrOverQuota. However many processes ask at
// once, no limit is ever passed.
func (s *Store) ReserveQuota(ctx context.Context, provider, tokens, cost int64) (Reservation, error) {
	r, err := one[Reservation](ctx, s.pool, `
		with p as (
		  select id, (clock() at time zone reset_tz)::date as day,
		    coalesce(request_limit, 9223372036854775807) as request_limit,
		    coalesce(token_limit, 9223372036854775807) as token_limit,
		    coalesce(cost_limit, 9223372036854775807) as cost_limit
		  from provider
		  where id = @id and is_active and (auto_disabled_until is null or auto_disabled_until <= clock())),
		up as (
		  insert into provider_usage as u (provider_id, day, requests, reserved_tokens, reserved_cost)
		  select id, day, 1, @tokens, @cost from p
		  where least(request_limit, token_limit, cost_limit) >= 1 and token_limit >= @tokens and cost_limit >= @cost
		  on conflict (provider_id, day) do update set
		    requests = u.requests + 1,
		    reserved_tokens = u.reserved_tokens + excluded.reserved_tokens,
		    reserved_cost = u.reserved_cost + excluded.reserved_cost
		  where u.requests < (select request_limit from p)
		    and u.tokens + u.reserved_tokens + excluded.reserved_tokens <= (select token_limit from p)
		    and coalesce(u.cost, 0) + u.reserved_cost + excluded.reserved_cost <= (select cost_limit from p)
		  returning provider_id, day, requests, tokens + reserved_tokens as tokens, coalesce(cost, 0) + reserved_cost as cost),
		held as (
		  insert into provider_reservation (provider_id, day, tokens, cost)
		  select provider_id, day, @tokens, @cost from up
		  returning id)
		select held.id::text as id, up.day, greatest(
		  up.requests::float8 / p.request_limit, up.tokens::float8 / p.token_limit, up.cost::float8 / p.cost_limit) as fill
		from held, up, p`,
		pgx.NamedArgs{"id": provider, "tokens": tokens, "cost": cost})
	if errors.Is(err, ErrNotFound) {
		return Reservation{}, ErrOverQuota
	}
	return r, err
}

// SettleQuota replaces the estimate of a reservation by what the call really
// took; u.Requests is 0 when the provider never saw it. A second time it does
// nothing. After a sweep it corrects what the sweep booked.
func (s *Store) SettleQuota(ctx context.Context, reservation string, u Usage) error {
	_, err := s.pool.Exec(ctx, `
		with r as (
		  delete from provider_reservation where id = @id::uuid
		  returning provider_id, day, tokens, cost, settled_at is not null as swept)
		update provider_usage u set
		  requests = u.requests - 1 + @requests,
		  prompt_tokens = u.prompt_tokens + @prompt,
		  completion_tokens = u.completion_tokens + @completion,
		  tokens = u.tokens + @prompt + @completion - case when r.swept then r.tokens else 0 end,
		  cost = case when @cost::bigint is null and not (r.swept and u.cost is not null) then u.cost
		         else coalesce(u.cost, 0) + coalesce(@cost, 0) - case when r.swept then r.cost else 0 end end,
		  reserved_tokens = u.reserved_tokens - case when r.swept then 0 else r.tokens end,
		  reserved_cost = u.reserved_cost - case when r.swept then 0 else r.cost end,
		  input_price = coalesce(@input_price, u.input_price),
		  output_price = coalesce(@output_price, u.output_price)
		from r where u.provider_id = r.provider_id and u.day = r.day`,
		pgx.NamedArgs{
			"id": reservation, "requests": u.Requests, "prompt": u.PromptTokens, "completion": u.CompletionTokens,
			"cost": u.Cost, "input_price": u.InputPrice, "output_price": u.OutputPrice,
		})
	return err
}

// BookUsage adds calls that needed no reservation to the books of today.
func (s *Store) BookUsage(ctx context.Context, calls []Usage) error {
	batch := &pgx.Batch{}
	inOrder := func(a, b Usage) int { return cmp.Compare(a.ProviderID, b.ProviderID) } // one order for all, so that nobody deadlocks
	for _, u := range slices.SortedFunc(slices.Values(calls), inOrder) {
		batch.Queue(`
			insert into provider_usage as u (provider_id, day, requests, prompt_tokens, completion_tokens, tokens, cost, input_price, output_price)
			select id, (clock() at time zone reset_tz)::date, @requests, @prompt, @completion, @prompt::bigint + @completion::bigint,
			  @cost::bigint, @input_price::bigint, @output_price::bigint
			from provider where id = @id
			on conflict (provider_id, day) do update set
			  requests = u.requests + excluded.requests,
			  prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
			  completion_tokens = u.completion_tokens + excluded.completion_tokens,
			  tokens = u.tokens + excluded.tokens,
			  cost = case when excluded.cost is null then u.cost else coalesce(u.cost, 0) + excluded.cost end,
			  input_price = coalesce(excluded.input_price, u.input_price),
			  output_price = coalesce(excluded.output_price, u.output_price)`,
			pgx.NamedArgs{
				"id": u.ProviderID, "requests": u.Requests, "prompt": u.PromptTokens, "completion": u.CompletionTokens,
				"cost": u.Cost, "input_price": u.InputPrice, "output_price": u.OutputPrice,
			})
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
}

// SweepReservations gives up calls that began longer than age ago, such as
// those of a killed process, and books their estimate: the provider may have
// billed them. It says how many there were.
func (s *Store) SweepReservations(ctx context.Context, age time.Duration) (int, error) {
	var swept int
	err := s.pool.QueryRow(ctx, `
		with old as (
		  update provider_reservation set settled_at = clock()
		  where id in (
		    select id from provider_reservation where settled_at is null and created_at < clock() - @age::interval
		    for update skip locked)
		  returning provider_id, day, tokens, cost),
		booked as (
		  insert into provider_usage as u (provider_id, day, tokens, cost, reserved_tokens, reserved_cost)
		  select provider_id, day, sum(tokens), sum(cost), -sum(tokens), -sum(cost) from old
		  group by provider_id, day order by provider_id, day
		  on conflict (provider_id, day) do update set
		    tokens = u.tokens + excluded.tokens,
		    cost = case when excluded.cost = 0 then u.cost else coalesce(u.cost, 0) + excluded.cost end,
		    reserved_tokens = u.reserved_tokens + excluded.reserved_tokens,
		    reserved_cost = u.reserved_cost + excluded.reserved_cost),
		forgotten as (
		  delete from provider_reservation where settled_at < clock() - interval '1 day')
		select count(*) from old`, pgx.NamedArgs{"age": age}).Scan(&swept)
	return swept, err
}

// DayUsage is what a provider has used of one local day, beside its limits.
type DayUsage struct {
	ProviderID       int64
	Name             string
	Day              time.Time
	Requests         int64
	PromptTokens     int64
	CompletionTokens int64
	Tokens           int64
	Cost             *int64 // micros; nil when no price is known
	ReservedTokens   int64  // of calls under way
	ReservedCost     int64
	RequestLimit     *int64
	TokenLimit       *int64
	CostLimit        *int64
}

const dayUsageColumns = `p.id as provider_id, p.name, coalesce(u.requests, 0) as requests,
	coalesce(u.prompt_tokens, 0) as prompt_tokens, coalesce(u.completion_tokens, 0) as completion_tokens,
	coalesce(u.tokens, 0) as tokens, u.cost, coalesce(u.reserved_tokens, 0) as reserved_tokens,
	coalesce(u.reserved_cost, 0) as reserved_cost, p.request_limit, p.token_limit, p.cost_limit`

// UsageToday is the day of every provider, each by its own clock on the wall.
func (s *Store) UsageToday(ctx context.Context) ([]DayUsage, error) {
	return many[DayUsage](ctx, s.pool, `
		select (clock() at time zone p.reset_tz)::date as day, `+dayUsageColumns+`
		from provider p
		left join provider_usage u on u.provider_id = p.id and u.day = (clock() at time zone p.reset_tz)::date
		order by p.priority desc, p.id`, nil)
}

// UsageHistory is what one provider used on each of its last days, newest first.
func (s *Store) UsageHistory(ctx context.Context, provider int64, days int) ([]DayUsage, error) {
	return many[DayUsage](ctx, s.pool, `
		select u.day, `+dayUsageColumns+`
		from provider p join provider_usage u on u.provider_id = p.id
		where p.id = @id
		order by u.day desc
		limit @days`, pgx.NamedArgs{"id": provider, "days": days})
}

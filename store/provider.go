package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNameTaken says that another provider has this name.
var ErrNameTaken = errors.New("another provider has this name")

// InvalidError refuses a record and says why in a sentence for people.
type InvalidError struct {
	Field   string // the column it is about
	Problem string
}

func (e *InvalidError) Error() string { return e.Problem }

// Ways in which an endpoint wants its parameters.
const (
	ParamsClassic   = "classic"   // max_tokens and temperature
	ParamsReasoning = "reasoning" // max_completion_tokens, no temperature, a long first silence
)

// The demo provider: its name, and a priority below any that people give.
const (
	demoName     = "demo"
	demoPriority = -1000
)

// Provider is one model behind an OpenAI-compatible address, with the limits
// people gave it. A nil limit is no limit, 0 allows nothing.
type Provider struct {
	ID                 int64
	Name               string
	BaseURL            string `db:"base_url"`
	Model              string
	APIKey             []byte `db:"api_key" json:"-"` // sealed; ProviderKey opens it
	KeyHint            string // its last four characters
	Priority           int    // the highest is asked first
	Weight             int    // share of the chats among equals
	Active             bool   `db:"is_active"` // written by people only
	Demo               bool   // frontdesk's own, see EnsureDemoProvider
	TimeoutMs          int
	Capabilities       []string
	ContextTokens      int
	MaxOutputTokens    int
	Temperature        *float32
	ParamStyle         string   // ParamsClassic or ParamsReasoning
	Pools              []string // that it is in; accounts may ask one pool only
	AnswerFiltered     bool     // may answer what another provider's filter refused
	RequestLimit       *int64   // a day
	TokenLimit         *int64   // a day
	CostLimit          *int64   // a day, in micros
	InputPrice         *int64   // micros for a million tokens
	OutputPrice        *int64   // micros for a million tokens
	ResetTZ            string   `db:"reset_tz"` // where a day begins
	RequestsPerMinute  *int
	Concurrency        *int
	AutoDisabledUntil  *time.Time // written by code only
	AutoDisabledReason string
	AutoDisabledTimes  int           // in a row
	DisabledFor        time.Duration // what was left of it when the row was read
	CreatedAt          time.Time
	UpdatedAt          time.Time
}

// Timeout is the longest that one call may take.
func (p Provider) Timeout() time.Duration { return time.Duration(p.TimeoutMs) * time.Millisecond }

// Can says whether the provider has a capability.
func (p Provider) Can(what string) bool { return slices.Contains(p.Capabilities, what) }

// Chats says whether the provider answers in chats: all do but those that only
// transcribe or embed.
func (p Provider) Chats() bool {
	for _, c := range p.Capabilities {
		if c != CanTranscribe && c != CanEmbed {
			return true
		}
	}
	return len(p.Capabilities) == 0
}

// Limited says whether calls must be reserved before they are made.
func (p Provider) Limited() bool {
	return p.RequestLimit != nil || p.TokenLimit != nil || p.CostLimit != nil
}

const providerColumns = `id, name, base_url, model, api_key, key_hint, priority, weight, is_active, demo, timeout_ms,
	capabilities, context_tokens, max_output_tokens, temperature, param_style, answer_filtered, pools,
	request_limit, token_limit, cost_limit, input_price, output_price, reset_tz, requests_per_minute, concurrency,
	auto_disabled_until, auto_disabled_reason, auto_disabled_times,
	greatest(interval '0', coalesce(auto_disabled_until - clock(), interval '0')) as disabled_for, created_at, updated_at`

// Providers are all providers in the order in which they are asked.
func (s *Store) Providers(ctx context.Context) ([]Provider, error) {
	return many[Provider](ctx, s.pool, `
		select `+providerColumns+` from provider order by priority desc, id`, nil)
}

// ActiveProviders are the first limit providers that people want asked, in that
// order, and how many there are in all. The demo counts only while it is alone.
func (s *Store) ActiveProviders(ctx context.Context, limit int) ([]Provider, int, error) {
	type counted struct {
		Provider
		Total int
	}
	rows, err := many[counted](ctx, s.pool, `
		select `+providerColumns+`, count(*) over () as total from provider
		where is_active and (not demo or not exists (select from provider where is_active and not demo))
		order by priority desc, id
		limit @limit`, pgx.NamedArgs{"limit": limit})
	if err != nil || len(rows) == 0 {
		return nil, 0, err
	}
	active := make([]Provider, len(rows))
	for i, row := range rows {
		active[i] = row.Provider
	}
	return active, rows[0].Total, nil
}

// Provider is the provider with this id, or ErrNotFound.
func (s *Store) Provider(ctx context.Context, id int64) (Provider, error) {
	return one[Provider](ctx, s.pool, `select `+providerColumns+` from provider where id = @id`, pgx.NamedArgs{"id": id})
}

// AddProvider creates a provider without a key. Zero fields take the table's
// defaults. It returns ErrNameTaken or an *InvalidError when p cannot be kept.
func (s *Store) AddProvider(ctx context.Context, p Provider) (Provider, error) {
	p.fill()
	if err := p.validate(); err != nil {
		return Provider{}, err
	}
	added, err := one[Provider](ctx, s.pool, `
		insert into provider (name, base_url, model, priority, weight, is_active, timeout_ms, capabilities, context_tokens,
		  max_output_tokens, temperature, param_style, answer_filtered, pools, request_limit, token_limit, cost_limit,
		  input_price, output_price, reset_tz, requests_per_minute, concurrency)
		values (@name, @base_url, @model, @priority, @weight, @active, @timeout, @capabilities, @context_tokens,
		  @max_output, @temperature, @param_style, @answer_filtered, @pools, @request_limit, @token_limit, @cost_limit,
		  @input_price, @output_price, @reset_tz, @per_minute, @concurrency)
		returning `+providerColumns, p.args())
	return added, providerError(err)
}

// UpdateProvider lets change edit the provider with this id and keeps the
// result; nobody else edits it meanwhile. A new address or model, and switching
// it on again, end an automatic pause. Errors are those of AddProvider and
// ErrNotFound.
func (s *Store) UpdateProvider(ctx context.Context, id int64, change func(*Provider)) (Provider, error) {
	var updated Provider
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		p, err := one[Provider](ctx, tx, `
			select `+providerColumns+` from provider where id = @id for update`, pgx.NamedArgs{"id": id})
		if err != nil {
			return err
		}
		change(&p)
		p.ID = id
		p.fill()
		if err := p.validate(); err != nil {
			return err
		}
		updated, err = saveProvider(ctx, tx, p)
		return err
	})
	return updated, providerError(err)
}

func saveProvider(ctx context.Context, tx pgx.Tx, p Provider) (Provider, error) {
	return one[Provider](ctx, tx, `
		with fresh as (
		  select (base_url, model) is distinct from (@base_url, @model) or (@active and not is_active) as start
		  from provider where id = @id),
		better as (`+settleAlert+` and (select start from fresh))
		update provider set
		  name = @name, base_url = @base_url, model = @model, priority = @priority, weight = @weight, is_active = @active,
		  timeout_ms = @timeout, capabilities = @capabilities, context_tokens = @context_tokens,
		  max_output_tokens = @max_output, temperature = @temperature, param_style = @param_style,
		  answer_filtered = @answer_filtered, pools = @pools, request_limit = @request_limit, token_limit = @token_limit,
		  cost_limit = @cost_limit, input_price = @input_price, output_price = @output_price, reset_tz = @reset_tz,
		  requests_per_minute = @per_minute, concurrency = @concurrency,
		  auto_disabled_until = case when fresh.start then null else auto_disabled_until end,
		  auto_disabled_reason = case when fresh.start then '' else auto_disabled_reason end,
		  auto_disabled_times = case when fresh.start then 0 else auto_disabled_times end,
		  updated_at = clock()
		from fresh where id = @id
		returning `+providerColumns, p.args())
}

// DeleteProvider forgets a provider with its key and its books.
func (s *Store) DeleteProvider(ctx context.Context, id int64) error {
	tag, err := s.pool.Exec(ctx, `with gone as (`+settleAlert+`) delete from provider where id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// SetProviderKey seals key for the provider; "" forgets it. A new key ends an
// automatic pause.
func (s *Store) SetProviderKey(ctx context.Context, id int64, key string) error {
	sealed, err := s.sealProviderKey(id, strings.TrimSpace(key))
	if err != nil {
		return err
	}
	tag, err := s.pool.Exec(ctx, `
		with better as (`+settleAlert+`)
		update provider set api_key = @sealed, key_hint = @hint,
		  auto_disabled_until = null, auto_disabled_reason = '', auto_disabled_times = 0, updated_at = clock()
		where id = @id`, pgx.NamedArgs{"id": id, "sealed": sealed, "hint": keyHint(key)})
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// ProviderKey opens the key of p, "" when it has none. It is the only way to a
// key in the clear: for a call, never for a page or a log.
func (s *Store) ProviderKey(p Provider) (string, error) {
	if p.APIKey == nil {
		return "", nil
	}
	if s.keyring == nil {
		return "", ErrNoKey
	}
	key, err := s.keyring.Open(keyPlace(p.ID), p.APIKey)
	return string(key), err
}

// DisableProvider pauses a provider that will not answer until somebody acts:
// for first, then twice as long each time in a row, at most for longest. While
// a pause lasts, it is not prolonged. An alert says why until it answers again or
// somebody changes it.
func (s *Store) DisableProvider(ctx context.Context, id int64, first, longest time.Duration, reason string) error {
	_, err := s.pool.Exec(ctx, `
		with off as (
		  update provider set
		    auto_disabled_until = clock() + least(@longest::interval, @first::interval * 2 ^ least(auto_disabled_times, 20)),
		    auto_disabled_reason = @reason,
		    auto_disabled_times = auto_disabled_times + 1
		  where id = @id and (auto_disabled_until is null or auto_disabled_until <= clock())
		  returning id)
		insert into alert (kind, says) select `+providerAlert+`, @reason from off
		on conflict (coalesce(account_id, 0), kind) where resolved_at is null do update set says = excluded.says, times = alert.times + 1`,
		pgx.NamedArgs{"id": id, "first": first, "longest": longest, "reason": reason})
	return err
}

// EnableProvider ends an automatic pause and forgets how often there was one.
func (s *Store) EnableProvider(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, `
		with well as (`+settleAlert+`)
		update provider set auto_disabled_until = null, auto_disabled_reason = '', auto_disabled_times = 0
		where id = @id and auto_disabled_times > 0`, pgx.NamedArgs{"id": id})
	return err
}

// The alert of a provider that is paused.
const (
	providerAlert = `'provider_' || @id::bigint`
	settleAlert   = `update alert set resolved_at = clock() where account_id is null and kind = ` + providerAlert + ` and resolved_at is null`
)

// EnsureDemoProvider keeps the row of frontdesk's own demo at baseURL. It is
// asked only while no other provider is active (ActiveProviders).
func (s *Store) EnsureDemoProvider(ctx context.Context, baseURL string) error {
	_, err := s.pool.Exec(ctx, `
		insert into provider as p (name, base_url, model, priority, demo, capabilities)
		values (@name, @base_url, @name, @priority, true, '{streaming}')
		on conflict (name) do update set base_url = excluded.base_url, is_active = true, updated_at = clock()
		where p.demo and (p.base_url <> excluded.base_url or not p.is_active)`,
		pgx.NamedArgs{"name": demoName, "base_url": baseURL, "priority": demoPriority})
	return err
}

// RemoveDemoProvider forgets the demo.
func (s *Store) RemoveDemoProvider(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `delete from provider where demo`)
	return err
}

// ErrNoKey says that there is nothing to seal secrets with.
var ErrNoKey = errors.New("provider keys cannot be kept without a secret key file; make one with: frontdesk keys init")

func (s *Store) sealProviderKey(id int64, key string) ([]byte, error) {
	if key == "" {
		return nil, nil
	}
	if s.keyring == nil {
		return nil, ErrNoKey
	}
	return s.keyring.Seal(keyPlace(id), []byte(key))
}

func keyPlace(id int64) string { return fmt.Sprintf("provider:%d:api_key", id) }

// keyHint is the end of a key, so that people can tell keys apart; nothing of
// one so short that four characters would give it away.
func keyHint(key string) string {
	key = strings.TrimSpace(key)
	if len(key) < 12 {
		return ""
	}
	return key[len(key)-4:]
}

func (p *Provider) fill() {
	p.Name = strings.TrimSpace(p.Name)
	p.Model = strings.TrimSpace(p.Model)
	p.BaseURL = strings.TrimRight(strings.TrimSpace(p.BaseURL), "/")
	p.Weight = orDefault(p.Weight, 1)
	p.TimeoutMs = orDefault(p.TimeoutMs, 60_000)
	p.ContextTokens = orDefault(p.ContextTokens, 128_000)
	p.MaxOutputTokens = orDefault(p.MaxOutputTokens, 1024)
	p.ParamStyle = orDefault(p.ParamStyle, ParamsClassic)
	p.ResetTZ = orDefault(p.ResetTZ, "UTC")
	p.Pools = slices.DeleteFunc(slices.Clone(p.Pools), func(pool string) bool { return strings.TrimSpace(pool) == "" })
	if p.Pools == nil {
		p.Pools = []string{}
	}
	if p.Capabilities == nil {
		p.Capabilities = []string{CanStream, CanTools}
	}
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (p *Provider) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": p.ID, "name": p.Name, "base_url": p.BaseURL, "model": p.Model, "priority": p.Priority, "weight": p.Weight,
		"active": p.Active, "timeout": p.TimeoutMs, "capabilities": p.Capabilities, "pools": p.Pools, "context_tokens": p.ContextTokens,
		"max_output": p.MaxOutputTokens, "temperature": p.Temperature, "param_style": p.ParamStyle,
		"answer_filtered": p.AnswerFiltered, "request_limit": p.RequestLimit, "token_limit": p.TokenLimit,
		"cost_limit": p.CostLimit, "input_price": p.InputPrice, "output_price": p.OutputPrice, "reset_tz": p.ResetTZ,
		"per_minute": p.RequestsPerMinute, "concurrency": p.Concurrency,
	}
}

// validate refuses what could never work, in a sentence a person can act on.
func (p *Provider) validate() error {
	for _, rule := range []struct {
		broken         bool
		field, problem string
	}{
		{p.Name == "" || len([]rune(p.Name)) > 100, "name", "give the provider a name of 1 to 100 characters"},
		{p.Model == "", "model", "say which model to ask, such as gpt-4o-mini"},
		{p.Weight < 0, "weight", "the weight must be at least 1"},
		{p.TimeoutMs < 0, "timeout_ms", "the time limit of a call must be above 0"},
		{p.ContextTokens < 0, "context_tokens", "the context window must be above 0"},
		{p.MaxOutputTokens < 0, "max_output_tokens", "the longest answer must be above 0 tokens"},
		{p.ParamStyle != ParamsClassic && p.ParamStyle != ParamsReasoning, "param_style", "the parameter style is classic or reasoning"},
		{negative(p.RequestLimit), "request_limit", "a limit cannot be below 0; leave it empty for no limit"},
		{negative(p.TokenLimit), "token_limit", "a limit cannot be below 0; leave it empty for no limit"},
		{negative(p.CostLimit), "cost_limit", "a limit cannot be below 0; leave it empty for no limit"},
		{negative(p.InputPrice), "input_price", "a price cannot be below 0; leave it empty when you do not know it"},
		{negative(p.OutputPrice), "output_price", "a price cannot be below 0; leave it empty when you do not know it"},
		{
			p.CostLimit != nil && (p.InputPrice == nil || p.OutputPrice == nil), "cost_limit",
			"a cost limit needs both prices, or nobody could tell what a call costs",
		},
		{unknownCapability(p.Capabilities) != "", "capabilities", capabilityProblem(p.Capabilities)},
		{p.RequestsPerMinute != nil && *p.RequestsPerMinute < 1, "requests_per_minute", "allow at least 1 request a minute, or leave it empty"},
		{p.Concurrency != nil && *p.Concurrency < 1, "concurrency", "allow at least 1 call at once, or leave it empty"},
	} {
		if rule.broken {
			return &InvalidError{Field: rule.field, Problem: rule.problem}
		}
	}
	return validateBaseURL(p.BaseURL)
}

func negative(n *int64) bool { return n != nil && *n < 0 }

// validateBaseURL wants https, except inside a private network. Whether a
// private address may be reached at all is asked when it is dialled, after DNS.
func validateBaseURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return &InvalidError{"base_url", "the address must look like https://api.openai.com/v1"}
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return &InvalidError{"base_url", "the address must not carry a password, a ? or a #; the key has its own field"}
	case u.Scheme == "http" && !privateHost(u.Hostname()):
		return &InvalidError{"base_url", "the address must begin with https; http is only for addresses inside a private network"}
	}
	return nil
}

func privateHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip.Unmap())
	}
	if !strings.Contains(host, ".") {
		return true // localhost, or a neighbour such as "ollama" in compose.yaml
	}
	return slices.ContainsFunc([]string{".local", ".lan", ".internal", ".home.arpa", ".localhost"},
		func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}

// providerError says in our words what Postgres refused.
func providerError(err error) error {
	var refused *pgconn.PgError
	switch {
	case breaks(err, "provider_name_key"):
		return ErrNameTaken
	case errors.As(err, &refused) && refused.Code == "22023": // invalid_parameter_value: the zone is the only one we pass
		return &InvalidError{"reset_tz", "this time zone is unknown; write it like Europe/Madrid"}
	}
	return err
}

// MoveProvider changes places with the provider that is asked just before it (up) or
// after it. Equals become unequal by that; the others keep their order.
func (s *Store) MoveProvider(ctx context.Context, id int64, up bool) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		order, err := many[placed](ctx, tx, `
			select id, priority from provider where not demo order by priority desc, id for update`, nil)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(order, func(p placed) bool { return p.ID == id })
		if at < 0 {
			return ErrNotFound
		}
		to := at + 1
		if up {
			to = at - 1
		}
		if to < 0 || to >= len(order) {
			return nil // it is the first or the last
		}
		return order[at].pass(ctx, tx, order[to], up)
	})
}

// placed is a provider's place in the order.
type placed struct {
	ID       int64
	Priority int
}

// pass moves p over its neighbour: past equals by a step that the others make room for.
func (p placed) pass(ctx context.Context, tx pgx.Tx, neighbour placed, up bool) error {
	if p.Priority != neighbour.Priority {
		_, err := tx.Exec(ctx, `
			update provider set priority = case id when @id then @theirs::int else @ours::int end, updated_at = clock() where id in (@id, @other)`,
			pgx.NamedArgs{"id": p.ID, "other": neighbour.ID, "ours": p.Priority, "theirs": neighbour.Priority})
		return err
	}
	step := -1
	if up {
		step = 1
	}
	_, err := tx.Exec(ctx, `
		update provider set priority = priority + @step::int, updated_at = clock()
		where id = @id or not demo and sign(priority - @at::int) = @step::int`,
		pgx.NamedArgs{"id": p.ID, "at": p.Priority, "step": step})
	return err
}

package web

import (
	"context"
	"errors"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// Provider is an AI provider without its key.
type Provider struct {
	ID            int64      `json:"id"`
	ProviderInput            // what people set
	KeyHint       string     `json:"key_hint,omitempty" doc:"The key's last characters; the key itself is never shown"`
	Demo          bool       `json:"demo" doc:"frontdesk's own stand-in; its answers come from no model"`
	PausedUntil   *time.Time `json:"paused_until,omitempty" doc:"Switched off by code until then"`
	PausedBecause string     `json:"paused_because,omitempty"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`

	Health *ProviderHealth `json:"health,omitempty" doc:"Missing: it is not loaded"`
}

// ProviderHealth is how a provider does in the process that answers.
type ProviderHealth struct {
	State     string     `json:"state" enum:"ready,resting,cooling,paused,misconfigured"`
	Why       string     `json:"why,omitempty"`
	Until     *time.Time `json:"until,omitempty" doc:"It is asked again then"`
	Breaker   string     `json:"breaker" enum:"closed,open,half-open"`
	LastClass string     `json:"last_class,omitempty" doc:"How its last call ended"`
	LastAt    *time.Time `json:"last_at,omitempty"`
	P50Ms     int64      `json:"p50_ms,omitempty" doc:"Of its last answers"`
	P95Ms     int64      `json:"p95_ms,omitempty"`
	Fill      float64    `json:"fill" doc:"How much of the tightest daily limit is taken, 0 to 1"`
}

// withHealth adds how providers do to them.
func (s *Server) withHealth(items ...*Provider) {
	for _, h := range s.ai.Health() {
		for _, p := range items {
			if p.ID == h.ID {
				p.Health = healthOf(h)
			}
		}
	}
}

func healthOf(h providers.Health) *ProviderHealth {
	return &ProviderHealth{
		State: h.State, Why: h.Why, Until: unlessZero(h.Until), Breaker: h.Breaker, LastClass: string(h.LastClass), LastAt: unlessZero(h.LastAt),
		P50Ms: h.P50.Milliseconds(), P95Ms: h.P95.Milliseconds(), Fill: h.Fill,
	}
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ProviderInput is what people may set. What is left out keeps its value, or the
// usual one when a provider is added.
type ProviderInput struct {
	Name              *string   `json:"name,omitempty" minLength:"1" maxLength:"100"`
	BaseURL           *string   `json:"base_url,omitempty" maxLength:"500" doc:"Of an OpenAI-compatible API" example:"https://api.openai.com/v1"`
	Model             *string   `json:"model,omitempty" minLength:"1" maxLength:"200"`
	Priority          *int      `json:"priority,omitempty" doc:"The highest is asked first"`
	Weight            *int      `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Share of the chats among equals"`
	Active            *bool     `json:"active,omitempty"`
	TimeoutMs         *int      `json:"timeout_ms,omitempty" minimum:"1000" maximum:"110000"`
	Capabilities      *[]string `json:"capabilities,omitempty" doc:"streaming, tools, vision, json_schema; transcription and embeddings alone: not asked in chats"`
	Pools             *[]string `json:"pools,omitempty" doc:"Accounts may ask the providers of one pool only"`
	ContextTokens     *int      `json:"context_tokens,omitempty"`
	MaxOutputTokens   *int      `json:"max_output_tokens,omitempty"`
	Temperature       *float32  `json:"temperature,omitempty"`
	ParamStyle        *string   `json:"param_style,omitempty" enum:"classic,reasoning"`
	AnswerFiltered    *bool     `json:"answer_filtered,omitempty" doc:"May answer what another provider's filter refused"`
	RequestLimit      *int64    `json:"request_limit,omitempty" doc:"Calls a day; 0 allows none"`
	TokenLimit        *int64    `json:"token_limit,omitempty" doc:"Tokens a day"`
	CostLimit         *int64    `json:"cost_limit,omitempty" doc:"Millionths of the currency a day"`
	InputPrice        *int64    `json:"input_price,omitempty" doc:"Millionths for a million tokens"`
	OutputPrice       *int64    `json:"output_price,omitempty" doc:"Millionths for a million tokens"`
	ResetTZ           *string   `json:"reset_tz,omitempty" doc:"Where a day begins, such as Europe/Madrid"`
	RequestsPerMinute *int      `json:"requests_per_minute,omitempty"`
	Concurrency       *int      `json:"concurrency,omitempty"`
}

func providerOf(p store.Provider) Provider {
	return Provider{
		ID: p.ID, KeyHint: p.KeyHint, Demo: p.Demo, PausedUntil: pausedUntil(p), PausedBecause: p.AutoDisabledReason,
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
		ProviderInput: ProviderInput{
			Name: &p.Name, BaseURL: &p.BaseURL, Model: &p.Model, Priority: &p.Priority, Weight: &p.Weight, Active: &p.Active,
			TimeoutMs: &p.TimeoutMs, Capabilities: &p.Capabilities, Pools: &p.Pools, ContextTokens: &p.ContextTokens, MaxOutputTokens: &p.MaxOutputTokens,
			Temperature: p.Temperature, ParamStyle: &p.ParamStyle, AnswerFiltered: &p.AnswerFiltered, RequestLimit: p.RequestLimit, TokenLimit: p.TokenLimit,
			CostLimit: p.CostLimit, InputPrice: p.InputPrice, OutputPrice: p.OutputPrice, ResetTZ: &p.ResetTZ,
			RequestsPerMinute: p.RequestsPerMinute, Concurrency: p.Concurrency,
		},
	}
}

func pausedUntil(p store.Provider) *time.Time {
	if p.DisabledFor <= 0 {
		return nil
	}
	return p.AutoDisabledUntil
}

// apply sets what was given.
func (in ProviderInput) apply(p *store.Provider) {
	set(&p.Name, in.Name)
	set(&p.BaseURL, in.BaseURL)
	set(&p.Model, in.Model)
	set(&p.Priority, in.Priority)
	set(&p.Weight, in.Weight)
	set(&p.Active, in.Active)
	set(&p.TimeoutMs, in.TimeoutMs)
	set(&p.Capabilities, in.Capabilities)
	set(&p.Pools, in.Pools)
	set(&p.ContextTokens, in.ContextTokens)
	set(&p.MaxOutputTokens, in.MaxOutputTokens)
	set(&p.ParamStyle, in.ParamStyle)
	set(&p.AnswerFiltered, in.AnswerFiltered)
	set(&p.ResetTZ, in.ResetTZ)
	keep(&p.Temperature, in.Temperature)
	keep(&p.RequestLimit, in.RequestLimit)
	keep(&p.TokenLimit, in.TokenLimit)
	keep(&p.CostLimit, in.CostLimit)
	keep(&p.InputPrice, in.InputPrice)
	keep(&p.OutputPrice, in.OutputPrice)
	keep(&p.RequestsPerMinute, in.RequestsPerMinute)
	keep(&p.Concurrency, in.Concurrency)
}

func set[T any](to *T, given *T) {
	if given != nil {
		*to = *given
	}
}

func keep[T any](to **T, given *T) {
	if given != nil {
		*to = given
	}
}

func (s *Server) listProviders(ctx context.Context, _ *struct{}) (*list[Provider], error) {
	found, err := s.store.Providers(ctx)
	if err != nil {
		return nil, err
	}
	items := make([]Provider, len(found))
	for i, p := range found {
		items[i] = providerOf(p)
		s.withHealth(&items[i])
	}
	return listOf(items, ""), nil
}

func (s *Server) readProvider(ctx context.Context, in *ByID) (*one[Provider], error) {
	p, err := s.store.Provider(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	read := providerOf(p)
	s.withHealth(&read)
	return &one[Provider]{read}, nil
}

type newProvider struct {
	Body struct {
		ProviderInput

		Key string `json:"key,omitempty" maxLength:"1000" doc:"Kept sealed, never shown again"`
	}
}

func (s *Server) addProvider(ctx context.Context, in *newProvider) (*one[Provider], error) {
	p := store.Provider{Active: true, Capabilities: []string{store.CanStream}}
	in.Body.apply(&p)
	added, err := s.createProvider(ctx, p, in.Body.Key)
	if err != nil {
		return nil, err
	}
	return &one[Provider]{providerOf(added)}, nil
}

// createProvider adds a provider with its key, or neither.
func (s *Server) createProvider(ctx context.Context, p store.Provider, key string) (store.Provider, error) {
	active := p.Active
	p.Active = p.Active && key == "" // not asked before it has its key
	added, err := s.store.AddProvider(ctx, p)
	if err != nil || key == "" {
		return added, err
	}
	if err := s.store.SetProviderKey(ctx, added.ID, key); err != nil {
		return added, errors.Join(err, s.store.DeleteProvider(ctx, added.ID))
	}
	return s.store.UpdateProvider(ctx, added.ID, func(p *store.Provider) { p.Active = active })
}

type changedProvider struct {
	ByID

	Body struct {
		ProviderInput

		Key *string `json:"key,omitempty" maxLength:"1000" doc:"A new key; empty forgets the old one"`
	}
}

func (s *Server) changeProvider(ctx context.Context, in *changedProvider) (*one[Provider], error) {
	if in.Body.Key != nil {
		if err := s.store.SetProviderKey(ctx, in.ID, *in.Body.Key); err != nil {
			return nil, err
		}
	}
	p, err := s.store.UpdateProvider(ctx, in.ID, in.Body.apply)
	if err != nil {
		return nil, err
	}
	return &one[Provider]{providerOf(p)}, nil
}

func (s *Server) removeProvider(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.store.DeleteProvider(ctx, in.ID)
}

// ProviderTest is what a provider said when it was asked for a word.
type ProviderTest struct {
	OK     bool   `json:"ok"`
	Text   string `json:"text,omitempty"`
	Error  string `json:"error,omitempty" doc:"What is wrong and what to do"`
	TookMs int64  `json:"took_ms"`
}

func (s *Server) testProvider(ctx context.Context, in *ByID) (*one[ProviderTest], error) {
	result, err := s.test(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[ProviderTest]{result}, nil
}

func (s *Server) test(ctx context.Context, id int64) (ProviderTest, error) {
	began := time.Now()
	got, err := s.ai.Test(ctx, id)
	took := time.Since(began).Milliseconds()
	var failed *providers.Error
	switch {
	case err == nil:
		return ProviderTest{OK: true, Text: got.Text, TookMs: took}, nil
	case errors.As(err, &failed):
		return ProviderTest{Error: failed.Error(), TookMs: took}, nil
	}
	return ProviderTest{}, err
}

// DayUsage is what a provider was used on one day.
type DayUsage struct {
	Day              string `json:"day"`
	Requests         int64  `json:"requests"`
	PromptTokens     int64  `json:"prompt_tokens"`
	CompletionTokens int64  `json:"completion_tokens"`
	Cost             *int64 `json:"cost,omitempty" doc:"Millionths of the currency"`
}

type usageRequest struct {
	ByID

	Days int `query:"days" minimum:"1" maximum:"400" default:"30"`
}

func (s *Server) providerUsage(ctx context.Context, in *usageRequest) (*list[DayUsage], error) {
	if _, err := s.store.Provider(ctx, in.ID); err != nil {
		return nil, err
	}
	days, err := s.store.UsageHistory(ctx, in.ID, in.Days)
	if err != nil {
		return nil, err
	}
	items := make([]DayUsage, len(days))
	for i, d := range days {
		items[i] = DayUsage{
			Day: d.Day.Format(time.DateOnly), Requests: d.Requests, PromptTokens: d.PromptTokens, CompletionTokens: d.CompletionTokens, Cost: d.Cost,
		}
	}
	return listOf(items, ""), nil
}

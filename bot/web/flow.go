package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/store"
)

// engine runs flows. *flow.Engine is the real one.
type engine interface {
	Accept(ctx context.Context, s flow.Start) (x store.Execution, replayed bool, err error)
	Await(ctx context.Context, id int64) (store.Execution, error)
	Replay(ctx context.Context, id int64, from int) (store.Execution, error)
}

// flows is what the doors read and write of flows. *store.Store is the real one.
type flows interface {
	Flows(ctx context.Context) ([]store.Flow, error)
	Flow(ctx context.Context, id int64) (store.Flow, error)
	FlowVersion(ctx context.Context, id int64, version int) (store.Flow, error)
	FlowVersions(ctx context.Context, id int64) ([]store.Flow, error)
	PutFlow(ctx context.Context, name string, definition json.RawMessage, by string) (store.Flow, error)
	SetFlowActive(ctx context.Context, id int64, active bool) error
	RemoveFlow(ctx context.Context, id int64) error
	Webhooks(ctx context.Context, flow int64) ([]store.Webhook, error)
	Webhook(ctx context.Context, id string) (store.Webhook, error)
	PutWebhook(ctx context.Context, w store.Webhook, secret *string) (store.Webhook, error)
	ForgetOldSecret(ctx context.Context, id string) error
	RemoveWebhook(ctx context.Context, id string) error
	SetSecret(ctx context.Context, name, value string) error
	SecretNames(ctx context.Context) ([]string, error)
	Execution(ctx context.Context, id int64) (store.Execution, error)
	Executions(ctx context.Context, f store.ExecutionFilter, p store.Page) ([]store.Execution, error)
	LastExecutions(ctx context.Context) ([]store.Execution, error)
	ExecutionSteps(ctx context.Context, id int64) ([]store.ExecutionStep, error)
	EventsOf(ctx context.Context, execution, after int64, limit int) ([]store.Event, error)
	CancelExecution(ctx context.Context, id int64) (store.Execution, error)
}

// Flow is what other systems, messages and events start.
type Flow struct {
	ID         int64           `json:"id"`
	Name       string          `json:"name"`
	Version    int             `json:"version" doc:"Grows with every change; a version never changes"`
	Active     bool            `json:"active"`
	Definition json.RawMessage `json:"definition,omitempty" doc:"Not in lists"`
	By         string          `json:"by" doc:"Who wrote this version"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
}

func flowOf(f store.Flow) Flow {
	return Flow{f.ID, f.Name, f.Version, f.IsActive, f.Definition, f.By, f.CreatedAt, f.UpdatedAt}
}

func (s *Server) listFlows(ctx context.Context, _ *struct{}) (*list[Flow], error) {
	found, err := s.store.Flows(ctx)
	return flowList(found), err
}

func flowList(found []store.Flow) *list[Flow] {
	items := make([]Flow, len(found))
	for i, f := range found {
		items[i] = flowOf(f)
		items[i].Definition = nil
	}
	return listOf(items, "")
}

func (s *Server) readFlow(ctx context.Context, in *ByID) (*one[Flow], error) {
	f, err := s.store.Flow(ctx, in.ID)
	return &one[Flow]{flowOf(f)}, err
}

func (s *Server) listFlowVersions(ctx context.Context, in *ByID) (*list[Flow], error) {
	found, err := s.store.FlowVersions(ctx, in.ID)
	if err == nil && len(found) == 0 {
		err = store.ErrNotFound
	}
	return flowList(found), err
}

type byVersion struct {
	ByID

	Version int `path:"version" minimum:"1"`
}

func (s *Server) readFlowVersion(ctx context.Context, in *byVersion) (*one[Flow], error) {
	f, err := s.store.FlowVersion(ctx, in.ID, in.Version)
	return &one[Flow]{flowOf(f)}, err
}

type newFlow struct {
	DryRun bool `query:"check" doc:"Only say what is wrong with it; nothing is stored"`
	Body   json.RawMessage
}

// putFlow makes a definition the newest version of the flow that it names.
func (s *Server) putFlow(ctx context.Context, in *newFlow) (*one[Flow], error) {
	d, err := s.checkedFlow(ctx, in.Body)
	if err != nil {
		return nil, badFlow(err)
	}
	if in.DryRun {
		return &one[Flow]{Flow{Name: d.Name, Definition: in.Body}}, nil
	}
	f, err := s.store.PutFlow(ctx, d.Name, in.Body, asker(ctx))
	return &one[Flow]{flowOf(f)}, err
}

// checkedFlow reads a definition. What is wrong with it, an account that is not there
// among that, are flow.DefinitionErrors.
func (s *Server) checkedFlow(ctx context.Context, text []byte) (flow.Definition, error) {
	d, err := flow.Check(text)
	if err != nil || d.Account == 0 {
		return d, err
	}
	if _, err = s.store.Account(ctx, d.Account); errors.Is(err, store.ErrNotFound) {
		err = flow.DefinitionErrors{{Pointer: "/account", Says: fmt.Sprintf("there is no account %d", d.Account)}}
	}
	return d, err
}

// badFlow says what is wrong with a definition, and where.
func badFlow(err error) error {
	var wrong flow.DefinitionErrors
	if !errors.As(err, &wrong) {
		return err
	}
	says := make([]string, len(wrong))
	for i, w := range wrong {
		says[i] = w.Pointer + ": " + w.Says
	}
	return problem(http.StatusUnprocessableEntity, "bad_flow", fmt.Sprintf("The definition is not right in %d places; each has its JSON pointer", len(wrong)), says...)
}

type changedFlow struct {
	ByID

	Body struct {
		Active bool `json:"active" doc:"false: nothing starts it any more; what runs goes on"`
	}
}

func (s *Server) changeFlow(ctx context.Context, in *changedFlow) (*one[Flow], error) {
	if err := s.store.SetFlowActive(ctx, in.ID, in.Body.Active); err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "flow."+onWords(in.Body.Active), flowSubject(in.ID), nil); err != nil {
		return nil, err
	}
	return s.readFlow(ctx, &in.ByID)
}

func flowSubject(id int64) string { return "flow:" + idText(id) }

func (s *Server) removeFlow(ctx context.Context, in *ByID) (*struct{}, error) {
	f, err := s.store.Flow(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "remove", flowSubject(in.ID), map[string]any{"name": f.Name}); err != nil {
		return nil, err
	}
	return nil, s.store.RemoveFlow(ctx, in.ID)
}

type startedFlow struct {
	ByID

	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Starting with the same key again starts nothing and returns the first execution"`
	Body struct {
		Input any    `json:"input,omitempty" doc:"What templates find as trigger.body"`
		Test  string `json:"test,omitempty" enum:"simulated,live" doc:"Nothing is sent or changed: simulated asks no AI either"`
	}
}

// startFlow starts a flow by hand, as its webhook would.
func (s *Server) startFlow(ctx context.Context, in *startedFlow) (*one[Execution], error) {
	x, _, err := s.engine.Accept(ctx, flow.Start{
		Flow: in.ID, Trigger: map[string]any{"type": "call", "method": http.MethodPost, "body": in.Body.Input, "query": map[string]any{}, "headers": map[string]any{}, "files": []any{}},
		Test: in.Body.Test, Key: in.Key, Hash: hash(in.Body),
	})
	return &one[Execution]{executionOf(x)}, refusedFlow(err)
}

// refusedFlow says why a flow was not started.
func refusedFlow(err error) error {
	var input *flow.InputError
	switch {
	case errors.Is(err, flow.ErrInactive):
		return problem(http.StatusConflict, "flow_inactive", "This flow is switched off")
	case errors.Is(err, store.ErrNoAccount):
		return problem(http.StatusConflict, "no_account", "The account that this flow sends from was removed; put the flow with another one")
	case errors.Is(err, flow.ErrContact):
		return problem(http.StatusUnprocessableEntity, "no_contact", err.Error())
	case errors.As(err, &input):
		return problem(http.StatusUnprocessableEntity, "bad_input", "The input is not as the flow wants it", input.Problems...)
	case errors.Is(err, store.ErrDeliveryReused):
		return problem(http.StatusUnprocessableEntity, "idempotency_key_reused", err.Error())
	case errors.Is(err, store.ErrQueueFull):
		p := problem(http.StatusServiceUnavailable, "queue_full", "Too many executions wait for a place; nothing was stored, try again in a moment")
		p.retryAfter = 10 * time.Second
		return p
	}
	return err
}

type namedSecret struct {
	Name string `path:"name" pattern:"^[a-z][a-z0-9_]{1,39}$"`
	Body struct {
		Value string `json:"value" minLength:"1" maxLength:"4000" writeOnly:"true" doc:"Never shown again"`
	}
}

// Secret is something that steps send to other services, by its name.
type Secret struct {
	Name string `json:"name"`
}

func (s *Server) listSecrets(ctx context.Context, _ *struct{}) (*list[Secret], error) {
	names, err := s.store.SecretNames(ctx)
	items := make([]Secret, len(names))
	for i, name := range names {
		items[i] = Secret{name}
	}
	return listOf(items, ""), err
}

func (s *Server) setSecret(ctx context.Context, in *namedSecret) (*one[Secret], error) {
	if err := s.store.SetSecret(ctx, in.Name, in.Body.Value); err != nil {
		return nil, err
	}
	return &one[Secret]{Secret{in.Name}}, s.store.Audit(ctx, asker(ctx), "secret.put", "secret:"+in.Name, nil)
}

func (s *Server) removeSecret(ctx context.Context, in *struct {
	Name string `path:"name"`
},
) (*struct{}, error) {
	if err := s.store.SetSecret(ctx, in.Name, ""); err != nil {
		return nil, err
	}
	return nil, s.store.Audit(ctx, asker(ctx), "secret.remove", "secret:"+in.Name, nil)
}

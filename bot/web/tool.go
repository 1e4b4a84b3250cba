package web

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	"frontdesk/conversation"
	"frontdesk/store"
)

// Tool is a call to a service of the house that models may ask for.
type Tool struct {
	ID          int64             `json:"id,omitempty" readOnly:"true"`
	AccountID   *int64            `json:"account_id,omitempty" doc:"Missing: for all accounts"`
	Name        string            `json:"name" pattern:"^[a-z][a-z0-9_]{1,39}$" doc:"As models call it"`
	Description string            `json:"description" minLength:"1" maxLength:"1000" doc:"When to use it and what it gives, for models"`
	Parameters  map[string]any    `json:"parameters" doc:"JSON Schema of the arguments"`
	Method      string            `json:"method,omitempty" enum:"GET,POST,PUT,PATCH,DELETE" default:"POST"`
	URL         string            `json:"url" maxLength:"2000"`
	Headers     map[string]string `json:"headers,omitempty" doc:"\"{{secret}}\" in a value stands for the secret"`
	Secret      *string           `json:"secret,omitempty" maxLength:"4000" writeOnly:"true" doc:"Never shown again; empty removes it"`
	HasSecret   bool              `json:"has_secret,omitempty" readOnly:"true"`
	Active      *bool             `json:"active,omitempty" default:"true"`
}

// toolName is what models may call a tool; the pattern of Tool.Name says the same.
var toolName = regexp.MustCompile(`^[a-z][a-z0-9_]{1,39}$`)

func toolOf(d store.Tool) Tool {
	out := Tool{
		ID: d.ID, AccountID: d.AccountID, Name: d.Name, Description: d.Description, Method: d.Method, URL: d.URL, Headers: d.Headers,
		HasSecret: d.Secret != nil, Active: &d.IsActive,
	}
	_ = json.Unmarshal(d.Parameters, &out.Parameters) // Postgres keeps nothing but JSON
	return out
}

func (t Tool) stored(id int64) (store.Tool, error) {
	parameters, err := json.Marshal(t.Parameters)
	if err != nil {
		return store.Tool{}, err
	}
	d := store.Tool{
		ID: id, AccountID: t.AccountID, Name: t.Name, Description: t.Description, Parameters: parameters, Method: t.Method, URL: t.URL,
		Headers: t.Headers, IsActive: t.Active == nil || *t.Active,
	}
	if d.Headers == nil {
		d.Headers = map[string]string{}
	}
	if err := conversation.CheckTool(d); err != nil {
		return d, problem(http.StatusUnprocessableEntity, "bad_tool", err.Error())
	}
	return d, nil
}

type toolsRequest struct {
	Account int64 `query:"account" minimum:"0" doc:"Those of this account, and those for all"`
}

func (s *Server) listTools(ctx context.Context, in *toolsRequest) (*list[Tool], error) {
	found, err := s.store.Tools(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	items := make([]Tool, len(found))
	for i, d := range found {
		items[i] = toolOf(d)
	}
	return listOf(items, ""), nil
}

type newTool struct{ Body Tool }

func (s *Server) addTool(ctx context.Context, in *newTool) (*one[Tool], error) {
	return s.putTool(ctx, 0, in.Body)
}

type changedTool struct {
	ByID

	Body Tool
}

func (s *Server) changeTool(ctx context.Context, in *changedTool) (*one[Tool], error) {
	if _, err := s.store.Tool(ctx, in.ID); err != nil {
		return nil, err
	}
	return s.putTool(ctx, in.ID, in.Body)
}

func (s *Server) putTool(ctx context.Context, id int64, t Tool) (*one[Tool], error) {
	d, err := t.stored(id)
	if err != nil {
		return nil, err
	}
	if d, err = s.store.PutTool(ctx, d, t.Secret); err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "tool.put", "tool:"+d.Name, nil); err != nil {
		return nil, err
	}
	return &one[Tool]{toolOf(d)}, nil
}

func (s *Server) removeTool(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.store.RemoveTool(ctx, in.ID); err != nil {
		return nil, err
	}
	return nil, s.store.Audit(ctx, asker(ctx), "tool.remove", "tool:"+idText(in.ID), nil)
}

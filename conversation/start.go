package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"frontdesk/providers"
	"frontdesk/store"
)

// Flow is something that an admin prepared and models may start.
type Flow struct {
	Name        string
	Description string
	Input       json.RawMessage // JSON Schema; empty: anything
}

// FlowStart is a model's wish to start a flow for the customer who writes.
type FlowStart struct {
	Flow         string
	Input        any
	Account      int64
	Contact      int64
	Conversation int64
	Chat         string
	Key          string // the same start again starts nothing
}

// flows are the flows that models may start. The engine of bot/flow is behind the real
// ones.
type flows interface {
	Startable(ctx context.Context, account int64) ([]Flow, error)
	Start(ctx context.Context, s FlowStart) error
}

// startTool is the tool that starts flows, if the account has some.
func (t *turn) startTool(ctx context.Context) (tool, bool, error) {
	if t.p.flows == nil {
		return tool{}, false, nil
	}
	all, err := t.p.flows.Startable(ctx, t.account)
	if err != nil || len(all) == 0 {
		return tool{}, false, err
	}
	made, err := startTool(all)
	return made, err == nil, err
}

func startTool(all []Flow) (tool, error) {
	says, names := "Have something done that the business prepared:", []string{}
	for _, f := range all {
		names = append(names, f.Name)
		says += "\n" + strings.TrimSpace(f.Name+": "+f.Description)
		if len(f.Input) > 0 {
			says += " Its input: " + string(f.Input)
		}
	}
	enum, err := json.Marshal(names)
	if err != nil {
		return tool{}, err
	}
	schema := json.RawMessage(`{"type": "object", "properties": {"flow": {"enum": ` + string(enum) + `}, "input": {"type": "object"}}, "required": ["flow"], "additionalProperties": false}`)
	check, err := providers.Checker(schema)
	return tool{
		Tool: providers.Tool{Name: "start_flow", Description: says, Parameters: schema}, check: check, acts: true,
		run: func(ctx context.Context, t *turn, now store.Turn, c call) (string, error) {
			return t.startFlow(ctx, now, c)
		},
	}, err
}

// startFlow starts a flow. Whom it is about is the customer who writes, whatever the
// arguments say.
func (t *turn) startFlow(ctx context.Context, now store.Turn, c call) (string, error) {
	var arguments struct {
		Flow  string         `json:"flow"`
		Input map[string]any `json:"input"`
	}
	if err := json.Unmarshal([]byte(c.Arguments), &arguments); err != nil {
		return "", err // it was checked
	}
	err := t.p.flows.Start(ctx, FlowStart{
		Flow: arguments.Flow, Input: arguments.Input, Account: t.account, Contact: now.ContactID, Conversation: t.conversation, Chat: now.Chat, Key: c.key,
	})
	var wrong *FlowInputError
	if errors.As(err, &wrong) {
		return "", fmt.Errorf("the input is not as it should be: %w", wrong)
	}
	if err != nil {
		return "", &brokenError{err}
	}
	return "Started.", nil
}

// FlowInputError says what is wrong with a flow's input.
type FlowInputError struct{ Says string }

func (e *FlowInputError) Error() string { return e.Says }

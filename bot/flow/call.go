package flow

import (
	"context"
	"encoding/json"

	"frontdesk/store"
)

// Callable is a flow that a model may start in a conversation.
type Callable struct {
	Name        string
	Description string
	Input       json.RawMessage // JSON Schema; empty: anything
}

// Call is a model's wish to start a flow, for the customer it talks with.
type Call struct {
	Flow         string
	Input        any
	Account      int64
	Contact      int64
	Conversation int64
	Chat         string
	Key          string // the same call again starts nothing
}

// Callable are the flows that models of an account may start.
func (e *Engine) Callable(ctx context.Context, account int64) (all []Callable, err error) {
	found, err := e.activeFlows(ctx, "call")
	for _, f := range found {
		if f.d.Account == 0 || f.d.Account == account {
			all = append(all, Callable{f.Name, f.d.Description, f.d.Trigger.Input})
		}
	}
	return all, err
}

// Call starts a flow that models may start, once for each key. store.ErrNotFound: there
// is none of that name for the account.
func (e *Engine) Call(ctx context.Context, c Call) (execution int64, err error) {
	found, err := e.activeFlows(ctx, "call")
	if err != nil {
		return 0, err
	}
	for _, f := range found {
		if f.Name != c.Flow || (f.d.Account != 0 && f.d.Account != c.Account) {
			continue
		}
		x, _, err := e.Accept(ctx, Start{
			Flow: f.ID, Trigger: map[string]any{"type": "call", "body": c.Input}, Account: c.Account, Contact: c.Contact, Conversation: c.Conversation,
			Chat: c.Chat, Key: "call:" + c.Key,
		})
		return x.ID, err
	}
	return 0, store.ErrNotFound
}

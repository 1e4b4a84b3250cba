package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"frontdesk/store"
)

// Execution is one delivery, one version of a flow and one contact.
type Execution struct {
	ID             int64           `json:"id"`
	FlowID         int64           `json:"flow_id"`
	Flow           string          `json:"flow"`
	Version        int             `json:"version"`
	AccountID      *int64          `json:"account_id,omitempty"`
	ContactID      *int64          `json:"contact_id,omitempty"`
	ConversationID *int64          `json:"conversation_id,omitempty"`
	Status         string          `json:"status" enum:"queued,running,waiting,completed,failed,cancelled"`
	Position       int             `json:"position,omitempty" doc:"Queued: its place among those that wait, about"`
	Test           string          `json:"test,omitempty" enum:"simulated,live"`
	Awaits         string          `json:"awaits,omitempty" enum:"time,reply,sent,delivered,retry"`
	DueAt          *time.Time      `json:"due_at,omitempty" doc:"Waiting: it goes on then at the latest"`
	Failure        string          `json:"failure,omitempty"`
	Response       any             `json:"response,omitempty" doc:"Of its respond step"`
	ReplayOf       *int64          `json:"replay_of,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`
	StartedAt      *time.Time      `json:"started_at,omitempty"`
	FinishedAt     *time.Time      `json:"finished_at,omitempty"`
	Trigger        any             `json:"trigger,omitempty" doc:"Not in lists"`
	Steps          []ExecutionStep `json:"steps,omitempty" doc:"Not in lists"`
}

// ExecutionStep is what a step came to.
type ExecutionStep struct {
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Status  string    `json:"status" enum:"completed,failed,skipped"`
	Result  any       `json:"result"`
	Failure string    `json:"failure,omitempty"`
	Tries   int       `json:"tries"`
	BeganAt time.Time `json:"began_at"`
	EndedAt time.Time `json:"ended_at"`
}

func executionOf(x store.Execution) Execution {
	out := Execution{
		ID: x.ID, FlowID: x.FlowID, Flow: x.Flow, Version: x.Version, AccountID: x.AccountID, ContactID: x.ContactID,
		ConversationID: x.ConversationID, Status: x.Status, Position: x.Position, Test: x.Test, Failure: x.Failure, Response: decoded(x.Response),
		ReplayOf: x.ReplayOf, CreatedAt: x.CreatedAt, StartedAt: x.StartedAt, FinishedAt: x.FinishedAt,
	}
	if x.Status == "waiting" {
		out.Awaits, out.DueAt = x.Awaits, &x.DueAt
	}
	return out
}

// decoded is a value that Postgres keeps as JSON; nil for none.
func decoded(text json.RawMessage) (value any) {
	_ = json.Unmarshal(text, &value)
	return value
}

type executionsRequest struct {
	Page

	Flow    int64  `query:"flow" minimum:"0" doc:"Those of this flow"`
	Contact int64  `query:"contact" minimum:"0" doc:"Those about this contact"`
	Status  string `query:"status" enum:"queued,running,waiting,completed,failed,cancelled"`
	Tests   bool   `query:"tests" doc:"Tests too, which are kept for an hour"`
}

func (s *Server) listExecutions(ctx context.Context, in *executionsRequest) (*list[Execution], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	f := store.ExecutionFilter{FlowID: in.Flow, ContactID: in.Contact, Status: in.Status, Tests: in.Tests}
	found, err := s.store.Executions(ctx, f, store.Page{Before: before, Limit: in.Limit})
	items, next := make([]Execution, len(found)), ""
	for i, x := range found {
		items[i] = executionOf(x)
	}
	if len(found) == in.Limit {
		next = fmt.Sprint(found[len(found)-1].ID)
	}
	return listOf(items, next), err
}

func (s *Server) readExecution(ctx context.Context, in *ByID) (*one[Execution], error) {
	x, err := s.store.Execution(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	steps, err := s.store.ExecutionSteps(ctx, in.ID)
	out := executionOf(x)
	out.Trigger = decoded(x.Trigger)
	for _, p := range steps {
		out.Steps = append(out.Steps, ExecutionStep{p.Name, p.Type, p.Status, decoded(p.Result), p.Failure, p.Tries, p.BeganAt, p.EndedAt})
	}
	return &one[Execution]{out}, err
}

// ExecutionEvent is something that happened to an execution.
type ExecutionEvent struct {
	Seq  int64     `json:"seq" doc:"Counts from 1 without a gap"`
	Type string    `json:"type"`
	At   time.Time `json:"time"`
	Data any       `json:"data"`
}

type eventsRequest struct {
	ByID

	After int64 `query:"after" minimum:"0" doc:"Only those with a higher seq"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// listExecutionEvents is what happened in the last 24 hours; older events are gone, what
// steps came to is not.
func (s *Server) listExecutionEvents(ctx context.Context, in *eventsRequest) (*list[ExecutionEvent], error) {
	if _, err := s.store.Execution(ctx, in.ID); err != nil {
		return nil, err
	}
	found, err := s.store.EventsOf(ctx, in.ID, in.After, in.Limit)
	items, next := make([]ExecutionEvent, len(found)), ""
	for i, v := range found {
		items[i] = ExecutionEvent{v.Seq, v.Type, v.At, decoded(v.Data)}
	}
	if len(found) == in.Limit {
		next = fmt.Sprint(found[len(found)-1].Seq)
	}
	return listOf(items, next), err
}

func (s *Server) cancelExecution(ctx context.Context, in *ByID) (*one[Execution], error) {
	x, err := s.store.CancelExecution(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[Execution]{executionOf(x)}, s.store.Audit(ctx, asker(ctx), "execution.cancel", executionSubject(in.ID), nil)
}

type replayRequest struct {
	ByID

	Body struct {
		From int `json:"from,omitempty" minimum:"0" maximum:"20" doc:"Step to begin with, from 0; what earlier ones came to is kept"`
	}
}

// replayExecution starts a new execution with the same trigger.
func (s *Server) replayExecution(ctx context.Context, in *replayRequest) (*one[Execution], error) {
	x, err := s.engine.Replay(ctx, in.ID, in.Body.From)
	if err != nil {
		return nil, refusedFlow(err)
	}
	return &one[Execution]{executionOf(x)}, s.store.Audit(ctx, asker(ctx), "execution.replay", executionSubject(in.ID), map[string]any{"as": x.ID, "from": in.Body.From})
}

func executionSubject(id int64) string { return "execution:" + idText(id) }

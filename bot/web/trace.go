package web

import (
	"context"
	"encoding/json"
	"time"

	"frontdesk/store"
)

// Trace answers why a message of a customer was or was not answered, and how.
type Trace struct {
	Seq        int64           `json:"seq"`
	WaID       string          `json:"wa_id"`
	SentAt     time.Time       `json:"sent_at" doc:"By WhatsApp's clock"`
	ReceivedAt time.Time       `json:"received_at" doc:"It was stored; only then WhatsApp heard that it arrived"`
	Settled    bool            `json:"settled" doc:"False: it waits for its turn"`
	Together   []int64         `json:"together" doc:"The other messages that were settled with it"`
	Entries    []TimelineEntry `json:"entries" doc:"What was decided, with attempts at providers, tools and sources; oldest first"`
	Sent       []TracedMessage `json:"sent" doc:"What answered it"`
}

// TracedMessage is a message of ours with all that became of it.
type TracedMessage struct {
	ID          int64      `json:"id"`
	WaID        string     `json:"wa_id"`
	Origin      string     `json:"origin"`
	Text        string     `json:"text"`
	Status      string     `json:"status"`
	Attempts    int        `json:"attempts"`
	Failure     string     `json:"failure,omitempty"`
	QueuedAt    time.Time  `json:"queued_at"`
	TriedAt     *time.Time `json:"tried_at,omitempty"`
	SentAt      *time.Time `json:"sent_at,omitempty" doc:"WhatsApp took it"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
	ReadAt      *time.Time `json:"read_at,omitempty"`
	CancelledAt *time.Time `json:"cancelled_at,omitempty"`
}

type traceRequest struct {
	ByID

	Seq int64 `path:"seq" doc:"Of the customer's message"`
}

func (s *Server) readTrace(ctx context.Context, in *traceRequest) (*one[Trace], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	t, err := s.store.Trace(ctx, c.ID, in.Seq)
	if err != nil {
		return nil, err
	}
	return &one[Trace]{traceOf(t)}, nil
}

func traceOf(t store.Trace) Trace {
	out := Trace{Seq: t.Seq, WaID: t.WaID, SentAt: t.SentAt, ReceivedAt: t.ReceivedAt, Settled: t.Settled, Together: t.Together}
	for _, e := range t.Entries {
		out.Entries = append(out.Entries, TimelineEntry(e))
	}
	for _, o := range t.Sent {
		out.Sent = append(out.Sent, TracedMessage{
			ID: o.ID, WaID: o.WaID, Origin: o.Origin, Text: o.Body, Status: o.Status, Attempts: o.Attempts, Failure: o.Failure, QueuedAt: o.CreatedAt,
			TriedAt: o.ClaimedAt, SentAt: o.SentAt, DeliveredAt: o.DeliveredAt, ReadAt: o.ReadAt, CancelledAt: o.CancelledAt,
		})
	}
	return out
}

// Prompt is what a model read before it answered.
type Prompt struct {
	Seq      int64           `json:"seq" doc:"Of the last message that it answered"`
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Messages json.RawMessage `json:"messages" doc:"Role and text, in the order the model read them"`
	At       time.Time       `json:"at"`
}

// readPrompt is the exact prompt of the answer to a message, for thirty days.
func (s *Server) readPrompt(ctx context.Context, in *traceRequest) (*one[Prompt], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	p, err := s.store.PromptOf(ctx, c.ID, in.Seq)
	if err != nil {
		return nil, err
	}
	return &one[Prompt]{Prompt{p.Seq, p.Provider, p.Model, p.Messages, p.At}}, nil
}

// Persona is a text that the bot of an account was told to be.
type Persona struct {
	ID   int64     `json:"id"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

type personasRequest struct {
	ByID
	Page
}

func (s *Server) listPersonas(ctx context.Context, in *personasRequest) (*list[Persona], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Personas(ctx, in.ID, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Persona, len(found))
	for i, p := range found {
		items[i] = Persona{p.ID, p.Body, p.At}
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return idText(items[len(items)-1].ID) })), nil
}

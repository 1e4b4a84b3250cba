package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"frontdesk/conversation"
	"frontdesk/store"
)

// Answer is what the bot said to a customer.
type Answer struct {
	ConversationID int64     `json:"conversation_id"`
	Seq            int64     `json:"seq" doc:"Of the customer's last message that it answers"`
	At             time.Time `json:"at"`
	Said           string    `json:"said"`
}

type answersRequest struct {
	ByID

	Conversation int64     `query:"conversation" minimum:"0" doc:"Only of this one"`
	Since        time.Time `query:"since" doc:"Missing: since a day ago"`
	Limit        int       `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

// listAnswers are the bot's answers, such as those of yesterday that somebody wants to
// compare with another persona's.
func (s *Server) listAnswers(ctx context.Context, in *answersRequest) (*list[Answer], error) {
	since := in.Since
	if since.IsZero() {
		now, err := s.store.Now(ctx)
		if err != nil {
			return nil, err
		}
		since = now.Add(-24 * time.Hour)
	}
	found, err := s.store.Answered(ctx, in.ID, in.Conversation, since, in.Limit)
	if err != nil {
		return nil, err
	}
	items := make([]Answer, len(found))
	for i, a := range found {
		items[i] = Answer(a)
	}
	return listOf(items, ""), nil
}

// Rehearsal is what the bot would say now.
type Rehearsal struct {
	Asked            string         `json:"asked" doc:"What the customer had written"`
	Said             []string       `json:"said" doc:"What would be sent, bubble by bubble"`
	HandOff          string         `json:"hand_off,omitempty" doc:"Why a person would take over instead"`
	Provider         string         `json:"provider"`
	Model            string         `json:"model"`
	Sources          []FoundPassage `json:"sources,omitempty" doc:"What of the documents was read"`
	Tools            []string       `json:"tools,omitempty" doc:"Called, in order; such as change something only said that they did"`
	Withheld         bool           `json:"withheld,omitempty" doc:"The model told what only models may read, so a refusal stands here"`
	TookMs           int64          `json:"took_ms"`
	PromptTokens     int            `json:"prompt_tokens"`
	CompletionTokens int            `json:"completion_tokens"`
	CostMicros       *int64         `json:"cost_micros,omitempty" doc:"Missing: a price is unknown"`
}

// rehearsalTime leaves time to say what became of it.
const rehearsalTime = answerTime - 20*time.Second

type rehearseRequest struct {
	ByID

	Body struct {
		Seq        int64   `json:"seq" minimum:"1" doc:"Of the customer's message to answer as if it were the newest"`
		Persona    *string `json:"persona,omitempty" maxLength:"20000" doc:"Missing: the account's"`
		ProviderID int64   `json:"provider_id,omitempty" minimum:"0" doc:"Missing: by priority"`
	}
}

var errNoStage = problem(http.StatusConflict, "no_stage", "This process asks no models; ask one that answers customers")

// sumUp notes what a conversation is about, for a person who takes it over.
func (s *Server) sumUp(ctx context.Context, in *ByID) (*one[Note], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if s.o.Stage == nil {
		return nil, errNoStage
	}
	n, err := s.o.Stage.Brief(ctx, c.ID)
	if errors.Is(err, conversation.ErrNoAnswer) {
		return nil, problem(http.StatusBadGateway, "no_answer", "No provider could sum it up; try again, or read it")
	}
	if err != nil {
		return nil, err
	}
	return &one[Note]{Note{n.ID, n.Body, n.By, n.At}}, nil
}

// rehearse has the bot answer a message of the past, with another persona or provider;
// nothing comes of it.
func (s *Server) rehearse(ctx context.Context, in *rehearseRequest) (*one[Rehearsal], error) {
	if s.o.Stage == nil {
		return nil, errNoStage
	}
	now, err := s.store.TurnAt(ctx, in.ID, in.Body.Seq)
	if err != nil {
		return nil, err
	}
	if in.Body.Persona != nil {
		now.Persona = *in.Body.Persona
	}
	ctx, cancel := context.WithTimeout(ctx, rehearsalTime)
	defer cancel()
	r, err := s.o.Stage.Rehearse(ctx, now, in.Body.ProviderID)
	if errors.Is(err, conversation.ErrNoAnswer) {
		return nil, problem(http.StatusBadGateway, "no_answer", err.Error())
	}
	if err != nil {
		return nil, err
	}
	return &one[Rehearsal]{rehearsalOf(now, r)}, nil
}

func rehearsalOf(now store.Turn, r conversation.Rehearsal) Rehearsal {
	out := Rehearsal{
		Said: r.Bubbles, HandOff: r.HandOff, Provider: r.Provider, Model: r.Model, Tools: r.Tools, Withheld: r.Withheld,
		TookMs: r.Took.Milliseconds(), PromptTokens: r.PromptTokens, CompletionTokens: r.CompletionTokens, CostMicros: r.Cost,
	}
	var asked []string
	for _, l := range now.Lines {
		if l.Direction == "in" && l.Seq > now.AnsweredSeq {
			asked = append(asked, strings.TrimSpace(l.Body+" "+l.Transcript))
		}
	}
	out.Asked = strings.Join(asked, "\n")
	for _, p := range r.Sources {
		out.Sources = append(out.Sources, FoundPassage{p.Source, p.Title, p.Heading, p.Body, p.Score})
	}
	return out
}

package web

import (
	"context"
	"strconv"
	"time"

	"frontdesk/store"
)

// ProviderAttempt is one call of an AI provider.
type ProviderAttempt struct {
	ID               int64     `json:"id"`
	At               time.Time `json:"at" doc:"It began"`
	TurnID           string    `json:"turn_id" doc:"The same for all attempts at one answer"`
	Kind             string    `json:"kind" enum:"chat,transcription,embedding,test"`
	ProviderID       int64     `json:"provider_id"`
	Provider         string    `json:"provider" doc:"Its name at that time"`
	Model            string    `json:"model"`
	ConversationID   int64     `json:"conversation_id,omitempty"`
	Class            string    `json:"class" doc:"ok, or what kind of failure it was"`
	Error            string    `json:"error,omitempty" doc:"The failure in a sentence"`
	TookMs           int64     `json:"took_ms"`
	FirstMs          *int64    `json:"first_ms,omitempty" doc:"Until the first sign of life"`
	PromptTokens     int64     `json:"prompt_tokens"`
	CompletionTokens int64     `json:"completion_tokens"`
	Cost             *int64    `json:"cost,omitempty" doc:"Millionths of the currency; missing: the price is unknown"`
}

func attemptOf(a store.ProviderAttempt) ProviderAttempt {
	out := ProviderAttempt{
		ID: a.ID, At: a.At, TurnID: strconv.FormatInt(a.TurnID, 36), Kind: a.Kind, ProviderID: a.ProviderID, Provider: a.Provider, Model: a.Model,
		Class: a.Class, Error: a.Error, TookMs: a.Took.Milliseconds(),
		PromptTokens: a.PromptTokens, CompletionTokens: a.CompletionTokens, Cost: a.Cost,
	}
	if a.ConversationID != nil {
		out.ConversationID = *a.ConversationID
	}
	if a.First != nil {
		out.FirstMs = new(a.First.Milliseconds())
	}
	return out
}

type attemptsRequest struct {
	Page

	Provider     int64 `query:"provider" minimum:"0" doc:"Only of this provider"`
	Conversation int64 `query:"conversation" minimum:"0" doc:"Only for this conversation"`
}

func (s *Server) listAttempts(ctx context.Context, in *attemptsRequest) (*list[ProviderAttempt], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Attempts(ctx, store.AttemptFilter{Provider: in.Provider, Conversation: in.Conversation}, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]ProviderAttempt, len(found))
	for i, a := range found {
		items[i] = attemptOf(a)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

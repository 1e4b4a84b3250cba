package web

import (
	"context"
	"strings"
	"time"

	"frontdesk/store"
)

// Draft is an answer that the bot did not send itself.
type Draft struct {
	ID             int64      `json:"id"`
	ConversationID int64      `json:"conversation_id"`
	AccountID      int64      `json:"account_id"`
	AfterSeq       int64      `json:"after_seq" doc:"It answers the customer's messages up to this one"`
	Text           string     `json:"text" doc:"As WhatsApp would show it; the messages it would be sent in are paragraphs"`
	Provider       string     `json:"provider,omitempty"`
	Model          string     `json:"model,omitempty"`
	MadeAt         time.Time  `json:"made_at"`
	Decision       string     `json:"decision,omitempty" enum:"sent,edited,rejected,superseded,overtaken,shadow" doc:"Missing: it waits for a person"`
	DecidedAt      *time.Time `json:"decided_at,omitempty"`
	DecidedBy      string     `json:"decided_by,omitempty"`
	Sent           string     `json:"sent,omitempty" doc:"What a person made of it"`
}

func draftFrom(d store.Draft) Draft {
	return Draft{d.ID, d.ConversationID, d.AccountID, d.AfterSeq, d.Text(), d.Provider, d.Model, d.MadeAt, d.Decision, d.DecidedAt, d.DecidedBy, d.Sent}
}

type draftsRequest struct {
	Page

	Account int64 `query:"account" minimum:"0" doc:"Those of this account"`
}

// listWaitingDrafts is what people should decide on.
func (s *Server) listWaitingDrafts(ctx context.Context, in *draftsRequest) (*list[Draft], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.WaitingDrafts(ctx, in.Account, store.Page{Before: before, Limit: in.Limit})
	return draftList(found, in.Limit), err
}

func (s *Server) listDrafts(ctx context.Context, in *messagesRequest) (*list[Draft], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.store.Drafts(ctx, c.ID, store.Page{Before: before, Limit: in.Limit})
	return draftList(found, in.Limit), err
}

func draftList(found []store.Draft, limit int) *list[Draft] {
	items := make([]Draft, len(found))
	for i, d := range found {
		items[i] = draftFrom(d)
	}
	return listOf(items, nextPage(len(items), limit, func() string { return idText(items[len(items)-1].ID) }))
}

type sentDraft struct {
	ByID

	Body struct {
		Text string `json:"text,omitempty" maxLength:"4096" doc:"Missing: as the bot wrote it"`
	}
}

// sendDraft has the customer told what the bot wrote, or what a person made of it.
func (s *Server) sendDraft(ctx context.Context, in *sentDraft) (*one[Draft], error) {
	d, err := s.approve(ctx, in.ID, in.Body.Text)
	return &one[Draft]{draftFrom(d)}, err
}

// approve sends a draft. Words that differ from it by white space only are its own.
func (s *Server) approve(ctx context.Context, id int64, words string) (store.Draft, error) {
	d, err := s.store.Draft(ctx, id)
	if err != nil {
		return d, err
	}
	words = strings.TrimSpace(words)
	if strings.Join(strings.Fields(words), " ") == strings.Join(strings.Fields(d.Text()), " ") {
		words = ""
	}
	if d, err = s.store.SendDraft(ctx, id, words, asker(ctx)); err != nil {
		return d, err
	}
	s.o.Queued(d.AccountID, d.ConversationID)
	return d, nil
}

func (s *Server) rejectDraft(ctx context.Context, in *ByID) (*one[Draft], error) {
	d, err := s.store.RejectDraft(ctx, in.ID, asker(ctx))
	return &one[Draft]{draftFrom(d)}, err
}

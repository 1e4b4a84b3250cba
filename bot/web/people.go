package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// ball gives conversations to the bot or to people. Every route of it returns the
// conversation as it is then.
func (s *Server) ball(state store.State) func(context.Context, *ByID) (*one[Conversation], error) {
	return func(ctx context.Context, in *ByID) (*one[Conversation], error) {
		c, err := s.conversationOf(ctx, in.ID)
		if err == nil {
			err = s.give(ctx, c, state)
		}
		if err != nil {
			return nil, err
		}
		return s.readConversation(ctx, in)
	}
}

// give puts a conversation into other hands and has its turn looked at, where a bot
// got it back.
func (s *Server) give(ctx context.Context, c store.ConversationSummary, state store.State) error {
	if err := s.store.SetState(ctx, c.ID, state, asker(ctx)); err != nil {
		return err
	}
	s.o.Queued(c.AccountID, c.ID)
	return s.store.Audit(ctx, asker(ctx), "conversation."+string(state), conversationSubject(c.ID), nil)
}

func conversationSubject(id int64) string { return "conversation:" + idText(id) }

func idText(id int64) string { return strconv.FormatInt(id, 10) }

type newReply struct {
	ByID

	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"Replying with the same key again sends nothing and returns the first answer"`
	Body struct {
		Text    string `json:"text" minLength:"1" maxLength:"4096"`
		ReplyTo string `json:"reply_to,omitempty" maxLength:"100" doc:"WhatsApp id of an earlier message of the chat, which is quoted"`
	}
}

// replyAsPerson sends what a person of the house wrote, who has the conversation then.
func (s *Server) replyAsPerson(ctx context.Context, in *newReply) (*sentResponse, error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	o, replayed, err := s.reply(ctx, c, in.Body.Text, in.Body.ReplyTo, in.Key)
	if err != nil {
		return nil, err
	}
	return sentOf(o, replayed), nil
}

// reply sends what a person wrote, who has the conversation then. A key that is not ""
// does so once; the next time it changes nothing.
func (s *Server) reply(ctx context.Context, c store.ConversationSummary, text, quoted, key string) (o store.Outbound, replayed bool, err error) {
	if text = strings.TrimSpace(text); text == "" {
		return o, false, problem(http.StatusUnprocessableEntity, "no_text", "\"text\" is empty")
	}
	p := store.Parcel{
		AccountID: c.AccountID, ContactID: c.ContactID, Chat: c.Chat, Origin: "person", Body: text, ReplyTo: quoted,
		IdempotencyKey: key, RequestHash: hash([]any{c.ID, text, quoted}),
	}
	if key != "" {
		if o, err = s.store.QueuedBefore(ctx, p); !errors.Is(err, store.ErrNotFound) {
			return o, err == nil, err
		}
	}
	if c.State != store.StateHuman {
		if err := s.give(ctx, c, store.StateHuman); err != nil {
			return o, false, err
		}
	}
	if o, replayed, err = s.store.Queue(ctx, p); err != nil {
		return o, false, err
	}
	s.o.Queued(c.AccountID, o.ConversationID)
	if err := s.store.ChangeConversation(ctx, c.ID, store.ConversationChange{SeenSeq: &c.LastSeq}); err != nil { // the reply leaves all the same
		s.log.WarnContext(ctx, "Conversation not marked as seen", slog.Int64("conversation", c.ID), slog.Any("error", err))
	}
	return o, replayed, nil
}

type changedConversation struct {
	ByID

	Body struct {
		AssignedTo *string   `json:"assigned_to,omitempty" maxLength:"100"`
		Tags       *[]string `json:"tags,omitempty" maxItems:"20"`
		SeenSeq    *int64    `json:"seen_seq,omitempty" minimum:"0" doc:"People have seen it up to this message"`
	}
}

func (s *Server) changeConversation(ctx context.Context, in *changedConversation) (*one[Conversation], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.store.ChangeConversation(ctx, c.ID, store.ConversationChange(in.Body)); err != nil {
		return nil, err
	}
	return s.readConversation(ctx, &in.ByID)
}

// Note is what people write for each other; customers and models never see it.
type Note struct {
	ID   int64     `json:"id"`
	Text string    `json:"text"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

const mostNotes = 200

func (s *Server) listNotes(ctx context.Context, in *ByID) (*list[Note], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.store.Notes(ctx, c.ID, mostNotes)
	if err != nil {
		return nil, err
	}
	items := make([]Note, len(found))
	for i, n := range found {
		items[i] = Note{n.ID, n.Body, n.By, n.At}
	}
	return listOf(items, ""), nil
}

type newNote struct {
	ByID

	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"4000"`
	}
}

func (s *Server) addNote(ctx context.Context, in *newNote) (*one[Note], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	n, err := s.store.AddNote(ctx, c.ID, in.Body.Text, asker(ctx))
	if err != nil {
		return nil, err
	}
	return &one[Note]{Note{n.ID, n.Body, n.By, n.At}}, nil
}

// QuickReply is words that people use again and again.
type QuickReply struct {
	ID        int64  `json:"id,omitempty" readOnly:"true"`
	AccountID *int64 `json:"account_id,omitempty" doc:"Missing: for all accounts"`
	Name      string `json:"name" minLength:"1" maxLength:"60"`
	Text      string `json:"text" minLength:"1" maxLength:"4000"`
}

type quickRepliesRequest struct {
	Account int64 `query:"account" minimum:"0" doc:"Those of this account, and those for all"`
}

func (s *Server) listQuickReplies(ctx context.Context, in *quickRepliesRequest) (*list[QuickReply], error) {
	found, err := s.store.QuickReplies(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	items := make([]QuickReply, len(found))
	for i, q := range found {
		items[i] = QuickReply{q.ID, q.AccountID, q.Name, q.Body}
	}
	return listOf(items, ""), nil
}

type newQuickReply struct{ Body QuickReply }

func (s *Server) addQuickReply(ctx context.Context, in *newQuickReply) (*one[QuickReply], error) {
	q, err := s.store.AddQuickReply(ctx, store.QuickReply{AccountID: in.Body.AccountID, Name: in.Body.Name, Body: in.Body.Text})
	if err != nil {
		return nil, err
	}
	return &one[QuickReply]{QuickReply{q.ID, q.AccountID, q.Name, q.Body}}, nil
}

func (s *Server) removeQuickReply(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.store.RemoveQuickReply(ctx, in.ID)
}

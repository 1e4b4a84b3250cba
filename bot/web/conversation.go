package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// Conversation is one customer's talk with one account.
type Conversation struct {
	ID          int64     `json:"id"`
	AccountID   int64     `json:"account_id"`
	AccountName string    `json:"account_name"`
	ContactID   int64     `json:"contact_id"`
	ContactName string    `json:"contact_name,omitempty"`
	Phone       string    `json:"phone,omitempty"`
	State       string    `json:"state" enum:"bot,human,paused,closed" doc:"Who has the ball"`
	Waiting     int64     `json:"waiting" doc:"Messages that are neither answered nor skipped"`
	ActiveAt    time.Time `json:"active_at"`
	CreatedAt   time.Time `json:"created_at"`

	StateSince time.Time  `json:"state_since"`
	ReturnAt   *time.Time `json:"return_at,omitempty" doc:"The bot has the ball again then; missing: when somebody gives it back"`
	OptedOutAt *time.Time `json:"opted_out_at,omitempty" doc:"The customer wants no automated messages"`
	AssignedTo string     `json:"assigned_to,omitempty"`
	Tags       []string   `json:"tags"`
	LastSeq    int64      `json:"last_seq" doc:"Of the customer's newest message"`
	SeenSeq    int64      `json:"seen_seq" doc:"People have seen it up to here"`
	Chat       string     `json:"chat" doc:"WhatsApp address that replies go to"`
}

func conversationOf(c store.ConversationSummary) Conversation {
	return Conversation{
		ID: c.ID, AccountID: c.AccountID, AccountName: c.AccountName, ContactID: c.ContactID, ContactName: c.ContactName, Phone: value(c.Phone),
		State: string(c.State), Waiting: c.LastSeq - c.AnsweredSeq, ActiveAt: c.ActiveAt, CreatedAt: c.CreatedAt,
		StateSince: c.StateSince, ReturnAt: c.ReturnAt, OptedOutAt: c.OptedOutAt, AssignedTo: c.AssignedTo, Tags: c.Tags,
		LastSeq: c.LastSeq, SeenSeq: c.SeenSeq, Chat: c.Chat,
	}
}

// Page asks for a part of a list.
type Page struct {
	After string `query:"after" maxLength:"40" doc:"The next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

var errBadCursor = problem(http.StatusUnprocessableEntity, "bad_cursor", "\"after\" must be the \"next\" of the page before")

// before reads a cursor that is one number.
func (p Page) before() (int64, error) {
	if p.After == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(p.After, 10, 64)
	if err != nil || id < 1 {
		return 0, errBadCursor
	}
	return id, nil
}

// nextPage is the cursor behind a full page.
func nextPage(n, limit int, last func() string) string {
	if n < limit || n == 0 {
		return ""
	}
	return last()
}

type conversationsRequest struct {
	Page

	Account int64 `query:"account" minimum:"0" doc:"Only of this account"`
	Contact int64 `query:"contact" minimum:"0" doc:"Only with this contact"`
}

func (s *Server) listConversations(ctx context.Context, in *conversationsRequest) (*list[Conversation], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Conversations(ctx, in.Account, in.Contact, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Conversation, len(found))
	for i, c := range found {
		items[i] = conversationOf(c)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

func (s *Server) readConversation(ctx context.Context, in *ByID) (*one[Conversation], error) {
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[Conversation]{conversationOf(c)}, nil
}

// conversationOf is the conversation with that id, or the one that it became when
// its customer turned out to be somebody known.
func (s *Server) conversationOf(ctx context.Context, id int64) (store.ConversationSummary, error) {
	c, err := s.store.Conversation(ctx, id)
	for err == nil && c.MergedInto != nil {
		c, err = s.store.Conversation(ctx, *c.MergedInto)
	}
	return c, err
}

// Message is a message of either direction.
type Message struct {
	Direction  string         `json:"direction" enum:"in,out"`
	Origin     string         `json:"origin" doc:"customer, bot, phone (typed by a person), api, …"`
	WaID       string         `json:"wa_id"`
	Kind       string         `json:"kind"`
	Text       string         `json:"text"`
	Status     string         `json:"status"`
	At         time.Time      `json:"at"`
	QuotedID   string         `json:"quoted_id,omitempty" doc:"WhatsApp id of the message it replies to"`
	EditedAt   *time.Time     `json:"edited_at,omitempty"`
	Reactions  []string       `json:"reactions,omitempty"`
	File       *AttachedFile  `json:"file,omitempty"`
	Extra      map[string]any `json:"extra,omitempty" doc:"A place, contact cards, whether it disappears"`
	Transcript string         `json:"transcript,omitempty" doc:"What a machine heard in a voice note"`
	Seq        int64          `json:"seq" doc:"Place among the customer's messages; an answer has that of the last message it answers"`
}

// AttachedFile is the file of a message.
type AttachedFile struct {
	ID      int64  `json:"file_id,omitempty" doc:"Missing until it was fetched; GET /files/{id}"`
	State   string `json:"state" enum:"wanted,stored,failed,too_large,gone"`
	Name    string `json:"name,omitempty"`
	Mime    string `json:"mime,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Seconds int    `json:"seconds,omitempty"`
}

func messageOf(m store.ChatMessage) Message {
	out := Message{
		Direction: m.Direction, Origin: m.Origin, WaID: m.WaID, Kind: m.Kind, Text: m.Body, Status: m.Status, At: m.At, Seq: m.Seq,
		QuotedID: m.Quoted, EditedAt: m.EditedAt, Reactions: m.Reactions, Extra: m.Extra, Transcript: m.Transcript,
	}
	if m.FileState != "" {
		out.File = &AttachedFile{State: m.FileState, Name: m.FileLabel, Mime: m.FileMime, Bytes: m.FileBytes, Seconds: m.Seconds}
		if m.FileID != nil {
			out.File.ID = *m.FileID
		}
	}
	return out
}

type messagesRequest struct {
	ByID
	Page
}

func (s *Server) listMessages(ctx context.Context, in *messagesRequest) (*list[Message], error) {
	p := store.MessagePage{Limit: in.Limit}
	if in.After != "" {
		if n, err := fmt.Sscanf(in.After, "%d.%d", &p.BeforeSeq, &p.BeforeOutSeq); err != nil || n != 2 || strings.ContainsAny(in.After, " +") {
			return nil, errBadCursor
		}
	}
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.store.Messages(ctx, c.ID, p)
	if err != nil {
		return nil, err
	}
	items := make([]Message, len(found))
	for i, m := range found {
		items[i] = messageOf(m)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return fmt.Sprintf("%d.%d", found[0].Seq, found[0].OutSeq) })), nil
}

// TimelineEntry says what happened to the messages up to Seq, and why.
type TimelineEntry struct {
	ID     int64          `json:"id"`
	Seq    int64          `json:"seq"`
	Kind   string         `json:"kind"`
	Detail map[string]any `json:"detail"`
	At     time.Time      `json:"at"`
}

func (s *Server) readTimeline(ctx context.Context, in *messagesRequest) (*list[TimelineEntry], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	c, err := s.conversationOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.store.Timeline(ctx, c.ID, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]TimelineEntry, len(found))
	for i, e := range found {
		items[i] = TimelineEntry(e)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

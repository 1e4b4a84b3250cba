package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/a-h/templ"
)

const onePage = 50

// inboxPage is what the list of conversations shows.
type inboxPage struct {
	Lines   []InboxLine
	Search  string
	State   string
	Unseen  bool
	Drafted bool
	Before  string
	Next    string // the cursor of the next page; "": there is none
	Here    int64  // the one that is open
	Sandbox bool
	Renews  string
}

// InboxLine is a conversation in a list.
type InboxLine struct {
	Conversation

	Last     string
	LastKind string
	LastByUs bool
	Unseen   int64
	Drafted  bool
}

func (v inboxPage) filtered() bool { return v.Search != "" || v.State != "" || v.Unseen || v.Drafted }

// query is the page's own address.
func (v inboxPage) query() string {
	q := url.Values{"q": {v.Search}, "state": {v.State}, "before": {v.Before}}
	if v.Unseen {
		q.Set("unseen", "on")
	}
	if v.Drafted {
		q.Set("drafted", "on")
	}
	return q.Encode()
}

// more is the address of the next page.
func (v inboxPage) more() string {
	v.Before = v.Next
	return v.query()
}

// lastWords are the last message in a line.
func (l InboxLine) lastWords() string {
	words := l.Last
	if l.LastKind != "text" && l.LastKind != "" {
		words = strings.TrimSpace("[" + strings.ReplaceAll(l.LastKind, "_", " ") + "] " + words)
	}
	if l.LastByUs {
		words = "↩ " + words
	}
	return words
}

func (s *Server) conversationsPage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.inbox(r)
	if err != nil {
		return err
	}
	return s.show(w, r, conversationsView(s.chrome(r, "Inbox"), v))
}

func (s *Server) conversationsList(w http.ResponseWriter, r *http.Request) error {
	v, err := s.inbox(r)
	if err != nil {
		return err
	}
	return s.show(w, r, inboxList(v))
}

func (s *Server) inbox(r *http.Request) (inboxPage, error) {
	v := inboxPage{
		Search: r.FormValue("q"), State: r.FormValue("state"), Unseen: r.FormValue("unseen") != "", Drafted: r.FormValue("drafted") != "",
		Before: r.FormValue("before"), Sandbox: s.sandbox != nil, Renews: s.renews("3s"),
	}
	f := store.InboxFilter{State: store.State(v.State), Search: v.Search, Unseen: v.Unseen, Drafted: v.Drafted, Limit: onePage}
	if at, err := time.Parse(time.RFC3339Nano, v.Before); err == nil {
		f.Before = at
	}
	found, err := s.store.Inbox(r.Context(), f)
	if err != nil {
		return v, err
	}
	for _, l := range found {
		v.Lines = append(v.Lines, InboxLine{conversationOf(l.ConversationSummary), l.LastBody, l.LastKind, l.LastDirection == "out", l.Unseen, l.Drafted})
	}
	if len(found) == onePage {
		v.Next = found[onePage-1].ActiveAt.Format(time.RFC3339Nano)
	}
	return v, nil
}

// talkPage is what the page of a conversation shows.
type talkPage struct {
	Conversation Conversation
	Messages     []Message
	Entries      []TimelineEntry
	Drafts       []Draft // the newest first
	Editing      *Draft  // in the form
	Notes        []Note
	Quick        []QuickReply
	MayWork      bool
	Renews       string
	Typed        string // a reply that could not be sent
	Problem      string // with it
	Twice        bool   // a reply came again, and was not sent again
}

// waiting is the draft to decide on, or nil.
func (v talkPage) waiting() *Draft {
	if len(v.Drafts) == 0 || v.Drafts[0].Decision != "" {
		return nil
	}
	return &v.Drafts[0]
}

// decided are the drafts that were sent or will never be.
func (v talkPage) decided() []Draft {
	if v.waiting() != nil {
		return v.Drafts[1:]
	}
	return v.Drafts
}

// action is the address of what a form does; "" is the page itself.
func (v talkPage) action(name string) templ.SafeURL {
	return templ.SafeURL(strings.TrimSuffix(fmt.Sprintf("/conversations/%d/%s", v.Conversation.ID, name), "/"))
}

// at is an address of the page as it is open: with the draft in the form, or without.
func (v talkPage) at(name string) templ.SafeURL {
	if v.Editing != nil {
		return v.action(name) + "?edit=on"
	}
	return v.action(name)
}

// posts is a form that is sent without leaving the page: what else is typed there stays.
// A browser without scripts leaves it. A second click waits for the first one's answer,
// which may be a model's.
func (v talkPage) posts(name string) templ.Attributes {
	to := string(v.at(name))
	return templ.Attributes{
		"method": "post", "action": to, "hx-post": to, "hx-target": "#talking", "hx-select": "#talking", "hx-swap": "outerMorph",
		"hx-disable": "find button", "hx-config": `{"timeout":"110s"}`,
	}
}

func (s *Server) conversationPage(w http.ResponseWriter, r *http.Request) error {
	return s.showTalk(w, r, http.StatusOK, "", "")
}

func (s *Server) showTalk(w http.ResponseWriter, r *http.Request, status int, typed, wrong string) error {
	v, err := s.talk(r)
	if err != nil {
		return err
	}
	v.Typed, v.Problem = typed, wrong
	return s.showWith(w, r, status, conversationView(s.chrome(r, v.Conversation.title()), v))
}

func (s *Server) conversationLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.talk(r)
	if err != nil {
		return err
	}
	return s.show(w, r, conversationLive(v))
}

// talk reads a conversation with its newest messages, decisions and notes. Whoever may
// work on it has seen it then.
func (s *Server) talk(r *http.Request) (talkPage, error) {
	v := talkPage{MayWork: s.mayWork(r), Renews: s.renews("2s")}
	id, err := pathID(r)
	if err != nil {
		return v, err
	}
	in := &messagesRequest{ByID: ByID{id}, Page: Page{Limit: onePage}}
	c, err := s.readConversation(r.Context(), &in.ByID)
	if err != nil {
		return v, err
	}
	messages, err := s.listMessages(r.Context(), in)
	if err != nil {
		return v, err
	}
	entries, err := s.readTimeline(r.Context(), in)
	if err != nil {
		return v, err
	}
	drafts, err := s.listDrafts(r.Context(), &messagesRequest{in.ByID, Page{Limit: fewLines}})
	if err != nil {
		return v, err
	}
	v.Conversation, v.Messages, v.Entries, v.Drafts = c.Body, messages.Body.Items, entries.Body.Items, drafts.Body.Items
	v.Twice = r.FormValue("sent") == "before"
	if r.FormValue("edit") != "" {
		v.Editing = v.waiting()
	}
	if !v.MayWork {
		return v, nil
	}
	return v, s.forPeople(r, &v)
}

// forPeople adds what only those who work on a conversation see.
func (s *Server) forPeople(r *http.Request, v *talkPage) error {
	notes, err := s.listNotes(r.Context(), &ByID{v.Conversation.ID})
	if err != nil {
		return err
	}
	quick, err := s.listQuickReplies(r.Context(), &quickRepliesRequest{v.Conversation.AccountID})
	if err != nil {
		return err
	}
	v.Notes, v.Quick = notes.Body.Items, quick.Body.Items
	if v.Conversation.SeenSeq >= v.Conversation.LastSeq {
		return nil
	}
	return s.store.ChangeConversation(r.Context(), v.Conversation.ID, store.ConversationChange{SeenSeq: &v.Conversation.LastSeq})
}

// conversationAct does what a button or form of the page asks for.
func (s *Server) conversationAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	c, err := s.conversationOf(r.Context(), id)
	if err != nil {
		return err
	}
	err = s.doWith(r, c, r.PathValue("action"))
	switch {
	case err == nil:
		return seeOther(w, r, talkAddress(r, c.ID, ""))
	case errors.Is(err, errSentBefore):
		return seeOther(w, r, talkAddress(r, c.ID, "before"))
	case inPlace(r):
		return err
	}
	p, typed := s.problemOf(r.Context(), err), ""
	if r.PathValue("action") == "reply" {
		typed = r.FormValue("text")
	}
	return s.showTalk(w, r, p.Status, typed, p.Detail)
}

// talkAddress is where a form of the page leads back to: the page as it was open.
func talkAddress(r *http.Request, id int64, sent string) string {
	q := url.Values{}
	if r.FormValue("edit") != "" {
		q.Set("edit", "on")
	}
	if sent != "" {
		q.Set("sent", sent)
	}
	to := url.URL{Path: fmt.Sprint("/conversations/", id), RawQuery: q.Encode()}
	return to.String()
}

var states = map[string]store.State{"takeover": store.StateHuman, "release": store.StateBot, "pause": store.StatePaused, "close": store.StateClosed}

func (s *Server) doWith(r *http.Request, c store.ConversationSummary, action string) error {
	ctx, text := r.Context(), strings.TrimSpace(r.FormValue("text"))
	if state, known := states[action]; known {
		return s.give(ctx, c, state)
	}
	draft, _ := strconv.ParseInt(r.FormValue("draft"), 10, 64)
	switch action {
	case "send-draft":
		_, err := s.approve(ctx, draft, text)
		return err
	case "reject-draft":
		_, err := s.store.RejectDraft(ctx, draft, asker(ctx))
		return err
	case "summary":
		_, err := s.sumUp(ctx, &ByID{c.ID})
		return err
	case "reply":
		return s.replyOnce(ctx, c, text, r.FormValue("key"))
	case "details":
		assigned, tags := strings.TrimSpace(r.FormValue("assigned_to")), strings.Split(r.FormValue("tags"), ",")
		return s.store.ChangeConversation(ctx, c.ID, store.ConversationChange{AssignedTo: &assigned, Tags: &tags})
	}
	if text == "" {
		return problem(http.StatusUnprocessableEntity, "no_text", "A text is needed")
	}
	switch action {
	case "notes":
		_, err := s.store.AddNote(ctx, c.ID, text, asker(ctx))
		return err
	case "quick":
		_, err := s.store.AddQuickReply(ctx, store.QuickReply{AccountID: &c.AccountID, Name: strings.TrimSpace(r.FormValue("name")), Body: text})
		return err
	}
	return store.ErrNotFound
}

// errSentBefore says that nothing was sent, because it had been.
var errSentBefore = errors.New("it was sent before")

// replyOnce sends what a page's form says; the form may come again, because nobody heard
// that it arrived.
func (s *Server) replyOnce(ctx context.Context, c store.ConversationSummary, text, key string) error {
	_, replayed, err := s.reply(ctx, c, text, "", key)
	if errors.Is(err, store.ErrKeyReused) {
		return problem(http.StatusConflict, "sent_before", "What you wrote before was sent after all, as the conversation shows. If these words are to follow it, send them again.")
	}
	if replayed {
		return errSentBefore
	}
	return err
}

// tracePage is what the page of one message shows.
type tracePage struct {
	Conversation Conversation
	Trace        Trace
	Model        string
	Prompt       []promptLine
}

// promptLine is a line of a prompt as package conversation keeps it.
type promptLine struct {
	Role string `json:"role"`
	Text string `json:"text"`
}

func (s *Server) messagePage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil {
		return store.ErrNotFound
	}
	c, err := s.conversationOf(r.Context(), id)
	if err != nil {
		return err
	}
	t, err := s.store.Trace(r.Context(), c.ID, seq)
	if err != nil {
		return err
	}
	v := tracePage{Conversation: conversationOf(c), Trace: traceOf(t)}
	p, err := s.store.PromptOf(r.Context(), c.ID, seq)
	if err == nil && s.mayWork(r) {
		v.Model = p.Model
		err = json.Unmarshal(p.Messages, &v.Prompt)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return s.show(w, r, traceView(s.chrome(r, "Why this answer?"), v))
}

// tryCustomers are numbers that belong to nobody.
var tryCustomers = []string{"12025550123", "12025550145", "12025550167"}

// tryChat is what the customer's phone shows.
type tryChat struct {
	Accounts []Account // of the sandbox, linked
	Account  string    // the number written to
	Customer string
	Messages []SandboxMessage
	Typing   bool
	Demo     bool // the demo answers
	Problem  string
}

func (s *Server) tryPage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.chat(r)
	if err != nil {
		return err
	}
	return s.show(w, r, tryView(s.chrome(r, "Try it"), v))
}

func (s *Server) tryLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.chat(r)
	if err != nil {
		return err
	}
	return s.show(w, r, tryLive(v))
}

// trySend writes to the account as the customer.
func (s *Server) trySend(w http.ResponseWriter, r *http.Request) error {
	v, err := s.chat(r)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(r.FormValue("text"))
	if text != "" && v.Account != "" {
		if _, err := s.sandbox.Send(r.Context(), v.Customer, v.Account, text); err != nil {
			v.Problem = "The message could not be written: " + err.Error()
		} else if v, err = s.chat(r); err != nil {
			return err
		}
	}
	switch {
	case inPlace(r) && v.Problem == "":
		return s.show(w, r, tryLive(v))
	case inPlace(r):
		return problem(http.StatusConflict, "not_written", v.Problem)
	case v.Problem == "":
		return seeOther(w, r, "/try?account="+v.Account+"&customer="+v.Customer)
	}
	return s.show(w, r, tryView(s.chrome(r, "Try it"), v))
}

// chat reads what the chosen customer's phone shows.
func (s *Server) chat(r *http.Request) (tryChat, error) {
	if s.sandbox == nil {
		return tryChat{}, problem(http.StatusNotFound, "no_sandbox", "There is no sandbox here; start frontdesk with FRONTDESK_SANDBOX=on.")
	}
	v := tryChat{Customer: tryCustomers[0], Demo: s.onlyDemo()}
	if chosen := r.FormValue("customer"); slices.Contains(tryCustomers, chosen) {
		v.Customer = chosen
	}
	all, err := s.store.Accounts(r.Context())
	if err != nil {
		return v, err
	}
	for _, a := range all {
		if a.Kind == store.KindSandbox && a.Paired() {
			v.Accounts = append(v.Accounts, accountOf(a))
		}
	}
	if len(v.Accounts) == 0 {
		return v, nil
	}
	v.Account = v.Accounts[0].Phone
	if i := slices.IndexFunc(v.Accounts, func(a Account) bool { return a.Phone == r.FormValue("account") }); i >= 0 {
		v.Account = v.Accounts[i].Phone
	}
	v.Messages, v.Typing, err = s.sandbox.Messages(r.Context(), v.Customer, v.Account, 0, 0)
	if err != nil {
		v.Problem = err.Error()
	}
	return v, nil
}

// onlyDemo says whether nobody but the demo answers.
func (s *Server) onlyDemo() bool {
	for _, h := range s.ai.Health() {
		if !h.Demo {
			return false
		}
	}
	return true
}

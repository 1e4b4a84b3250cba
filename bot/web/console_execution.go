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

	"frontdesk/bot/flow"
	"frontdesk/store"

	"github.com/a-h/templ"
)

// executionList is a list of executions that renews itself.
type executionList struct {
	Items   []store.Execution
	Address string // of the list alone
	Room    string // where it hears of changes
	Renews  string
	OfFlow  bool // all are of one flow, which needs no name then
	Empty   string
}

// executionsPage is what the page of all executions shows.
type executionsPage struct {
	List   executionList
	Flows  []store.Flow
	Flow   int64
	Status string
	Tests  bool
	After  string
	Next   string // the cursor of the next page; "": there is none
}

// statuses are those of an execution.
var statuses = []string{"queued", "running", "waiting", "completed", "failed", "cancelled"}

// query is the page's own address.
func (v executionsPage) query() string {
	q := url.Values{}
	if v.Flow != 0 {
		q.Set("flow", fmt.Sprint(v.Flow))
	}
	if v.Status != "" {
		q.Set("status", v.Status)
	}
	if v.Tests {
		q.Set("tests", "on")
	}
	if v.After != "" {
		q.Set("after", v.After)
	}
	return q.Encode()
}

// older is the address of the next page.
func (v executionsPage) older() string {
	v.After = v.Next
	return v.query()
}

func (v executionsPage) filtered() bool { return v.Flow != 0 || v.Status != "" || v.Tests }

func (s *Server) executionsPage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.executions(r)
	if err != nil {
		return err
	}
	if v.Flows, err = s.store.Flows(r.Context()); err != nil {
		return err
	}
	return s.show(w, r, executionsView(s.chrome(r, "Executions"), v))
}

func (s *Server) executionsLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.executions(r)
	if err != nil {
		return err
	}
	return s.show(w, r, executionsLive(v.List))
}

func (s *Server) executions(r *http.Request) (executionsPage, error) {
	v := executionsPage{Status: r.FormValue("status"), Tests: r.FormValue("tests") != "", After: r.FormValue("after")}
	v.Flow, _ = strconv.ParseInt(r.FormValue("flow"), 10, 64)
	if !slices.Contains(statuses, v.Status) {
		v.Status = ""
	}
	before, err := Page{After: v.After}.before()
	if err != nil {
		return v, err
	}
	f := store.ExecutionFilter{FlowID: v.Flow, Status: v.Status, Tests: v.Tests}
	found, err := s.store.Executions(r.Context(), f, store.Page{Before: before, Limit: onePage})
	if len(found) == onePage {
		v.Next = fmt.Sprint(found[onePage-1].ID)
	}
	v.List = executionList{Items: found, Address: "/executions/live?" + v.query(), Room: "all", Renews: s.renews("5s"), Empty: "No flow has been executed yet."}
	if v.filtered() {
		v.List.Empty = "Nothing fits."
	}
	return v, err
}

// executionPage is what the page of an execution shows.
type executionPage struct {
	store.Execution

	Lines   []stepLine
	Account string // its name
	Person  string // whom it is about
	Chat    int64  // the conversation; 0: there is none
	MayWork bool
	Renews  string // "": it has ended
	Inside  bool   // below the form that tries the flow
}

// stepLine is a step of an execution, whether it was taken or not.
type stepLine struct {
	Position   int
	Name, Type string
	Status     string // as in store.ExecutionStep; running, waiting, or "" for one that was not reached
	Tries      int
	Took       string
	Result     string // as JSON
	Failure    string
}

// action is the address of what a form does; "" is the page itself.
func (v executionPage) action(name string) templ.SafeURL {
	return templ.SafeURL(strings.TrimSuffix(fmt.Sprintf("/executions/%d/%s", v.ID, name), "/"))
}

// live is the address of what renews itself.
func (v executionPage) live() string {
	if v.Inside {
		return fmt.Sprintf("/executions/%d/live?inside=on", v.ID)
	}
	return fmt.Sprintf("/executions/%d/live", v.ID)
}

// unmet says that no step was taken, because the trigger's condition did not hold.
func (v executionPage) unmet() bool {
	return v.Status == "completed" && len(v.Lines) > 0 && v.Lines[0].Status == ""
}

// mayRepeat says whether the visitor may run it again.
func (v executionPage) mayRepeat() bool { return v.MayWork && v.Ended() && !v.unmet() && !v.Inside }

// reached says whether it got as far as a step.
func (v executionPage) reached(l stepLine) bool { return l.Position <= v.Step }

// unwanted says that it was told to end and has not yet.
func (v executionPage) unwanted() bool { return v.CancelAt != nil && !v.Ended() }

func (s *Server) executionPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	v, err := s.execution(r, id)
	if err != nil {
		return err
	}
	return s.show(w, r, executionView(s.chrome(r, fmt.Sprintf("Execution %d", v.ID)), v))
}

func (s *Server) executionLive(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	v, err := s.execution(r, id)
	if err != nil {
		return err
	}
	v.Inside = r.FormValue("inside") != ""
	return s.show(w, r, executionLive(v))
}

// execution reads an execution with its steps and whom it is about.
func (s *Server) execution(r *http.Request, id int64) (executionPage, error) {
	v := executionPage{MayWork: s.mayWork(r)}
	ctx := r.Context()
	var err error
	if v.Execution, err = s.store.Execution(ctx, id); err != nil {
		return v, err
	}
	if !v.Ended() {
		v.Renews = s.renews("1s")
	}
	if err := s.executionLines(ctx, &v); err != nil {
		return v, err
	}
	return v, s.executionPeople(ctx, &v)
}

// executionLines are all steps of the version: those taken, and those to come.
func (s *Server) executionLines(ctx context.Context, v *executionPage) error {
	f, err := s.store.FlowVersion(ctx, v.FlowID, v.Version)
	if err != nil {
		return err
	}
	done, err := s.store.ExecutionSteps(ctx, v.ID)
	if err != nil {
		return err
	}
	for i, step := range definitionOf(f).Steps {
		l := stepLine{Position: i, Name: step.ID, Type: step.Type}
		if at := slices.IndexFunc(done, func(d store.ExecutionStep) bool { return d.Position == i }); at >= 0 {
			l.settled(done[at])
		} else if i == v.Step && (v.Status == "running" || v.Status == "waiting") {
			l.Status, l.Tries = v.Status, v.Tries
		}
		v.Lines = append(v.Lines, l)
	}
	return nil
}

// settled adds what a step came to.
func (l *stepLine) settled(d store.ExecutionStep) {
	l.Status, l.Tries, l.Failure = d.Status, d.Tries, d.Failure
	if d.Status == "skipped" {
		var why struct{ Skipped string }
		if json.Unmarshal(d.Result, &why) == nil {
			l.Failure = why.Skipped
		}
		return
	}
	l.Took = tookWords(d.EndedAt.Sub(d.BeganAt))
	if string(d.Result) != "{}" {
		l.Result = pretty(d.Result)
	}
}

// executionPeople says who sends and whom it is about.
func (s *Server) executionPeople(ctx context.Context, v *executionPage) error {
	if v.AccountID != nil {
		a, err := s.store.Account(ctx, *v.AccountID)
		if err != nil {
			return err
		}
		v.Account = a.Name
	}
	v.Person = chatWords(v.Execution.Chat)
	if v.ContactID == nil {
		return nil
	}
	c, err := s.store.Contact(ctx, *v.ContactID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	v.Person = Conversation{ContactName: c.Name, Phone: value(c.Phone)}.title()
	if c.Name == "" && c.Phone == nil {
		v.Person = fmt.Sprint("Contact ", *v.ContactID)
	}
	return s.executionChat(ctx, v)
}

// executionChat finds the conversation of the account with the contact.
func (s *Server) executionChat(ctx context.Context, v *executionPage) error {
	if v.ConversationID != nil {
		v.Chat = *v.ConversationID
		return nil
	}
	if v.AccountID == nil {
		return nil
	}
	found, err := s.store.Conversations(ctx, *v.AccountID, *v.ContactID, store.Page{Limit: 1})
	if len(found) > 0 {
		v.Chat = found[0].ID
	}
	return err
}

// executionEvents is what happened to an execution, as a part of its page.
func (s *Server) executionEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	found, err := s.listExecutionEvents(r.Context(), &eventsRequest{ByID: ByID{id}, Limit: 1000})
	if err != nil {
		return err
	}
	return s.show(w, r, executionEventsView(found.Body.Items))
}

// executionAct cancels an execution or runs it again.
func (s *Server) executionAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	switch r.PathValue("action") {
	case "cancel":
		_, err = s.cancelExecution(r.Context(), &ByID{id})
	case "again":
		in := &replayRequest{ByID: ByID{id}}
		in.Body.From, _ = strconv.Atoi(r.FormValue("from"))
		var again *one[Execution]
		if again, err = s.replayExecution(r.Context(), in); err == nil {
			id = again.Body.ID
		}
	default:
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, fmt.Sprint("/executions/", id))
}

// stepTypes are what steps can do, and with which fields.
var stepTypes = []struct{ name, does, fields string }{
	{"text", "Fills a text for later steps, as {{steps.ID.text}}.", "text"},
	{"ai", "Has a model write as the account's persona. What came with the trigger is shown to it as data, never as orders.", "prompt, output (a JSON Schema), fallback (a text for when nobody answers)"},
	{"send", "Sends a message on WhatsApp, once.", "text, media (an address, or the id of a file that came), location, wait_for (queued, sent or delivered)"},
	{"http", "Calls another service. {{secret}} in a header stands for the secret that the step names.", "url, method, headers, secret, body"},
	{"wait", "Lets time pass, or waits for the customer's answer.", "for (\"2h\"), until (a time), or reply (\"48h\" at most)"},
	{"handoff", "Gives the conversation to people.", "note"},
	{"contact", "Notes something about the customer.", "tags, attributes, opt_in"},
	{"respond", "Says what the caller gets.", "status, body"},
	{"stop", "Ends here; the steps behind it are not taken.", "reason"},
}

func stepDoes(kind string) string {
	for _, t := range stepTypes {
		if t.name == kind {
			return t.does
		}
	}
	return ""
}

// startWords say what starts a flow.
func startWords(t flow.Trigger) string {
	words := map[string]string{
		"webhook": "Another system calls its address", "message": "A customer writes", "call": "A model starts it while it talks with a customer",
	}[t.Type]
	if t.Type == "event" {
		words = "It happens: " + t.Event
	}
	if len(t.Methods) > 0 {
		words += " by " + strings.Join(t.Methods, ", ")
	}
	if t.Respond == "sync" {
		words += " and waits for the result"
	}
	if t.When != nil {
		words += ", if its condition holds"
	}
	return words
}

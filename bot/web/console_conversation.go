package web

import (
	"net/http"
	"slices"
	"strings"

	"frontdesk/store"
)

const onePage = 50

func (s *Server) conversationsPage(w http.ResponseWriter, r *http.Request) error {
	found, err := s.listConversations(r.Context(), &conversationsRequest{Page: Page{After: r.FormValue("after"), Limit: onePage}})
	if err != nil {
		return err
	}
	return s.show(w, r, conversationsView(s.chrome(r, "Conversations"), found.Body.Items, found.Body.Next))
}

func (s *Server) conversationPage(w http.ResponseWriter, r *http.Request) error {
	c, messages, entries, err := s.talk(r)
	if err != nil {
		return err
	}
	return s.show(w, r, conversationView(s.chrome(r, c.title()), c, messages, entries))
}

func (s *Server) conversationLive(w http.ResponseWriter, r *http.Request) error {
	c, messages, entries, err := s.talk(r)
	if err != nil {
		return err
	}
	return s.show(w, r, conversationLive(c, messages, entries))
}

// talk reads a conversation with its newest messages and decisions.
func (s *Server) talk(r *http.Request) (Conversation, []Message, []TimelineEntry, error) {
	id, err := pathID(r)
	if err != nil {
		return Conversation{}, nil, nil, err
	}
	in := &messagesRequest{ByID: ByID{id}, Page: Page{Limit: onePage}}
	c, err := s.readConversation(r.Context(), &in.ByID)
	if err != nil {
		return Conversation{}, nil, nil, err
	}
	messages, err := s.listMessages(r.Context(), in)
	if err != nil {
		return Conversation{}, nil, nil, err
	}
	entries, err := s.readTimeline(r.Context(), in)
	if err != nil {
		return Conversation{}, nil, nil, err
	}
	return c.Body, messages.Body.Items, entries.Body.Items, nil
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
	if r.Header.Get("Hx-Request") == "" && v.Problem == "" {
		return seeOther(w, r, "/try?account="+v.Account+"&customer="+v.Customer)
	}
	if r.Header.Get("Hx-Request") == "" {
		return s.show(w, r, tryView(s.chrome(r, "Try it"), v))
	}
	return s.show(w, r, tryLive(v))
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

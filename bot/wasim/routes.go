package wasim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait is how long a request for messages may wait for the next one.
const maxWait = 30 * time.Second

// maxControl is how large a request may be: the largest file, as text.
const maxControl = maxFile/3*4 + 1<<20

// What the control requests carry, besides Fault and Stats.
type (
	scanRequest struct {
		QR string `json:"qr"`
	}
	codeRequest struct {
		Code string `json:"code"`
	}
	passkeyRequest struct {
		Required bool `json:"required"`
	}
	addressRequest struct {
		Mode    Addressing `json:"mode,omitempty"` // unchanged if empty
		HideLID *bool      `json:"hideLid,omitempty"`
	}
	sendRequest struct {
		To       string    `json:"to"`             // the customer of a phone, the account of a customer
		ID       string    `json:"id,omitempty"`   // the message or call it is about
		Text     string    `json:"text,omitempty"` // or the emoji
		Media    *Media    `json:"media,omitempty"`
		Location *Location `json:"location,omitempty"`
		Contact  *Contact  `json:"contact,omitempty"`
	}
	memoryRequest struct {
		Customer string    `json:"customer"`
		Messages []Message `json:"messages"`
	}
	receiptsRequest struct {
		Mode ReceiptMode `json:"mode"`
	}
	typingRequest struct {
		To     string `json:"to"`
		Typing bool   `json:"typing"`
	}
	sendResponse struct {
		ID string `json:"id"`
	}
	chatResponse struct {
		Messages []Message `json:"messages"`
		Typing   bool      `json:"typing"`
	}
	errorResponse struct {
		Error string `json:"error"`
	}
)

// controlRoutes let another process hold the phones and customers.
func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /phones/{number}/scan", order(func(ctx context.Context, number string, r scanRequest) error {
		return s.Phone(number).Scan(ctx, r.QR)
	}))
	mux.HandleFunc("POST /phones/{number}/code", order(func(ctx context.Context, number string, r codeRequest) error {
		return s.Phone(number).EnterCode(ctx, r.Code)
	}))
	mux.HandleFunc("POST /phones/{number}/passkey", order(func(_ context.Context, number string, r passkeyRequest) error {
		return s.Phone(number).RequirePasskey(r.Required)
	}))
	mux.HandleFunc("POST /phones/{number}/assertion", s.controlAssertion)
	mux.HandleFunc("GET /phones/{number}/passkey", func(w http.ResponseWriter, r *http.Request) {
		respond(w, codeRequest{s.Phone(r.PathValue("number")).PasskeyCode()}, nil)
	})
	mux.HandleFunc("POST /phones/{number}/unlink", order(func(ctx context.Context, number string, _ any) error {
		return s.Phone(number).Unlink(ctx)
	}))
	mux.HandleFunc("POST /phones/{number}/messages", said(s.controlPhoneSend))
	mux.HandleFunc("POST /phones/{number}/reactions", said(func(ctx context.Context, number string, r sendRequest) (string, error) {
		return s.Phone(number).React(ctx, r.To, r.ID, r.Text)
	}))
	mux.HandleFunc("POST /phones/{number}/history", said(func(ctx context.Context, number string, _ any) (string, error) {
		return s.Phone(number).ShareHistory(ctx)
	}))
	mux.HandleFunc("POST /phones/{number}/memories", order(func(_ context.Context, number string, r memoryRequest) error {
		return s.Phone(number).Remember(r.Customer, r.Messages...)
	}))
	s.customerRoutes(mux)
	mux.HandleFunc("POST /faults", s.controlFault)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { respond(w, s.Stats(), nil) })
	mux.HandleFunc("GET /logins", func(w http.ResponseWriter, _ *http.Request) { respond(w, s.Logins(), nil) })
	return onlyNumbers(mux)
}

// customerRoutes let another process hold the customers.
func (s *Server) customerRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /customers/{number}/messages", s.controlMessages)
	mux.HandleFunc("POST /customers/{number}/messages", said(s.controlSend))
	mux.HandleFunc("POST /customers/{number}/reactions", said(func(ctx context.Context, number string, r sendRequest) (string, error) {
		return s.Customer(number).React(ctx, r.To, r.ID, r.Text)
	}))
	mux.HandleFunc("POST /customers/{number}/edits", said(func(ctx context.Context, number string, r sendRequest) (string, error) {
		return s.Customer(number).Edit(ctx, r.To, r.ID, r.Text)
	}))
	mux.HandleFunc("POST /customers/{number}/deletions", said(func(ctx context.Context, number string, r sendRequest) (string, error) {
		return s.Customer(number).Delete(ctx, r.To, r.ID)
	}))
	mux.HandleFunc("POST /customers/{number}/address", order(s.controlAddress))
	mux.HandleFunc("POST /customers/{number}/receipts", order(func(_ context.Context, number string, r receiptsRequest) error {
		return s.Customer(number).Receipts(r.Mode)
	}))
	mux.HandleFunc("POST /customers/{number}/typing", order(func(_ context.Context, number string, r typingRequest) error {
		return s.Customer(number).SetTyping(r.To, r.Typing)
	}))
	mux.HandleFunc("POST /customers/{number}/calls", said(func(_ context.Context, number string, r sendRequest) (string, error) {
		return s.Customer(number).Call(r.To)
	}))
	mux.HandleFunc("POST /customers/{number}/hangups", order(func(_ context.Context, number string, r sendRequest) error {
		return s.Customer(number).HangUp(r.To, r.ID)
	}))
	mux.HandleFunc("GET /customers/{number}/calls", func(w http.ResponseWriter, r *http.Request) {
		respond(w, s.Customer(r.PathValue("number")).Calls(r.URL.Query().Get("account")), nil)
	})
}

// order is a route that does something with the phone or customer of a number.
func order[T any](do func(ctx context.Context, number string, asked T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var asked T
		if accept(w, r, &asked) {
			respond(w, struct{}{}, do(r.Context(), r.PathValue("number"), asked))
		}
	}
}

// said is order for what has an id afterwards.
func said[T any](do func(ctx context.Context, number string, asked T) (id string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var asked T
		if accept(w, r, &asked) {
			id, err := do(r.Context(), r.PathValue("number"), asked)
			respond(w, sendResponse{id}, err)
		}
	}
}

// onlyNumbers refuses what is not a phone number before it reaches a route.
func onlyNumbers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(parts) > 1 && !digits(parts[1]) {
			respond(w, nil, errors.New("a phone number is 5 to 15 digits"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) controlPhoneSend(ctx context.Context, number string, r sendRequest) (string, error) {
	if r.Media != nil {
		return s.Phone(number).SendMedia(ctx, r.To, *r.Media)
	}
	return s.Phone(number).Send(ctx, r.To, r.Text)
}

// controlSend answers once the message is on disk.
func (s *Server) controlSend(ctx context.Context, number string, r sendRequest) (string, error) {
	id, err := r.send(ctx, s.Customer(number))
	if err == nil {
		err = s.save()
	}
	return id, err
}

// send has c send whatever r holds.
func (r sendRequest) send(ctx context.Context, c *Customer) (string, error) {
	switch {
	case r.Media != nil:
		return c.SendMedia(ctx, r.To, *r.Media)
	case r.Location != nil:
		return c.SendLocation(ctx, r.To, *r.Location)
	case r.Contact != nil:
		return c.SendContact(ctx, r.To, *r.Contact)
	case r.ID != "":
		return c.Reply(ctx, r.To, r.ID, r.Text)
	}
	return c.Send(ctx, r.To, r.Text)
}

func (s *Server) controlAddress(_ context.Context, number string, r addressRequest) error {
	c := s.Customer(number)
	if r.HideLID != nil {
		c.HideLID(*r.HideLID)
	}
	if r.Mode == "" {
		return nil
	}
	return c.Address(r.Mode)
}

// controlAssertion passes the JSON of browsers on, both ways.
func (s *Server) controlAssertion(w http.ResponseWriter, r *http.Request) {
	var options json.RawMessage
	if !accept(w, r, &options) {
		return
	}
	signed, err := s.Phone(r.PathValue("number")).UsePasskey(options)
	respond(w, json.RawMessage(signed), err)
}

func (s *Server) controlFault(w http.ResponseWriter, r *http.Request) {
	var asked Fault
	if accept(w, r, &asked) {
		respond(w, struct{}{}, s.Fault(asked)) //nolint:contextcheck // a fault happens whoever still listens
	}
}

func (s *Server) controlMessages(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	after, _ := strconv.Atoi(asked.Get("after"))
	wait, _ := time.ParseDuration(asked.Get("wait"))
	chat, err := s.Customer(r.PathValue("number")).await(r.Context(), asked.Get("account"), after, min(wait, maxWait))
	respond(w, chat, err)
}

// await returns the bubbles after a Seq, as soon as there are any or wait is over.
func (c *Customer) await(ctx context.Context, account string, after int, wait time.Duration) (chatResponse, error) {
	if !digits(account) {
		return chatResponse{}, errors.New("say which account, by its phone number")
	}
	over := time.After(wait)
	for {
		changed := c.Changed()
		chat := chatResponse{Messages: []Message{}, Typing: c.Typing(account)}
		for _, m := range c.Messages(account) {
			if m.Seq > after {
				chat.Messages = append(chat.Messages, m)
			}
		}
		if len(chat.Messages) > 0 {
			return chat, nil
		}
		select {
		case <-changed:
		case <-over:
			return chat, nil
		case <-ctx.Done():
			return chat, ctx.Err()
		}
	}
}

func accept(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl)).Decode(into)
	if err != nil {
		respond(w, nil, errors.New("the request is not the JSON that is expected here"))
	}
	return err == nil
}

func respond(w http.ResponseWriter, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		body = errorResponse{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(body)
}

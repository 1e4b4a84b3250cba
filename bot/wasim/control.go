package wasim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxWait is how long a request for messages may wait for the next one.
const maxWait = 30 * time.Second

// What the control requests carry, besides Fault and Stats.
type (
	scanRequest struct {
		QR string `json:"qr"`
	}
	codeRequest struct {
		Code string `json:"code"`
	}
	addressRequest struct {
		Mode    Addressing `json:"mode,omitempty"` // unchanged if empty
		HideLID *bool      `json:"hideLid,omitempty"`
	}
	sendRequest struct {
		To   string `json:"to"` // the customer of a phone, the account of a customer
		Text string `json:"text"`
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
	mux.HandleFunc("POST /phones/{number}/scan", s.controlScan)
	mux.HandleFunc("POST /phones/{number}/code", s.controlCode)
	mux.HandleFunc("POST /phones/{number}/unlink", s.controlUnlink)
	mux.HandleFunc("POST /phones/{number}/messages", s.controlPhoneSend)
	mux.HandleFunc("POST /customers/{number}/messages", s.controlSend)
	mux.HandleFunc("GET /customers/{number}/messages", s.controlMessages)
	mux.HandleFunc("POST /customers/{number}/address", s.controlAddress)
	mux.HandleFunc("POST /faults", s.controlFault)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { respond(w, s.Stats(), nil) })
	mux.HandleFunc("GET /logins", func(w http.ResponseWriter, _ *http.Request) { respond(w, s.Logins(), nil) })
	return onlyNumbers(mux)
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

func (s *Server) controlScan(w http.ResponseWriter, r *http.Request) {
	var asked scanRequest
	if accept(w, r, &asked) {
		respond(w, struct{}{}, s.Phone(r.PathValue("number")).Scan(r.Context(), asked.QR))
	}
}

func (s *Server) controlCode(w http.ResponseWriter, r *http.Request) {
	var asked codeRequest
	if accept(w, r, &asked) {
		respond(w, struct{}{}, s.Phone(r.PathValue("number")).EnterCode(r.Context(), asked.Code))
	}
}

func (s *Server) controlAddress(w http.ResponseWriter, r *http.Request) {
	var asked addressRequest
	if !accept(w, r, &asked) {
		return
	}
	c := s.Customer(r.PathValue("number"))
	if asked.HideLID != nil {
		c.HideLID(*asked.HideLID)
	}
	var err error
	if asked.Mode != "" {
		err = c.Address(asked.Mode)
	}
	respond(w, struct{}{}, err)
}

func (s *Server) controlUnlink(w http.ResponseWriter, r *http.Request) {
	respond(w, struct{}{}, s.Phone(r.PathValue("number")).Unlink(r.Context()))
}

func (s *Server) controlPhoneSend(w http.ResponseWriter, r *http.Request) {
	var asked sendRequest
	if accept(w, r, &asked) {
		id, err := s.Phone(r.PathValue("number")).Send(r.Context(), asked.To, asked.Text)
		respond(w, sendResponse{id}, err)
	}
}

// controlSend answers once the message is on disk.
func (s *Server) controlSend(w http.ResponseWriter, r *http.Request) {
	var asked sendRequest
	if !accept(w, r, &asked) {
		return
	}
	id, err := s.Customer(r.PathValue("number")).Send(r.Context(), asked.To, asked.Text)
	if err == nil {
		err = s.save()
	}
	respond(w, sendResponse{id}, err)
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
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into)
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

// Control moves the phones and customers of a server in another process. Its
// methods do what those of [Phone], [Customer] and [Server] do, with their errors,
// and are safe from any goroutine.
type Control struct {
	base   string
	client *http.Client
}

// NewControl makes a control for the [Server.ControlURL] base.
func NewControl(base string) *Control {
	return &Control{base: base, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// Scan has a phone scan a code.
func (c *Control) Scan(ctx context.Context, phone, qr string) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/scan", scanRequest{qr}, nil)
}

// EnterCode has an owner type a pairing code on the phone.
func (c *Control) EnterCode(ctx context.Context, phone, code string) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/code", codeRequest{code}, nil)
}

// Address has a customer's further stanzas follow mode.
func (c *Control) Address(ctx context.Context, customer string, mode Addressing) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/address", addressRequest{Mode: mode}, nil)
}

// HideLID has the server keep a customer's LID to itself, or tell it again.
func (c *Control) HideLID(ctx context.Context, customer string, hidden bool) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/address", addressRequest{HideLID: &hidden}, nil)
}

// Unlink has a phone remove its linked device.
func (c *Control) Unlink(ctx context.Context, phone string) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/unlink", nil, nil)
}

// PhoneSend has an owner write to a customer on the phone itself.
func (c *Control) PhoneSend(ctx context.Context, phone, customer, text string) (id string, err error) {
	var sent sendResponse
	err = c.call(ctx, http.MethodPost, "/phones/"+phone+"/messages", sendRequest{customer, text}, &sent)
	return sent.ID, err
}

// Send has a customer write to an account. The message is on disk afterwards.
func (c *Control) Send(ctx context.Context, customer, account, text string) (id string, err error) {
	var sent sendResponse
	err = c.call(ctx, http.MethodPost, "/customers/"+customer+"/messages", sendRequest{account, text}, &sent)
	return sent.ID, err
}

// Messages are the bubbles of a chat with a Seq above after. Without any, it
// waits up to wait (at most 30 s) for the next. typing says that the account
// shows the customer that it is writing.
func (c *Control) Messages(ctx context.Context, customer, account string, after int, wait time.Duration) (chat []Message, typing bool, err error) {
	asked := url.Values{"account": {account}, "after": {strconv.Itoa(after)}, "wait": {wait.String()}}
	var found chatResponse
	err = c.call(ctx, http.MethodGet, "/customers/"+customer+"/messages?"+asked.Encode(), nil, &found)
	return found.Messages, found.Typing, err
}

// Fault orders a misbehaviour.
func (c *Control) Fault(ctx context.Context, f Fault) error {
	return c.call(ctx, http.MethodPost, "/faults", f, nil)
}

// Stats are the server's counters.
func (c *Control) Stats(ctx context.Context) (Stats, error) {
	var found Stats
	err := c.call(ctx, http.MethodGet, "/stats", nil, &found)
	return found, err
}

// Logins are the times of the server's newest logins.
func (c *Control) Logins(ctx context.Context) ([]time.Time, error) {
	var found []time.Time
	err := c.call(ctx, http.MethodGet, "/logins", nil, &found)
	return found, err
}

func (c *Control) call(ctx context.Context, method, path string, asked, found any) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode == http.StatusOK {
		if found == nil {
			return nil
		}
		return decoder.Decode(found)
	}
	refused := errorResponse{response.Status}
	_ = decoder.Decode(&refused)
	return errors.New(refused.Error)
}

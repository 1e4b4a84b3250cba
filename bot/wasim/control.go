package wasim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

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

// RequirePasskey has a phone ask every device that it scans for the owner's passkey.
func (c *Control) RequirePasskey(ctx context.Context, phone string, required bool) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/passkey", passkeyRequest{required}, nil)
}

// UsePasskey signs what a device was asked for with the owner's passkey.
func (c *Control) UsePasskey(ctx context.Context, phone string, options []byte) ([]byte, error) {
	var signed json.RawMessage
	err := c.call(ctx, http.MethodPost, "/phones/"+phone+"/assertion", json.RawMessage(options), &signed)
	return signed, err
}

// PasskeyCode is what a phone shows for comparison with the code of the device.
func (c *Control) PasskeyCode(ctx context.Context, phone string) (string, error) {
	var shown codeRequest
	err := c.call(ctx, http.MethodGet, "/phones/"+phone+"/passkey", nil, &shown)
	return shown.Code, err
}

// Address has a customer's further stanzas follow mode.
func (c *Control) Address(ctx context.Context, customer string, mode Addressing) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/address", addressRequest{Mode: mode}, nil)
}

// HideLID has the server keep a customer's LID to itself, or tell it again.
func (c *Control) HideLID(ctx context.Context, customer string, hidden bool) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/address", addressRequest{HideLID: &hidden}, nil)
}

// ShareHistory has a phone give its chats to the linked device.
func (c *Control) ShareHistory(ctx context.Context, phone string) (id string, err error) {
	return c.send(ctx, "/phones/"+phone+"/history", nil)
}

// Remember puts earlier messages into the chat of a phone and a customer.
func (c *Control) Remember(ctx context.Context, phone, customer string, earlier ...Message) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/memories", memoryRequest{customer, earlier}, nil)
}

// Receipts has a customer answer all further messages with the receipts of mode.
func (c *Control) Receipts(ctx context.Context, customer string, mode ReceiptMode) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/receipts", receiptsRequest{mode}, nil)
}

// SetTyping shows an account that a customer is typing, or no longer is.
func (c *Control) SetTyping(ctx context.Context, customer, account string, typing bool) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/typing", typingRequest{account, typing}, nil)
}

// Call has a customer ring at an account.
func (c *Control) Call(ctx context.Context, customer, account string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/calls", sendRequest{To: account})
}

// HangUp has a customer end a call that rings.
func (c *Control) HangUp(ctx context.Context, customer, account, id string) error {
	return c.call(ctx, http.MethodPost, "/customers/"+customer+"/hangups", sendRequest{To: account, ID: id}, nil)
}

// Calls are a customer's calls to an account.
func (c *Control) Calls(ctx context.Context, customer, account string) ([]Call, error) {
	var found []Call
	err := c.call(ctx, http.MethodGet, "/customers/"+customer+"/calls?account="+url.QueryEscape(account), nil, &found)
	return found, err
}

// Unlink has a phone remove its linked device.
func (c *Control) Unlink(ctx context.Context, phone string) error {
	return c.call(ctx, http.MethodPost, "/phones/"+phone+"/unlink", nil, nil)
}

// PhoneSend has an owner write to a customer on the phone itself.
func (c *Control) PhoneSend(ctx context.Context, phone, customer, text string) (id string, err error) {
	return c.send(ctx, "/phones/"+phone+"/messages", sendRequest{To: customer, Text: text})
}

// PhoneSendMedia has an owner send a file to a customer on the phone itself.
func (c *Control) PhoneSendMedia(ctx context.Context, phone, customer string, m Media) (id string, err error) {
	return c.send(ctx, "/phones/"+phone+"/messages", sendRequest{To: customer, Media: &m})
}

// PhoneReact has an owner put an emoji beneath a message.
func (c *Control) PhoneReact(ctx context.Context, phone, customer, message, emoji string) (id string, err error) {
	return c.send(ctx, "/phones/"+phone+"/reactions", sendRequest{To: customer, ID: message, Text: emoji})
}

// Send has a customer write to an account. The message is on disk afterwards.
func (c *Control) Send(ctx context.Context, customer, account, text string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/messages", sendRequest{To: account, Text: text})
}

// SendMedia has a customer send a file to an account.
func (c *Control) SendMedia(ctx context.Context, customer, account string, m Media) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/messages", sendRequest{To: account, Media: &m})
}

// SendLocation has a customer send a place to an account.
func (c *Control) SendLocation(ctx context.Context, customer, account string, l Location) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/messages", sendRequest{To: account, Location: &l})
}

// SendContact has a customer send somebody's card to an account.
func (c *Control) SendContact(ctx context.Context, customer, account string, card Contact) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/messages", sendRequest{To: account, Contact: &card})
}

// Reply has a customer answer a message of the chat.
func (c *Control) Reply(ctx context.Context, customer, account, message, text string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/messages", sendRequest{To: account, ID: message, Text: text})
}

// React has a customer put an emoji beneath a message.
func (c *Control) React(ctx context.Context, customer, account, message, emoji string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/reactions", sendRequest{To: account, ID: message, Text: emoji})
}

// Edit has a customer change a message.
func (c *Control) Edit(ctx context.Context, customer, account, message, text string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/edits", sendRequest{To: account, ID: message, Text: text})
}

// Delete has a customer take a message back.
func (c *Control) Delete(ctx context.Context, customer, account, message string) (id string, err error) {
	return c.send(ctx, "/customers/"+customer+"/deletions", sendRequest{To: account, ID: message})
}

// send is call for what has an id afterwards.
func (c *Control) send(ctx context.Context, path string, asked any) (id string, err error) {
	var sent sendResponse
	err = c.call(ctx, http.MethodPost, path, asked, &sent)
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
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
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

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

const (
	mostIgnore = 4 << 10 // of an answer, which nobody reads; what it has beyond costs its connection
	mostSaid   = 300     // bytes of why a try failed
)

// envelope is the body of a delivery: the event, and the message that it speaks of.
type envelope struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	ExecutionID *int64          `json:"execution_id,omitempty"`
	Flow        string          `json:"flow,omitempty"`
	Epoch       int64           `json:"epoch"`
	Seq         int64           `json:"seq"` // of an execution's event; see delivery for that of all
	Time        time.Time       `json:"time"`
	Test        bool            `json:"test"`
	Step        json.RawMessage `json:"step,omitempty"`
	Data        json.RawMessage `json:"data"`
	Delivery    numbered        `json:"delivery"`

	*familiar
}

// numbered has a receiver see whether something came out of order or is missing: Seq is
// dense for each subscription.
type numbered struct {
	SubscriptionID int64 `json:"subscription_id"`
	Seq            int64 `json:"seq"`
}

// bodyOf is what a receiver reads. It is made anew for each try, from what is kept of
// the message by then.
func bodyOf(c store.ClaimedDelivery, publicURL string) ([]byte, error) {
	e := envelope{
		ID: "evt_" + strconv.FormatInt(c.EventID, 10), Type: c.Type, ExecutionID: c.ExecutionID, Flow: c.Flow, Epoch: c.Epoch, Seq: c.EventSeq,
		Time: c.At.UTC(), Test: c.Test, Data: c.Data, Delivery: numbered{c.SubscriptionID, c.Seq}, familiar: familiarOf(c, publicURL),
	}
	if c.ExecutionID != nil {
		e.ID = fmt.Sprintf("%d:%d", *c.ExecutionID, c.EventSeq)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.Data, &members); err != nil {
		return nil, fmt.Errorf("read the data of event %d: %w", c.EventID, err)
	}
	if e.Step = members["step"]; e.Step != nil {
		delete(members, "step")
		e.Data, _ = json.Marshal(members) // it was read from JSON
	}
	return json.Marshal(e)
}

// webhookID names a delivery to its receiver, the same at every try and replay.
func webhookID(c store.ClaimedDelivery) string { return "msg_" + strconv.FormatInt(c.ID, 10) }

// outcome is what came of a try.
type outcome struct {
	status  int // the receiver's; 0: none came
	arrived bool
	says    string        // why not
	rest    time.Duration // the receiver asked for it
}

// post makes one try. Only a 2xx within its time says that the delivery arrived.
func (d *Deliverer) post(ctx context.Context, c store.ClaimedDelivery) outcome {
	within, cancel := context.WithTimeout(ctx, d.tryTime)
	defer cancel()
	q, err := d.request(within, c)
	if err != nil {
		return outcome{says: err.Error()}
	}
	a, err := d.http.Do(q)
	if err != nil {
		return outcome{says: d.noAnswer(within, err)}
	}
	defer a.Body.Close()
	_, _ = io.CopyN(io.Discard, a.Body, mostIgnore)
	o := outcome{status: a.StatusCode, arrived: a.StatusCode/100 == 2, rest: restAsked(a.StatusCode, a.Header, time.Now())}
	switch a.StatusCode / 100 {
	case 2:
	case 3:
		o.says = fmt.Sprintf("the receiver answered %d; redirects are never followed, subscribe with the address it leads to", a.StatusCode)
	default:
		o.says = fmt.Sprintf("the receiver answered %d", a.StatusCode)
	}
	return o
}

// request is a delivery as it goes out now, signed by all secrets that are good.
func (d *Deliverer) request(ctx context.Context, c store.ClaimedDelivery) (*http.Request, error) {
	body, err := bodyOf(c, d.publicURL)
	if err != nil {
		return nil, err
	}
	secrets, err := d.store.DeliverySecrets(c)
	if err != nil {
		return nil, fmt.Errorf("open the signing secret: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the subscription has no address that can be called")
	}
	id, at := webhookID(c), time.Now()
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		key, err := StandardSecret(secret)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, SignStandard(key, id, at, body))
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "frontdesk")
	q.Header.Set("webhook-id", id)
	q.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	q.Header.Set("webhook-signature", strings.Join(signatures, " "))
	return q, nil
}

// noAnswer says why a receiver could not be asked, without its address, which may hold a
// key.
func (d *Deliverer) noAnswer(within context.Context, err error) string {
	if errors.Is(within.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("the receiver did not answer within %v", d.tryTime)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	said := err.Error()
	return "the receiver cannot be reached: " + said[:min(len(said), mostSaid)]
}

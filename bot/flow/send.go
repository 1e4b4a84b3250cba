package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// Bounds of what a flow sends.
const (
	mostText  = 4096
	mostMedia = 64 << 20
)

// send queues a message, once however often it is tried, and waits for as much as the
// step wants to know.
func (r *run) send(ctx context.Context, s Step) (outcome, error) {
	if r.x.AwaitsOutbound != nil {
		return r.sent(ctx, s, *r.x.AwaitsOutbound)
	}
	p, err := r.parcel(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	if r.x.Test != "" {
		return outcome{result: simulatedResult(p)}, nil
	}
	o, _, err := r.e.store.Queue(ctx, p)
	var refused *store.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Code == "opted_out":
		return outcome{skipped: refused.Says}, nil
	case errors.As(err, &refused):
		return outcome{}, &stepError{cause: refused, after: refused.After}
	case err != nil:
		return outcome{}, err
	}
	r.x.ConversationID = &o.ConversationID
	r.e.o.Queued(o.AccountID, o.ConversationID)
	if s.WaitFor == "sent" || s.WaitFor == "delivered" {
		return r.sent(ctx, s, o.ID)
	}
	return outcome{result: sentResult(o)}, nil
}

func sentResult(o store.Outbound) map[string]any {
	return map[string]any{"message_id": o.ID, "wa_id": o.WaID, "status": o.Status, "conversation_id": o.ConversationID}
}

// simulatedResult has what later steps read of a message that was sent.
func simulatedResult(p store.Parcel) map[string]any {
	return map[string]any{
		"simulated": true, "kind": cmp.Or(p.Kind, "text"), "text": p.Body, "message_id": 0, "wa_id": "simulated", "status": "sent", "conversation_id": 0,
	}
}

// sent looks how far a message got, and waits on for a while.
func (r *run) sent(ctx context.Context, s Step, id int64) (outcome, error) {
	o, err := r.e.store.SentMessage(ctx, *r.x.AccountID, id)
	if err != nil {
		return outcome{}, err
	}
	switch {
	case o.FailedAt != nil:
		return outcome{}, permanently(fmt.Errorf("the message was not sent: %s", o.Failure))
	case o.CancelledAt != nil:
		return outcome{skipped: "the message was cancelled"}, nil
	case o.DeliveredAt != nil, s.WaitFor == "sent" && o.SentAt != nil:
		return outcome{result: sentResult(o)}, nil
	}
	left := time.Duration(cmp.Or(s.Timeout, Duration(usualAwait))) - r.sinceFirst()
	if left <= 0 {
		return outcome{}, permanently(fmt.Errorf("the message was not %s in time; it is %s", s.WaitFor, o.Status))
	}
	return outcome{wait: &store.Await{What: s.WaitFor, For: left, Outbound: &o.ID}}, nil
}

// parcel is what the step sends.
func (r *run) parcel(ctx context.Context, s Step) (store.Parcel, error) {
	p := store.Parcel{Origin: "flow", Chat: r.x.Chat, IdempotencyKey: fmt.Sprintf("flow:%d:%s", r.x.ID, s.ID)}
	if r.x.Test == "" {
		if r.x.AccountID == nil || r.x.ContactID == nil {
			return p, permanently(errors.New("nobody is known to send to; the flow needs an account and a contact"))
		}
		p.AccountID, p.ContactID = *r.x.AccountID, *r.x.ContactID
	}
	var err error
	if p.Body, err = r.fill(s.Text); err != nil {
		return p, err
	}
	if len([]rune(p.Body)) > mostText {
		return p, permanently(fmt.Errorf("the text has more than %d characters", mostText))
	}
	switch {
	case s.Location != nil:
		p.Kind = "location"
		p.Extra, err = r.place(*s.Location)
	case s.Media != "":
		err = r.attach(ctx, s, &p)
	case strings.TrimSpace(p.Body) == "":
		err = permanently(errors.New("there is nothing to send"))
	}
	return p, err
}

// place is a location as messages hold it.
func (r *run) place(l Location) (map[string]any, error) {
	at := map[string]any{}
	for name, template := range map[string]string{"latitude": l.Latitude, "longitude": l.Longitude} {
		text, err := r.fill(template)
		if err != nil {
			return nil, err
		}
		degrees, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if most := map[string]float64{"latitude": 90, "longitude": 180}[name]; err != nil || degrees < -most || degrees > most {
			return nil, permanently(fmt.Errorf("%q is no %s", short(text), name))
		}
		at[name] = degrees
	}
	return at, nil
}

// attach finds the file that a step names, or fetches it.
func (r *run) attach(ctx context.Context, s Step, p *store.Parcel) error {
	named, err := r.fill(s.Media)
	if err != nil {
		return err
	}
	if id, err := strconv.ParseInt(named, 10, 64); err == nil {
		f, err := r.e.store.File(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return permanently(fmt.Errorf("there is no file %d", id))
		}
		p.FileID, p.Kind = &f.ID, f.Natural()
		return err
	}
	if r.x.Test != "" {
		p.Kind = "document"
		return nil
	}
	f, err := r.fetch(ctx, s, named)
	p.FileID, p.Kind = &f.ID, f.Natural()
	return err
}

// fetch gets a file from an address.
func (r *run) fetch(ctx context.Context, s Step, address string) (store.File, error) {
	if r.e.o.Files == nil || r.e.o.HTTP == nil {
		return store.File{}, permanently(errors.New("there is no place for files here; set FRONTDESK_FILES_URL"))
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return store.File{}, permanently(fmt.Errorf("%q is no address of a file, nor the number of one", short(address)))
	}
	answer, err := r.e.o.HTTP.Do(q)
	if err != nil {
		return store.File{}, perhaps(errors.New("the file cannot be fetched: " + hostless(err)))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return store.File{}, refusal(answer.StatusCode, "the file cannot be fetched")
	}
	f, err := r.e.store.KeepFile(ctx, r.e.o.Files, store.Upload{From: r.counted(s, answer.Body), Label: path.Base(q.URL.Path), Most: mostMedia})
	switch {
	case errors.Is(err, store.ErrFileTooLarge), errors.Is(err, store.ErrFileEmpty):
		err = permanently(err)
	case errors.Is(err, store.ErrBrokenOff):
		err = perhaps(err)
	}
	return f, err
}

// refusal is another service's answer that is no good; 5xx and 429 may pass.
func refusal(status int, what string) error {
	err := fmt.Errorf("%s: it was answered %d", what, status)
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return perhaps(err)
	}
	return permanently(err)
}

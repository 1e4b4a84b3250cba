package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"frontdesk/store"
)

// people are those whom executions are about.
type people interface {
	Account(ctx context.Context, id int64) (store.Account, error)
	Contact(ctx context.Context, id int64) (store.Contact, error)
	FindContact(ctx context.Context, a store.Address) (store.Contact, error)
	ResolveContact(ctx context.Context, phone, lid, name string) (int64, error)
	ChangeContact(ctx context.Context, id int64, attributes map[string]string, tags []string) error
	SetConsent(ctx context.Context, account, contact int64, c store.Consent) error
	ConversationWith(ctx context.Context, account, contact int64) (store.ConversationSummary, error)
	ReplyAfter(ctx context.Context, conversation, seq int64) (store.ChatMessage, error)
	SetState(ctx context.Context, conversation int64, state store.State, by string) error
	AddNoteOnce(ctx context.Context, conversation int64, body, by string, since time.Time) error
	RaiseAlert(ctx context.Context, account int64, kind, says string) error
	Queue(ctx context.Context, p store.Parcel) (o store.Outbound, replayed bool, err error)
	SentMessage(ctx context.Context, account, id int64) (store.Outbound, error)
	File(ctx context.Context, id int64) (store.File, error)
	KeepFile(ctx context.Context, files store.Files, u store.Upload) (store.File, error)
	Secret(ctx context.Context, name string) (string, error)
}

// ByFlow begins the name under which a flow changes the state of a conversation.
const ByFlow = "flow "

// meet has templates see who the execution is about.
func (r *run) meet(ctx context.Context) error {
	known := map[string]any{"id": nil, "name": "", "phone": "", "tags": []any{}, "attributes": map[string]any{}}
	r.values["contact"] = known
	if r.x.ContactID == nil {
		return nil
	}
	c, err := r.e.store.Contact(ctx, *r.x.ContactID)
	if err == nil && c.MergedInto != nil {
		c, err = r.e.store.Contact(ctx, *c.MergedInto)
	}
	if err != nil {
		return err
	}
	known["id"], known["name"] = float64(c.ID), c.Name
	if c.Phone != nil {
		known["phone"] = "+" + *c.Phone
	}
	tags, attributes := []any{}, map[string]any{}
	for _, tag := range c.Tags {
		tags = append(tags, tag)
	}
	for name, value := range c.Attributes {
		attributes[name] = value
	}
	known["tags"], known["attributes"] = tags, attributes
	return nil
}

// conversation is where the execution's account and contact talk, or ErrNotFound.
func (r *run) conversation(ctx context.Context) (int64, error) {
	if r.x.AccountID == nil || r.x.ContactID == nil {
		return 0, store.ErrNotFound
	}
	c, err := r.e.store.ConversationWith(ctx, *r.x.AccountID, *r.x.ContactID)
	return c.ID, err
}

// handoff gives the conversation to people, with a note.
func (r *run) handoff(ctx context.Context, s Step) (outcome, error) {
	note, err := r.fill(s.Note)
	if err != nil {
		return outcome{}, err
	}
	if r.x.Test != "" {
		return outcome{result: map[string]any{"simulated": true, "note": note}}, nil
	}
	id, err := r.conversation(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return outcome{skipped: "there is no conversation to hand over"}, nil
	}
	if err == nil {
		err = r.give(ctx, id, note)
	}
	return outcome{result: map[string]any{"conversation_id": id}}, err
}

// give hands a conversation over. What was done before a crash is done again and changes
// nothing.
func (r *run) give(ctx context.Context, conversation int64, note string) error {
	if note != "" {
		if err := r.e.store.AddNoteOnce(ctx, conversation, note, ByFlow+r.x.Flow, *r.x.StartedAt); err != nil {
			return err
		}
	}
	if err := r.e.store.SetState(ctx, conversation, store.StateHuman, ByFlow+r.x.Flow); err != nil {
		return err
	}
	return r.e.store.RaiseAlert(ctx, *r.x.AccountID, "flow_handoff",
		fmt.Sprintf("The flow %s gave conversation %d to people", r.x.Flow, conversation))
}

// handOver is what on_error asks for: people hear of it wherever there are some.
func (r *run) handOver(ctx context.Context, note string) error {
	if r.x.Test != "" {
		return nil
	}
	id, err := r.conversation(ctx)
	if errors.Is(err, store.ErrNotFound) {
		if r.x.AccountID == nil {
			return nil
		}
		return r.e.store.RaiseAlert(ctx, *r.x.AccountID, "flow_failed", note)
	}
	if err != nil {
		return err
	}
	return r.give(ctx, id, note)
}

// contact changes what is known of the contact.
func (r *run) contact(ctx context.Context, s Step) (outcome, error) {
	attributes := map[string]string{}
	for name, template := range s.Attributes {
		value, err := r.fill(template)
		if err != nil {
			return outcome{}, err
		}
		attributes[name] = value
	}
	result := map[string]any{"attributes": attributes, "tags": s.Tags}
	if r.x.Test != "" {
		result["simulated"] = true
		return outcome{result: result}, nil
	}
	if r.x.ContactID == nil {
		return outcome{}, permanently(errors.New("nobody is known whom this is about; the flow needs a contact"))
	}
	if err := r.e.store.ChangeContact(ctx, *r.x.ContactID, attributes, s.Tags); err != nil {
		return outcome{}, err
	}
	if err := r.consent(ctx, s, result); err != nil {
		return outcome{}, err
	}
	return outcome{result: result}, r.meet(ctx)
}

// consent notes whether the contact wants automated messages.
func (r *run) consent(ctx context.Context, s Step, result map[string]any) error {
	if s.OptIn == nil || r.x.AccountID == nil {
		return nil
	}
	said := store.OptOut
	if *s.OptIn {
		said = store.OptIn
	}
	err := r.e.store.SetConsent(ctx, *r.x.AccountID, *r.x.ContactID, said)
	if errors.Is(err, store.ErrNotFound) {
		result["opt_in"] = "there is no conversation yet"
		return nil
	}
	result["opt_in"] = *s.OptIn
	return err
}

package web

import (
	"context"
	"fmt"
	"time"

	"frontdesk/store"
)

// subscriptions is what the doors read and write of outgoing webhooks. *store.Store is
// the real one.
type subscriptions interface {
	Subscriptions(ctx context.Context) ([]store.Subscription, error)
	Subscription(ctx context.Context, id int64) (store.Subscription, error)
	AddSubscription(ctx context.Context, n store.Subscription, secret string) (store.Subscription, string, error)
	PutSubscription(ctx context.Context, c store.Subscription) (store.Subscription, error)
	SetSubscriptionActive(ctx context.Context, id int64, active bool) error
	RotateSubscriptionSecret(ctx context.Context, id int64, secret string) (string, error)
	ForgetOldSubscriptionSecret(ctx context.Context, id int64) error
	RemoveSubscription(ctx context.Context, id int64) error
	Deliveries(ctx context.Context, subscription int64, status string, p store.Page) ([]store.Delivery, error)
	DeliveryBacklogs(ctx context.Context, subscription int64) ([]store.DeliveryBacklog, error)
	Delivery(ctx context.Context, id int64) (store.Delivery, error)
	ReplayDelivery(ctx context.Context, id int64) error
	ReplayDeliveries(ctx context.Context, subscription int64, since time.Time) (n int, err error)
}

// Subscription is somebody who is told what happens, at an address of their own.
type Subscription struct {
	ID             int64      `json:"id,omitempty" readOnly:"true"`
	AccountID      *int64     `json:"account_id,omitempty" doc:"Missing: all accounts, and what belongs to none"`
	URL            string     `json:"url" maxLength:"2000" example:"https://shop.example/hooks/frontdesk"`
	Events         []string   `json:"events" minItems:"1" maxItems:"50" doc:"Types such as message.received, beginnings such as message.*, or *"`
	Label          string     `json:"label,omitempty" maxLength:"200"`
	Active         *bool      `json:"active,omitempty" doc:"What waits when it is switched off becomes dead letters"`
	Secret         string     `json:"secret,omitempty" doc:"Signs every delivery (Standard Webhooks). Given once, in the answer that makes it"`
	HasOld         bool       `json:"has_old_secret,omitempty" readOnly:"true"`
	FailingSince   *time.Time `json:"failing_since,omitempty" readOnly:"true" doc:"Nothing has arrived since"`
	RestingUntil   *time.Time `json:"resting_until,omitempty" readOnly:"true" doc:"The receiver asked to be left alone until then, the last time it did"`
	DisabledAt     *time.Time `json:"disabled_at,omitempty" readOnly:"true"`
	DisabledReason string     `json:"disabled_reason,omitempty" readOnly:"true"`
	Waiting        int        `json:"waiting" readOnly:"true" doc:"Deliveries that wait"`
	Dead           int        `json:"dead" readOnly:"true" doc:"Deliveries that were given up; they can be replayed for 90 days"`
	CreatedAt      time.Time  `json:"created_at,omitzero" readOnly:"true"`
}

func subscriptionOf(d store.Subscription) Subscription {
	return Subscription{
		ID: d.ID, AccountID: d.AccountID, URL: d.URL, Events: d.Events, Label: d.Label, Active: &d.IsActive, HasOld: d.OldSecret != nil,
		FailingSince: d.FailingSince, RestingUntil: d.RestingUntil, DisabledAt: d.DisabledAt, DisabledReason: d.DisabledReason, CreatedAt: d.CreatedAt,
	}
}

func (v Subscription) stored(id int64) store.Subscription {
	return store.Subscription{ID: id, AccountID: v.AccountID, URL: v.URL, Events: v.Events, Label: v.Label}
}

func (s *Server) listSubscriptions(ctx context.Context, _ *struct{}) (*list[Subscription], error) {
	found, err := s.store.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	backlogs, err := s.store.DeliveryBacklogs(ctx, 0)
	items := make([]Subscription, len(found))
	for i, d := range found {
		items[i] = subscriptionOf(d)
		items[i].missing(backlogs)
	}
	return listOf(items, ""), err
}

// missing adds what the subscription has not got.
func (v *Subscription) missing(all []store.DeliveryBacklog) {
	for _, b := range all {
		if b.SubscriptionID == v.ID {
			v.Waiting, v.Dead = b.Waiting, b.Dead
		}
	}
}

type newSubscription struct{ Body Subscription }

// addSubscription is the only answer, besides a rotation, that holds the secret.
func (s *Server) addSubscription(ctx context.Context, in *newSubscription) (*one[Subscription], error) {
	d, secret, err := s.store.AddSubscription(ctx, in.Body.stored(0), in.Body.Secret)
	if err != nil {
		return nil, err
	}
	out := subscriptionOf(d)
	out.Secret = secret
	return &one[Subscription]{out}, nil
}

func (s *Server) readSubscription(ctx context.Context, in *ByID) (*one[Subscription], error) {
	d, err := s.store.Subscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := subscriptionOf(d)
	backlogs, err := s.store.DeliveryBacklogs(ctx, in.ID)
	out.missing(backlogs)
	return &one[Subscription]{out}, err
}

type changedSubscription struct {
	ByID

	Body Subscription
}

func (s *Server) changeSubscription(ctx context.Context, in *changedSubscription) (*one[Subscription], error) {
	d, err := s.store.PutSubscription(ctx, in.Body.stored(in.ID))
	if err != nil {
		return nil, err
	}
	if wanted := in.Body.Active; wanted != nil && *wanted != d.IsActive {
		if err := s.store.SetSubscriptionActive(ctx, in.ID, *wanted); err != nil {
			return nil, err
		}
	}
	return s.readSubscription(ctx, &in.ByID)
}

func (s *Server) removeSubscription(ctx context.Context, in *ByID) (*struct{}, error) {
	d, err := s.store.Subscription(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "remove", fmt.Sprint("subscription:", in.ID), map[string]any{"label": d.Label}); err != nil {
		return nil, err
	}
	return nil, s.store.RemoveSubscription(ctx, in.ID)
}

// SubscriptionSecret is what signs a subscription's deliveries.
type SubscriptionSecret struct {
	Secret string `json:"secret" doc:"Never shown again"`
}

type rotatedSecret struct {
	ByID

	Body struct {
		Secret string `json:"secret,omitempty" maxLength:"200" doc:"Missing: a new one is made"`
	}
}

func (s *Server) rotateSubscription(ctx context.Context, in *rotatedSecret) (*one[SubscriptionSecret], error) {
	secret, err := s.store.RotateSubscriptionSecret(ctx, in.ID, in.Body.Secret)
	return &one[SubscriptionSecret]{SubscriptionSecret{secret}}, err
}

func (s *Server) forgetSubscriptionSecret(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.store.ForgetOldSubscriptionSecret(ctx, in.ID)
}

// EventDelivery is one event on its way to one subscription.
type EventDelivery struct {
	ID             int64      `json:"id"`
	SubscriptionID int64      `json:"subscription_id"`
	Seq            int64      `json:"seq" doc:"Counts the subscription's deliveries without a gap"`
	Type           string     `json:"type"`
	ExecutionID    *int64     `json:"execution_id,omitempty"`
	ConversationID *int64     `json:"conversation_id,omitempty"`
	At             time.Time  `json:"time" doc:"Of the event"`
	Status         string     `json:"status" enum:"waiting,delivered,dead"`
	Behind         bool       `json:"behind,omitempty" doc:"An earlier one of the same conversation goes first"`
	Tries          int        `json:"tries" doc:"That failed"`
	DueAt          time.Time  `json:"due_at"`
	Answered       int        `json:"answered,omitempty" doc:"The receiver's last status"`
	Failure        string     `json:"failure,omitempty" doc:"Of the last try"`
	Reason         string     `json:"reason,omitempty" enum:"tries,gone,disabled,overflow" doc:"Why it was given up"`
	EndedAt        *time.Time `json:"ended_at,omitempty"`
}

func eventDeliveryOf(d store.Delivery) EventDelivery {
	return EventDelivery{
		ID: d.ID, SubscriptionID: d.SubscriptionID, Seq: d.Seq, Type: d.Type, ExecutionID: d.ExecutionID, ConversationID: d.ConversationID, At: d.At,
		Status: d.Status, Behind: d.Behind, Tries: d.Tries, DueAt: d.DueAt, Answered: d.Answered, Failure: d.Failure, Reason: d.Reason, EndedAt: d.EndedAt,
	}
}

type deliveriesRequest struct {
	ByID
	Page

	Status string `query:"status" enum:"waiting,delivered,dead"`
}

func (s *Server) listDeliveries(ctx context.Context, in *deliveriesRequest) (*list[EventDelivery], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Subscription(ctx, in.ID); err != nil {
		return nil, err
	}
	found, err := s.store.Deliveries(ctx, in.ID, in.Status, store.Page{Before: before, Limit: in.Limit})
	items, next := make([]EventDelivery, len(found)), ""
	for i, d := range found {
		items[i] = eventDeliveryOf(d)
	}
	if len(found) == in.Limit {
		next = fmt.Sprint(found[len(found)-1].ID)
	}
	return listOf(items, next), err
}

// Replayed says how many deliveries go out once more.
type Replayed struct {
	Deliveries int `json:"deliveries"`
}

type replayedSince struct {
	ByID

	Body struct {
		Since time.Time `json:"since" doc:"Everything that happened since, also what had arrived"`
	}
}

func (s *Server) replayDeliveries(ctx context.Context, in *replayedSince) (*one[Replayed], error) {
	n, err := s.store.ReplayDeliveries(ctx, in.ID, in.Body.Since)
	return &one[Replayed]{Replayed{n}}, err
}

func (s *Server) replayDelivery(ctx context.Context, in *ByID) (*one[Replayed], error) {
	return &one[Replayed]{Replayed{1}}, s.store.ReplayDelivery(ctx, in.ID)
}

package web

import (
	"context"
	"net/http"
	"time"

	"frontdesk/store"
)

// Webhook is an address that other systems call to start a flow.
type Webhook struct {
	ID          string    `json:"id,omitempty" readOnly:"true"`
	URL         string    `json:"url,omitempty" readOnly:"true"`
	FlowID      int64     `json:"flow_id" minimum:"1"`
	Label       string    `json:"label,omitempty" maxLength:"100"`
	Auth        string    `json:"auth,omitempty" enum:"none,bearer,basic,standard,github,stripe,hmac" default:"none" doc:"How the caller proves who it is. standard: Standard Webhooks; none: by knowing the address, which nobody guesses"`
	Header      string    `json:"header,omitempty" maxLength:"100" doc:"hmac: where the signature stands"`
	Secret      *string   `json:"secret,omitempty" maxLength:"4000" writeOnly:"true" doc:"Never shown again. basic: user:password. A new one has the old one stay good beside it"`
	HasSecret   bool      `json:"has_secret,omitempty" readOnly:"true"`
	HasOld      bool      `json:"has_old_secret,omitempty" readOnly:"true"`
	SignedQuota *int      `json:"signed_quota,omitempty" minimum:"1" maximum:"100000" doc:"Correctly signed requests in 60 s; they do not count for their address then"`
	CreatedAt   time.Time `json:"created_at,omitzero" readOnly:"true"`
}

func (s *Server) webhookOf(w store.Webhook) Webhook {
	return Webhook{
		ID: w.ID, URL: s.o.PublicURL + "/webhook/" + w.ID, FlowID: w.FlowID, Label: w.Label, Auth: w.Auth, Header: w.Header,
		HasSecret: w.Secret != nil, HasOld: w.OldSecret != nil, SignedQuota: w.Quota, CreatedAt: w.CreatedAt,
	}
}

type webhooksRequest struct {
	Flow int64 `query:"flow" minimum:"0" doc:"Those of this flow"`
}

func (s *Server) listWebhooks(ctx context.Context, in *webhooksRequest) (*list[Webhook], error) {
	found, err := s.store.Webhooks(ctx, in.Flow)
	items := make([]Webhook, len(found))
	for i, w := range found {
		items[i] = s.webhookOf(w)
	}
	return listOf(items, ""), err
}

type byWebhook struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) readWebhook(ctx context.Context, in *byWebhook) (*one[Webhook], error) {
	w, err := s.store.Webhook(ctx, in.ID)
	return &one[Webhook]{s.webhookOf(w)}, err
}

type newWebhook struct{ Body Webhook }

func (s *Server) addWebhook(ctx context.Context, in *newWebhook) (*one[Webhook], error) {
	return s.putWebhook(ctx, store.NewWebhookID(), in.Body)
}

type changedWebhook struct {
	byWebhook

	Body Webhook
}

func (s *Server) changeWebhook(ctx context.Context, in *changedWebhook) (*one[Webhook], error) {
	w, err := s.store.Webhook(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if w.DeletedAt != nil {
		return nil, problem(http.StatusGone, "gone", "This webhook was deleted; make a new one")
	}
	return s.putWebhook(ctx, in.ID, in.Body)
}

func (s *Server) putWebhook(ctx context.Context, id string, w Webhook) (*one[Webhook], error) {
	if w.Auth == "" {
		w.Auth = "none"
	}
	if w.Auth == "hmac" && w.Header == "" {
		return nil, problem(http.StatusUnprocessableEntity, "bad_webhook", "\"header\" is missing: it says where the signature stands, such as X-Signature")
	}
	if _, err := s.store.Flow(ctx, w.FlowID); err != nil {
		return nil, err
	}
	if w.Secret != nil && *w.Secret == "" {
		w.Secret = nil
	}
	put, err := s.store.PutWebhook(ctx, store.Webhook{ID: id, FlowID: w.FlowID, Label: w.Label, Auth: w.Auth, Header: w.Header, Quota: w.SignedQuota}, w.Secret)
	if err != nil {
		return nil, err
	}
	return &one[Webhook]{s.webhookOf(put)}, s.auditWebhook(ctx, "webhook.put", put)
}

func (s *Server) removeWebhook(ctx context.Context, in *byWebhook) (*struct{}, error) {
	return nil, s.endOf(ctx, in.ID, "webhook.remove", s.store.RemoveWebhook)
}

func (s *Server) forgetOldSecret(ctx context.Context, in *byWebhook) (*struct{}, error) {
	return nil, s.endOf(ctx, in.ID, "webhook.forget_old_secret", s.store.ForgetOldSecret)
}

// endOf ends something of a webhook and notes who did it.
func (s *Server) endOf(ctx context.Context, id, action string, end func(context.Context, string) error) error {
	w, err := s.store.Webhook(ctx, id)
	if err == nil {
		err = end(ctx, id)
	}
	if err != nil {
		return err
	}
	return s.auditWebhook(ctx, action, w)
}

// auditWebhook notes a deed under the webhook's flow: its own id may be all that callers
// have to know.
func (s *Server) auditWebhook(ctx context.Context, action string, w store.Webhook) error {
	return s.store.Audit(ctx, asker(ctx), action, flowSubject(w.FlowID), map[string]any{"label": w.Label, "auth": w.Auth})
}

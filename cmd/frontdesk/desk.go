package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"frontdesk/bot/flow"
	"frontdesk/bot/webhook"
	"frontdesk/store"
)

// desk makes executions of what other systems send.
type desk struct {
	store  *store.Store
	files  store.Files
	engine *flow.Engine
}

// Target is what the address of a webhook leads to.
func (k *desk) Target(ctx context.Context, id string) (webhook.Target, error) {
	w, err := k.store.WebhookFlow(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return webhook.Target{}, webhook.ErrUnknown
	}
	if err != nil || w.DeletedAt != nil {
		return webhook.Target{ID: id, Gone: err == nil}, err
	}
	if !w.Active {
		return webhook.Target{}, refusalOf(flow.ErrInactive)
	}
	d, err := k.engine.Version(ctx, w.FlowID, w.Version)
	if err != nil {
		return webhook.Target{}, err
	}
	t := webhook.Target{
		Flow: w.FlowID, Version: w.Version, ID: w.ID, Auth: w.Auth, Header: w.Header, Methods: d.Trigger.Methods, Dedupe: d.Trigger.Dedupe, Sync: d.Trigger.Respond == "sync",
	}
	if w.Quota != nil {
		t.Quota = *w.Quota
	}
	t.Secrets, err = k.store.WebhookSecrets(w.Webhook)
	return t, err
}

// Accept stores a delivery's files and its execution. Files of a delivery that came
// before, or is refused, do not stay.
func (k *desk) Accept(ctx context.Context, d webhook.Delivery) (webhook.Receipt, error) {
	if len(d.Files) > 0 {
		if err := k.engine.CheckInput(ctx, d.Flow, d.Version, d.Body); err != nil {
			return webhook.Receipt{}, refusalOf(err)
		}
	}
	kept, err := k.keep(ctx, d.Files)
	if err != nil {
		return webhook.Receipt{}, refusalOf(errors.Join(err, k.forget(ctx, kept)))
	}
	x, replayed, err := k.engine.Accept(ctx, flow.Start{
		Flow: d.Flow, Version: d.Version, Webhook: d.Webhook, Trigger: triggerOf(d, kept), Test: d.Test, Key: d.Key, Hash: d.Hash,
	})
	if err != nil || replayed {
		if forgotten := k.forget(ctx, kept); err == nil {
			err = forgotten
		}
	}
	if err != nil {
		return webhook.Receipt{}, refusalOf(err)
	}
	r := receiptOf(x)
	r.Replayed = replayed
	return r, nil
}

// keep puts files in their place.
func (k *desk) keep(ctx context.Context, files []webhook.File) (kept []store.File, err error) {
	for _, f := range files {
		one, err := k.store.KeepFile(ctx, k.files, store.Upload{From: f.Open(), Label: f.Label, Most: f.Bytes})
		if err != nil {
			return kept, err
		}
		kept = append(kept, one)
	}
	return kept, nil
}

func (k *desk) forget(ctx context.Context, files []store.File) error {
	var failed error
	for _, f := range files {
		failed = errors.Join(failed, k.store.ForgetFile(ctx, k.files, f))
	}
	return failed
}

// triggerOf is a delivery as templates see it: values as JSON knows them.
func triggerOf(d webhook.Delivery, kept []store.File) map[string]any {
	files := []any{}
	for i, f := range kept {
		files = append(files, map[string]any{
			"id": float64(f.ID), "name": f.Label, "mime": f.Mime, "bytes": float64(f.Bytes), "field": d.Files[i].Field, "sha256": hex.EncodeToString(f.SHA256),
		})
	}
	return map[string]any{
		"type": "webhook", "method": d.Method, "path": d.Path, "query": d.Query, "headers": d.Headers, "body": d.Body, "files": files,
		"at": time.Now().UTC().Format(time.RFC3339),
	}
}

// Await returns when an execution has ended.
func (k *desk) Await(ctx context.Context, id int64) (webhook.Receipt, error) {
	x, err := k.engine.Await(ctx, id)
	if err == nil && !x.Ended() {
		if err = ctx.Err(); err == nil {
			err = context.Canceled // the engine stops
		}
	}
	return receiptOf(x), err
}

func receiptOf(x store.Execution) webhook.Receipt {
	r := webhook.Receipt{Execution: x.ID, Status: x.Status, Position: x.Position, Test: x.Test != "", Ended: x.Ended(), Failure: x.Failure}
	var response struct {
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body"`
	}
	if json.Unmarshal(x.Response, &response) == nil && response.Status != 0 {
		r.Answer = &webhook.Answer{Status: response.Status, Body: response.Body}
	}
	return r
}

// refusalOf says why a delivery is not taken.
func refusalOf(err error) error {
	input, wrong := errors.AsType[*flow.InputError](err)
	switch {
	case wrong:
		return &webhook.Refusal{Status: http.StatusUnprocessableEntity, Code: "bad_input", Detail: "The body is not as the flow wants it", Errors: input.Problems}
	case errors.Is(err, flow.ErrContact):
		return &webhook.Refusal{Status: http.StatusUnprocessableEntity, Code: "no_contact", Detail: err.Error()}
	case errors.Is(err, store.ErrFileEmpty):
		return &webhook.Refusal{Status: http.StatusUnprocessableEntity, Code: "empty_file", Detail: "A file is empty; leave it out"}
	case errors.Is(err, store.ErrNoAccount):
		return &webhook.Refusal{Status: http.StatusUnprocessableEntity, Code: "no_account", Detail: "The account that this flow sends from was removed; put the flow with another one"}
	case errors.Is(err, flow.ErrInactive):
		return &webhook.Refusal{Status: http.StatusServiceUnavailable, Code: "flow_inactive", Detail: "This flow is switched off; nothing was stored", RetryAfter: time.Minute}
	case errors.Is(err, store.ErrDeliveryReused):
		return &webhook.Refusal{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Detail: err.Error()}
	case errors.Is(err, store.ErrQueueFull):
		return &webhook.Refusal{Status: http.StatusServiceUnavailable, Code: "queue_full", Detail: "Too many executions wait for a place; nothing was stored, send it again", RetryAfter: 10 * time.Second}
	}
	return err
}

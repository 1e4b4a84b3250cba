package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"frontdesk/store"
)

// longestPause is how long a step may wait.
const longestPause = 366 * 24 * time.Hour

func encode(value any) (json.RawMessage, error) { return json.Marshal(value) }

// wait lets time pass, or waits for a customer's word. A test waits for nothing.
func (r *run) wait(ctx context.Context, s Step) (outcome, error) {
	if r.x.Test != "" {
		return outcome{result: map[string]any{"simulated": true}}, nil
	}
	if s.Reply > 0 {
		return r.awaitReply(ctx, time.Duration(s.Reply))
	}
	if r.x.Awaits == "time" {
		return outcome{result: map[string]any{"waited_seconds": int(r.sinceFirst().Seconds())}}, nil
	}
	pause, err := r.pause(s)
	if err != nil || pause > 0 {
		return outcome{wait: &store.Await{What: "time", For: pause}}, err
	}
	return outcome{result: map[string]any{"waited_seconds": 0}}, nil
}

// pause is how long a step waits from now.
func (r *run) pause(s Step) (time.Duration, error) {
	if s.Until == "" {
		return min(time.Duration(s.For), longestPause), nil
	}
	text, err := r.fill(s.Until)
	if err != nil {
		return 0, err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, permanently(fmt.Errorf("%q is no time such as 2030-01-31T15:04:05Z", short(text)))
	}
	if pause := at.Sub(r.x.Now); pause <= longestPause {
		return max(0, pause), nil
	}
	return 0, permanently(fmt.Errorf("%s is more than a year ahead", text))
}

// awaitReply waits for the contact's next message, so long and no longer.
func (r *run) awaitReply(ctx context.Context, limit time.Duration) (outcome, error) {
	conversation, err := r.conversation(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return outcome{skipped: "there is no conversation to wait for"}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	r.x.ConversationID = &conversation
	if r.x.AwaitsSeq != nil {
		m, err := r.e.store.ReplyAfter(ctx, conversation, *r.x.AwaitsSeq)
		if err == nil {
			return outcome{result: map[string]any{"replied": true, "text": m.Body, "kind": m.Kind, "wa_id": m.WaID}}, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return outcome{}, err
		}
	}
	left := limit - r.sinceFirst()
	if left <= 0 {
		return outcome{result: map[string]any{"replied": false, "text": ""}}, nil
	}
	return outcome{wait: &store.Await{What: "reply", For: left}}, nil
}

package flow

import (
	"context"
	"errors"
	"time"
)

// Times of steps (engine.md).
const (
	usualTime     = 30 * time.Second
	composeTime   = 90 * time.Second
	requestTime   = 10 * time.Second
	longestStep   = 2 * time.Minute
	writeTime     = 5 * time.Second
	longestPutOff = time.Hour      // between two tries of what an account may not send yet
	mostPutOff    = 24 * time.Hour // in all
	usualAwait    = 5 * time.Minute
)

var errTimedOut = errors.New("it took too long")

// limit is how long one try of a step may take.
func (s Step) limit() time.Duration {
	usual, longest := usualTime, longestStep
	switch s.Type {
	case "ai":
		usual = composeTime
	case "http":
		usual, longest = requestTime, requestTime
	}
	if s.Timeout > 0 && s.Type != "send" {
		return min(time.Duration(s.Timeout), longest)
	}
	return usual
}

// acts says whether a step reaches anything outside. What does not is written down once,
// when it is done.
func (s Step) acts() bool {
	switch s.Type {
	case "text", "respond", "stop":
		return false
	}
	return true
}

// act does what a step says.
func (r *run) act(ctx context.Context, s Step) (outcome, error) {
	switch s.Type {
	case "text":
		return r.text(s)
	case "ai":
		return r.compose(ctx, s)
	case "send":
		return r.send(ctx, s)
	case "http":
		return r.request(ctx, s)
	case "wait":
		return r.wait(ctx, s)
	case "handoff":
		return r.handoff(ctx, s)
	case "contact":
		return r.contact(ctx, s)
	case "respond":
		return r.respond(s)
	}
	return r.halt(s)
}

// fill fills a template; what is missing will be missing next time.
func (r *run) fill(template string) (string, error) {
	t, err := Parse(template)
	if err != nil {
		return "", permanently(err)
	}
	text, err := t.Fill(r.values)
	if err != nil {
		return "", permanently(err)
	}
	return text, nil
}

// fillAll fills the templates inside a JSON value.
func (r *run) fillAll(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case string:
		return r.fillValue(v)
	case []any:
		filled := make([]any, len(v))
		for i, one := range v {
			if filled[i], err = r.fillAll(one); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case map[string]any:
		filled := map[string]any{}
		for name, one := range v {
			if filled[name], err = r.fillAll(one); err != nil {
				return nil, err
			}
		}
		return filled, nil
	}
	return value, nil
}

// fillValue keeps the kind of a value that stands alone: "{{trigger.body.total}}" is a
// number if that is one.
func (r *run) fillValue(template string) (any, error) {
	t, err := Parse(template)
	if err != nil {
		return nil, permanently(err)
	}
	if len(t.parts) == 1 && t.parts[0].path != "" {
		value, err := t.parts[0].fill(r.values)
		if err != nil {
			return nil, permanently(err)
		}
		return value, nil
	}
	return r.fill(template)
}

func (r *run) text(s Step) (outcome, error) {
	text, err := r.fill(s.Text)
	return outcome{result: map[string]any{"text": text}}, err
}

// respond says what whoever called gets.
func (r *run) respond(s Step) (outcome, error) {
	body, err := r.fillAll(s.Body)
	if err != nil {
		return outcome{}, err
	}
	status := s.Status
	if status == 0 {
		status = 200
	}
	response, err := encode(map[string]any{"status": status, "body": body})
	return outcome{result: map[string]any{"status": status, "body": body}, response: response}, err
}

func (r *run) halt(s Step) (outcome, error) {
	reason, err := r.fill(s.Reason)
	return outcome{result: map[string]any{"reason": reason}, stops: true}, err
}

package flow

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"frontdesk/store"
)

// mostReply is how much of another service's answer is read, in bytes.
const mostReply = 1 << 20

// request calls another service, at least once, with a key that stays the same.
func (r *run) request(ctx context.Context, s Step) (outcome, error) {
	q, secret, err := r.httpRequest(ctx, s)
	if err != nil {
		return outcome{}, err
	}
	if r.x.Test != "" {
		return outcome{result: map[string]any{"simulated": true, "method": q.Method, "status": 200, "body": nil}}, nil
	}
	if r.e.o.HTTP == nil {
		return outcome{}, permanently(errors.New("other services cannot be called from here"))
	}
	answer, err := r.e.o.HTTP.Do(q)
	if err != nil {
		return outcome{}, perhaps(errors.New("the service cannot be reached: " + hostless(err)))
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(r.counted(s, answer.Body), mostReply+1))
	switch {
	case err != nil:
		return outcome{}, perhaps(errors.New("the service's answer broke off"))
	case answer.StatusCode >= http.StatusMultipleChoices:
		return outcome{}, refusal(answer.StatusCode, "the service refused")
	case len(said) > mostReply:
		return outcome{}, permanently(errors.New("the service's answer is longer than 1 MiB"))
	}
	o := outcome{result: map[string]any{"status": answer.StatusCode, "body": read(without(said, secret))}}
	if valuesIn(said) > mostValues && json.Valid(said) {
		o.note("warn", "The service's answer has too many values to look into, so it is kept as text", map[string]any{"values": valuesIn(said), "most": mostValues})
	}
	return o, nil
}

// without is an answer in which a service repeats no secret of ours.
func without(said []byte, secret string) []byte {
	if secret == "" {
		return said
	}
	for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
		said = bytes.ReplaceAll(said, []byte(form), []byte("[secret]"))
	}
	return said
}

// mostValues is how many values a body may have to be looked into: each costs far more
// memory than its bytes.
const mostValues = 20_000

// valuesIn is about how many values a JSON text holds.
func valuesIn(text []byte) int {
	return bytes.Count(text, []byte(",")) + bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{"))
}

// read is a body as JSON, or as text.
func read(body []byte) any {
	if valuesIn(body) <= mostValues {
		if value, err := decode(body); err == nil {
			return value
		}
	}
	return string(body)
}

func (r *run) httpRequest(ctx context.Context, s Step) (q *http.Request, secret string, err error) {
	address, err := r.fill(s.URL)
	if err != nil {
		return nil, "", err
	}
	var body io.Reader
	if s.Body != nil {
		filled, err := r.fillAll(s.Body)
		if err != nil {
			return nil, "", err
		}
		text, err := encode(filled)
		if err != nil {
			return nil, "", err
		}
		body = bytes.NewReader(text)
	}
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	q, err = http.NewRequestWithContext(ctx, cmp.Or(s.Method, method), address, body)
	if err != nil || q.URL.Host == "" {
		return nil, "", permanently(errors.New("the address is not like https://shop.example/orders"))
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	q.Header.Set("Idempotency-Key", fmt.Sprintf("flow-%d-%s", r.x.ID, s.ID))
	secret, err = r.setHeaders(ctx, q, s)
	return q, secret, err
}

// setHeaders fills the headers in; {{secret}} in one stands for the step's secret,
// which no template sees.
func (r *run) setHeaders(ctx context.Context, q *http.Request, s Step) (secret string, err error) {
	if s.Secret != "" {
		secret, err = r.e.store.Secret(ctx, s.Secret)
		if errors.Is(err, store.ErrNotFound) {
			return "", permanently(fmt.Errorf("there is no secret %q", s.Secret))
		}
		if err != nil {
			return "", err
		}
	}
	for name, template := range s.Headers {
		before, after, holds := strings.Cut(template, secretMark)
		value, err := r.fill(before)
		if err != nil {
			return "", err
		}
		if holds {
			rest, err := r.fill(after)
			if err != nil {
				return "", err
			}
			value += secret + rest
		}
		q.Header.Set(name, value)
	}
	return secret, nil
}

// secretMark is where a header holds the secret.
const secretMark = "{{secret}}"

// hostless is what went wrong with a call, without the address: it may hold a key.
func hostless(err error) string {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"frontdesk/providers"
	"frontdesk/store"
)

// mostReply is how much of a service's reply is read, in bytes.
const mostReply = 64 << 10

// errNoService says that this process has no way to services.
var errNoService = errors.New("services cannot be called from here")

// tools are what the account's models may have done: the built-in ones, and calls to
// services that admins defined.
func (t *turn) tools(ctx context.Context, now store.Turn) ([]tool, error) {
	start, some, err := t.startTool(ctx)
	if err != nil || !some && !now.HasTools {
		return builtIn, err
	}
	all := append([]tool(nil), builtIn...)
	if some {
		all = append(all, start)
	}
	if !now.HasTools {
		return all, nil
	}
	defined, err := t.p.store.Tools(ctx, t.account)
	if err != nil {
		return nil, err
	}
	for _, d := range defined {
		if made, err := serviceTool(d); err == nil && d.IsActive {
			all = append(all, made)
		}
	}
	return all, nil
}

// CheckTool says what is wrong with a tool that an admin defines.
func CheckTool(d store.Tool) error {
	if slices.Contains(reserved, d.Name) {
		return fmt.Errorf("%q is a tool that every account has; choose another name", d.Name)
	}
	if u, err := url.Parse(d.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("the address is not like https://shop.example/stock")
	}
	_, err := serviceTool(d)
	return err
}

func serviceTool(d store.Tool) (tool, error) {
	check, err := providers.Checker(d.Parameters)
	if err != nil {
		return tool{}, fmt.Errorf("the parameters are no JSON Schema: %w", err)
	}
	return tool{
		Tool: providers.Tool{Name: d.Name, Description: d.Description, Parameters: d.Parameters}, check: check, acts: d.Method != http.MethodGet,
		run: func(ctx context.Context, t *turn, now store.Turn, c call) (string, error) {
			said, err := t.callService(ctx, d, now, c)
			if err != nil {
				return "", &brokenError{err}
			}
			return said, nil
		},
	}, nil
}

// callService calls what an admin defined. Who writes is told by us: the contact's id
// and address stand beside the model's arguments, which cannot say otherwise.
func (t *turn) callService(ctx context.Context, d store.Tool, now store.Turn, c call) (string, error) {
	if t.p.http == nil {
		return "", errNoService
	}
	q, err := t.serviceRequest(ctx, d, now, c)
	if err != nil {
		return "", err
	}
	r, err := t.p.http.Do(q)
	if err != nil {
		return "", fmt.Errorf("the service cannot be reached: %w", hostless(err))
	}
	defer r.Body.Close()
	said, err := io.ReadAll(io.LimitReader(r.Body, mostReply))
	if err != nil {
		return "", err
	}
	if r.StatusCode >= http.StatusMultipleChoices {
		return "", fmt.Errorf("the service answered %d", r.StatusCode)
	}
	return string(bytes.ToValidUTF8(said, nil)), nil
}

func (t *turn) serviceRequest(ctx context.Context, d store.Tool, now store.Turn, c call) (*http.Request, error) {
	address, body := d.URL, io.Reader(nil)
	if d.Method == http.MethodGet || d.Method == http.MethodDelete {
		address = withQuery(d.URL, c.Arguments)
	} else {
		body = strings.NewReader(c.Arguments)
	}
	q, err := http.NewRequestWithContext(ctx, d.Method, address, body)
	if err != nil {
		return nil, err
	}
	secret, err := t.p.store.OpenSecret(d)
	if err != nil {
		return nil, err
	}
	for name, value := range d.Headers {
		q.Header.Set(name, strings.ReplaceAll(value, "{{secret}}", secret))
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	q.Header.Set("Idempotency-Key", c.key)
	q.Header.Set("Frontdesk-Contact", fmt.Sprint(now.ContactID))
	q.Header.Set("Frontdesk-Chat", now.Chat)
	q.Header.Set("Frontdesk-Account", fmt.Sprint(t.account))
	return q, nil
}

// withQuery puts a call's arguments into an address.
func withQuery(address, arguments string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	var all map[string]any
	_ = json.Unmarshal([]byte(arguments), &all)
	values := u.Query()
	for name, value := range all {
		values.Set(name, fmt.Sprint(value))
	}
	u.RawQuery = values.Encode()
	return u.String()
}

// hostless is an error without the address, which may hold a secret.
func hostless(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

package webhook

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// secretWords are in the names of headers and of query parameters that hold secrets:
// these are of no use to a flow, and of too much to whoever reads its records.
var secretWords = []string{"token", "secret", "key", "auth", "signature", "password", "cookie", "session", "credential"}

// withoutHarmless takes words out of a name that only look like one of secretWords.
var withoutHarmless = strings.NewReplacer("idempotency-key", "", "keyword", "", "authoriz", "auth", "author", "")

// isSecret says by its name that a header or query parameter is not to be kept.
func isSecret(name string) bool {
	name = withoutHarmless.Replace(strings.ToLower(clean(name)))
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

const mostKey = 200 // bytes of the name of a delivery; longer ones are hashed

// delivery is what the desk gets of a request.
func (v *visit) delivery(c content) Delivery {
	query := v.query()
	d := Delivery{
		Webhook: v.id, Flow: v.target.Flow, Version: v.target.Version, Method: v.r.Method, Path: v.path, Query: fields(query), Headers: headers(v.r.Header, v.target.Header),
		Body: c.value, Files: c.files, Test: v.test,
	}
	if v.test != "" {
		return d // every test is a new one
	}
	d.Key = v.key(d)
	d.Hash = digestOf([]byte(d.Method), []byte(d.Path), []byte(query.Encode()), c.digest)
	if d.Key != "" && d.Key == v.fromStripe(d) {
		d.Hash = digestOf([]byte(d.Key)) // it sends an event again with another pending_webhooks
	}
	return d
}

// query is what the address says behind its ?, without secrets and what is meant for us.
func (v *visit) query() url.Values {
	all := v.r.URL.Query()
	if v.test != "" {
		all.Del("test")
	}
	maps.DeleteFunc(all, func(name string, _ []string) bool { return isSecret(name) })
	return all
}

// headers are those of a request without secrets; own is one more of them.
func headers(h http.Header, own string) map[string]any {
	all := make(map[string]any, len(h))
	for name, values := range h {
		if !isSecret(name) && !strings.EqualFold(name, own) {
			all[clean(strings.ToLower(name))] = clean(strings.Join(values, ", "))
		}
	}
	return all
}

// key is what its sender calls a delivery, so that it counts once however often it comes.
func (v *visit) key(d Delivery) string {
	for _, name := range []string{
		v.fromPath(d), v.r.Header.Get("Webhook-Id"), v.r.Header.Get("Idempotency-Key"), v.r.Header.Get("X-GitHub-Delivery"), v.fromStripe(d),
	} {
		if name = clean(name); len(name) > mostKey {
			return "sha256:" + hex.EncodeToString(digestOf([]byte(name)))
		}
		if name != "" {
			return name
		}
	}
	return ""
}

// fromPath is what stands at the path that the webhook names.
func (v *visit) fromPath(d Delivery) string {
	if v.target.Dedupe == "" {
		return ""
	}
	path := strings.TrimPrefix(v.target.Dedupe, "trigger.")
	return word(find(map[string]any{"method": d.Method, "path": d.Path, "query": d.Query, "headers": d.Headers, "body": d.Body}, path))
}

// fromStripe is the id of Stripe's event.
func (v *visit) fromStripe(d Delivery) string {
	if v.target.Auth != AuthStripe {
		return ""
	}
	return word(find(d.Body, "id"))
}

// find is the value at a path of JSON values, where numbers are places in lists; nil:
// there is none.
func find(at any, path string) any {
	for segment := range strings.SplitSeq(path, ".") {
		switch now := at.(type) {
		case map[string]any:
			at = now[segment]
		case []any:
			i, err := strconv.Atoi(segment)
			if err != nil || i < 0 || i >= len(now) {
				return nil
			}
			at = now[i]
		default:
			return nil
		}
	}
	return at
}

// word is a value as a name; a number is its own digits.
func word(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "" // values come from JSON
	}
	return string(text)
}

package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// widest is how long a line of JSON gets before its value is written on several.
const widest = 88

// keyOrder is how people read a flow: what it is, what starts it, what it does. Postgres
// keeps keys in an order of its own.
var keyOrder = []string{
	"name", "description", "account", "id", "type", "event", "methods", "respond", "dedupe", "input", "trigger", "contact", "steps",
	"all", "any", "not", "value", "is", "in", "contains", "greater", "less", "exists", "required", "properties", "text", "prompt", "output", "fallback",
	"media", "location", "latitude", "longitude", "wait_for", "method", "url", "path", "query", "headers", "secret", "status", "body", "for", "until",
	"reply", "note", "reason", "tags", "attributes", "opt_in", "times", "wait", "when", "retry", "on_error", "timeout",
}

// pretty is JSON for people: short values stand on one line. What is no JSON stays as it
// is.
func pretty(text json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return string(text)
	}
	return arranged(value, "")
}

func arranged(value any, indent string) string {
	line, inner := oneLine(value), indent+"  "
	if len(indent)+len(line) <= widest {
		return line
	}
	var lines []string
	switch v := value.(type) {
	case map[string]any:
		for _, key := range keysOf(v) {
			lines = append(lines, inner+plainJSON(key)+": "+arranged(v[key], inner))
		}
		return "{\n" + strings.Join(lines, ",\n") + "\n" + indent + "}"
	case []any:
		for _, one := range v {
			lines = append(lines, inner+arranged(one, inner))
		}
		return "[\n" + strings.Join(lines, ",\n") + "\n" + indent + "]"
	}
	return line
}

func oneLine(value any) string {
	var all []string
	switch v := value.(type) {
	case map[string]any:
		for _, key := range keysOf(v) {
			all = append(all, plainJSON(key)+": "+oneLine(v[key]))
		}
		return "{" + strings.Join(all, ", ") + "}"
	case []any:
		for _, one := range v {
			all = append(all, oneLine(one))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return plainJSON(value)
}

// keysOf are the keys of an object, the known ones first.
func keysOf(object map[string]any) []string {
	rank := func(key string) int {
		if i := slices.Index(keyOrder, key); i >= 0 {
			return i
		}
		return len(keyOrder)
	}
	return slices.SortedFunc(maps.Keys(object), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// plainJSON is a word or number as JSON, with < and & as they are: pages escape them.
func plainJSON(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "null" // values come from JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

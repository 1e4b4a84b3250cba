package web

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"frontdesk/bot/flow"
)

// asksFor finds what templates and conditions of a definition want from its trigger.
var asksFor = regexp.MustCompile(`\btrigger((?:\.[\w-]+)+)`)

// sampleInput is something to try a flow with: all that its text asks for. Whoever tries
// it puts better words in.
func sampleInput(d flow.Definition, definition json.RawMessage) string {
	var input any
	for _, found := range asksFor.FindAllSubmatch(definition, -1) {
		path := strings.Split(string(found[1]), ".")[1:]
		if inBody(d) {
			if path[0] != "body" || len(path) == 1 {
				continue
			}
			path = path[1:]
		}
		input = placed(input, path, sampleValue(d, string(found[0]), path[len(path)-1]))
	}
	for name := range requiredInput(d) {
		if fields, is := input.(map[string]any); !is || fields[name] == nil {
			input = placed(input, []string{name}, sampleValue(d, "trigger.body."+name, name))
		}
	}
	if input == nil {
		input = map[string]any{}
	}
	return arranged(input, "")
}

// inBody says whether what a flow is tried with stands in trigger.body, and not in the
// trigger itself.
func inBody(d flow.Definition) bool { return d.Trigger.Type == "webhook" || d.Trigger.Type == "call" }

// placed puts a value where a path leads, unless something is there already.
func placed(at any, path []string, value any) any {
	if len(path) == 0 {
		if at != nil {
			return at
		}
		return value
	}
	if _, err := strconv.Atoi(path[0]); err == nil {
		list, _ := at.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		list[0] = placed(list[0], path[1:], value)
		return list
	}
	fields, is := at.(map[string]any)
	if !is {
		fields = map[string]any{}
	}
	fields[path[0]] = placed(fields[path[0]], path[1:], value)
	return fields
}

// sampleValue is one that the flow's own conditions and schema accept, as far as that is
// easily told.
func sampleValue(d flow.Definition, path, name string) any {
	if value, found := wantedBy(d.Trigger.When, path); found {
		return value
	}
	field := requiredInput(d)[name]
	switch {
	case len(field.Enum) > 0:
		return field.Enum[0]
	case field.Type == "number", field.Type == "integer":
		return 1
	case field.Type == "boolean":
		return true
	case strings.Contains(name, "phone"):
		return "+12025550123"
	case name == "name":
		return "Ana"
	case name == "text":
		return "Hello"
	}
	return "…"
}

// wantedBy is a value at the path for which a condition holds.
func wantedBy(c *flow.Condition, path string) (any, bool) {
	switch {
	case c == nil:
		return nil, false
	case c.Value == path && c.Is != nil:
		return *c.Is, true
	case c.Value == path && len(c.In) > 0:
		return c.In[0], true
	case c.Value == path && c.Contains != nil:
		return *c.Contains, true
	}
	for _, inner := range slices.Concat(c.All, c.Any) {
		if value, found := wantedBy(&inner, path); found {
			return value, true
		}
	}
	return nil, false
}

// inputField is what a schema says of a field, as far as samples look at it.
type inputField struct {
	Type any   `json:"type"`
	Enum []any `json:"enum"`
}

// requiredInput are the fields that the schema of the input wants.
func requiredInput(d flow.Definition) map[string]inputField {
	var schema struct {
		Required   []string              `json:"required"`
		Properties map[string]inputField `json:"properties"`
	}
	if json.Unmarshal(d.Trigger.Input, &schema) != nil {
		return nil // true, or nothing
	}
	fields := map[string]inputField{}
	for _, name := range schema.Required {
		fields[name] = schema.Properties[name]
	}
	return fields
}

package flow_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"frontdesk/bot/flow"
)

const orderUpdate = `{
  "name": "order_update", "account": 1,
  "trigger": {"type": "webhook", "methods": ["POST"], "dedupe": "trigger.body.id", "when": {"value": "trigger.body.status", "in": ["sent", "ready"]},
    "input": {"type": "object", "required": ["phone", "status"]}},
  "contact": "{{trigger.body.phone}}",
  "steps": [
    {"id": "words", "type": "text", "text": "Hello {{trigger.body.name | default: \"\" | trim}}, your order {{trigger.body.id}} is {{trigger.body.status}}."},
    {"id": "told", "type": "send", "text": "{{steps.words.text}}", "wait_for": "sent", "retry": {"times": 3, "wait": "5s"}, "on_error": "handoff"},
    {"id": "later", "type": "wait", "for": "1h30m", "when": {"all": [{"value": "steps.told.status", "is": "sent"}, {"not": {"value": "trigger.body.total", "less": 10}}]}},
    {"id": "reply", "type": "respond", "status": 200, "body": {"message": "{{steps.told.id}}", "seen": [true, "{{trigger.body.id}}"]}}
  ]}`

func TestGoodDefinitionIsRead(t *testing.T) {
	t.Parallel()
	d, err := flow.Check([]byte(orderUpdate))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "order_update" || len(d.Steps) != 4 || d.Steps[1].Retry.Times != 3 || d.Steps[2].For != flow.Duration(90*60e9) || d.Steps[2].When.All[1].Not.Less == nil {
		t.Errorf("read %+v", d)
	}
	again, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Check(again); err != nil {
		t.Errorf("what was read cannot be read again: %v in %s", err, again)
	}
}

func TestWhatIsWrongIsSaidWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, pointer, says string }{
		{`"name": "order_update"`, `"name": "Order Update"`, "/name", "pattern"},
		{`"methods": ["POST"]`, `"methods": ["HEAD"]`, "/trigger/methods/0", "one of"},
		{`"for": "1h30m"`, `"for": "soon"`, "/steps/2/for", "pattern"},
		{`"for": "1h30m"`, `"for": "1h", "until": "x"`, "/steps/2", "oneOf"},
		{`"id": "later"`, `"id": "words"`, "/steps/2/id", "another step"},
		{`"type": "respond"`, `"type": "loop"`, "/steps/3/type", "one of"},
		{`{{steps.words.text}}`, `{{steps.later.text}}`, "/steps/1/text", `no step before this one has the id "later"`},
		{`{{steps.words.text}}`, `{{vars.x}}`, "/steps/1/text", "begins with none of"},
		{`{{steps.told.id}}`, `{{steps.told.id`, "/steps/3/body/message", "not closed"},
		{`"{{trigger.body.id}}"]`, `"{{trigger.body.id | shout}}"]`, "/steps/3/body/seen/1", "no filter"},
		{`"is": "sent"`, `"is": "sent", "less": 3`, "/steps/2/when", "a condition is"},
		{`"account": 1,`, ``, "/account", "which account sends"},
		{`{"type": "object", "required": ["phone", "status"]}`, `{"type": "objekt"}`, "/trigger/input", "no JSON Schema"},
		{`"text": "{{steps.words.text}}", `, ``, "/steps/1", "missing property 'media'"},
		{`"wait_for": "sent"`, `"prompt": "x"`, "/steps/1", "additional"},
		{`"steps": [`, `"steps": `, "", "no JSON"},
	} {
		text := strings.Replace(orderUpdate, c.from, c.to, 1)
		if text == orderUpdate {
			t.Fatalf("%q is not there", c.from)
		}
		_, err := flow.Check([]byte(text))
		var problems flow.DefinitionErrors
		if !errors.As(err, &problems) {
			t.Errorf("%s was taken: %v", c.to, err)
			continue
		}
		fits := false
		for _, p := range problems {
			fits = fits || (p.Pointer == c.pointer && strings.Contains(strings.ToLower(p.Says), strings.ToLower(c.says)))
		}
		if !fits {
			t.Errorf("%s: %+v, want %s at %s", c.to, problems, c.says, c.pointer)
		}
	}
}

var values = map[string]any{"trigger": map[string]any{"body": map[string]any{
	"name": " Ana ", "total": 12.5, "paid": true, "note": nil, "items": []any{map[string]any{"name": "tea"}, map[string]any{"name": "cake"}}, "tags": []any{"a", "b"},
	"phone": "+1 (202) 555-0100",
}}}

func TestTemplateIsFilled(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"no value": "no value",
		"Hi {{ trigger.body.name | trim | upper }}!":                                   "Hi ANA!",
		"{{trigger.body.items.1.name}}":                                                "cake",
		"{{trigger.body.total | number: 2}}":                                           "12.50",
		"{{trigger.body.total}} {{trigger.body.paid}}":                                 "12.5 true",
		`{{trigger.body.tags | join: " | "}}`:                                          "a | b",
		`{{trigger.body.gone | default: "no: \"x\""}}`:                                 `no: "x"`,
		`{{trigger.body.note | default: "empty"}}`:                                     "empty",
		"{{trigger.body.phone | digits}}":                                              "12025550100",
		"{{trigger.body.items | first | json}}":                                        `{"name":"tea"}`,
		"{{trigger.body.items | length}}":                                              "2",
		"{{trigger.body.name | trim | cut: 2}}":                                        "An",
		"{{trigger.body.name | trim | url}}{{trigger.body.items | last | json | url}}": `Ana%7B%22name%22%3A%22cake%22%7D`,
	} {
		parsed, err := flow.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := parsed.Fill(values); err != nil || got != want {
			t.Errorf("%s gave %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestTemplateThatCannotBeFilledSaysWhy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{trigger.body.gone}}":                 "there is no trigger.body.gone",
		"{{trigger.body.items.2.name | upper}}": "there is no trigger.body.items.2.name",
		"{{trigger.body.name | number: 2}}":     "is no number",
		"{{trigger.body.name | join: x}}":       "it is no list",
	} {
		parsed, err := flow.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Fill(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	long, err := flow.Parse(strings.Repeat("{{trigger.body.name}}", 20_000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := long.Fill(values); err == nil {
		t.Error("a text without end was filled")
	}
}

func TestConditionsDecide(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"value": "trigger.body.paid", "is": true}`:                                      true,
		`{"value": "trigger.body.total", "is": 12.5}`:                                     true,
		`{"value": "trigger.body.total", "greater": 12}`:                                  true,
		`{"value": "trigger.body.total", "less": 12.5}`:                                   false,
		`{"value": "trigger.body.name", "contains": "ANA"}`:                               true,
		`{"value": "trigger.body.tags", "contains": "b"}`:                                 true,
		`{"value": "trigger.body.name", "in": ["Ana"]}`:                                   false,
		`{"value": "trigger.body.gone", "exists": false}`:                                 true,
		`{"value": "trigger.body.note", "exists": true}`:                                  false,
		`{"value": "trigger.body.note", "is": null}`:                                      true,
		`{"value": "trigger.body.gone", "contains": "x"}`:                                 false,
		`{"not": {"value": "trigger.body.paid", "is": true}}`:                             false,
		`{"any": [{"value": "a", "exists": true}, {"value": "trigger", "exists": true}]}`: true,
		`{"all": [{"value": "a", "exists": true}, {"value": "trigger", "exists": true}]}`: false,
		`{"all": []}`: true,
		`{"any": []}`: false,
	} {
		var c flow.Condition
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if got := c.Holds(values); got != want {
			t.Errorf("%s is %t", text, got)
		}
	}
}

// read has numbers as a trigger from Postgres has them.
func read(t *testing.T, text string) (value map[string]any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTemplateKeepsTheDigitsOfNumbers(t *testing.T) {
	t.Parallel()
	values := read(t, `{"id": 9007199254740993, "total": 12.50, "half": 0.125, "round": 2.675, "debt": -7, "much": 1e21, "little": 1e-7, "list": [9007199254740993, 1.0],
		"written": "010.5", "long": 1`+strings.Repeat("0", 200)+`}`)
	for text, want := range map[string]string{
		"{{id}} {{total}} {{debt}}":                          "9007199254740993 12.50 -7",
		"{{id | number: 0}}":                                 "9007199254740993",
		"{{id | number: 2}}":                                 "9007199254740993.00",
		"{{half | number: 2}}":                               "0.13",
		"{{round | number: 2}}":                              "2.68",
		"{{written | number: 1}}":                            "10.5",
		"{{debt | number: 1}}":                               "-7.0",
		"{{much}} {{little}}":                                "1000000000000000000000 0.0000001",
		"{{much | number: 1}}":                               "1000000000000000000000.0",
		"{{id | length}} {{list | length}}":                  "16 2",
		`{{list | join: ", "}}`:                              "9007199254740993, 1.0",
		"{{list}} {{list | first}}":                          "[9007199254740993,1.0] 9007199254740993",
		"{{list | json}}":                                    "[9007199254740993,1.0]",
		"{{id | cut: 4}} {{id | digits}}":                    "9007 9007199254740993",
		"{{id | upper | url}}":                               "9007199254740993",
		`{{gone | default: "9007199254740993" | number: 0}}`: "9007199254740993",
	} {
		parsed, err := flow.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := parsed.Fill(values); err != nil || got != want {
			t.Errorf("%s gave %q, %v; want %q", text, got, err, want)
		}
	}
	for _, no := range []string{"NaN", "Inf", "1/3", "1e400", "0x", "", "ten"} {
		parsed, _ := flow.Parse("{{x | number: 2}}")
		if got, err := parsed.Fill(map[string]any{"x": no}); err == nil {
			t.Errorf("%q became the number %s", no, got)
		}
	}
}

func TestConditionsCompareNumbersByValue(t *testing.T) {
	t.Parallel()
	text := `{"id": 9007199254740993, "one": 1.0, "tenth": 0.1, "list": [1, {"id": 9007199254740993}], "words": ["1"], "much": 1e3, "word": "1"}`
	exact := read(t, text)
	for text, want := range map[string]bool{
		`{"value": "id", "is": 9007199254740993}`:                     true,
		`{"value": "id", "is": 9007199254740992}`:                     false,
		`{"value": "id", "in": [9007199254740992, 9007199254740994]}`: false,
		`{"value": "id", "in": ["x", 9007199254740993]}`:              true,
		`{"value": "id", "greater": 9007199254740992}`:                true,
		`{"value": "id", "greater": 9007199254740993}`:                false,
		`{"value": "id", "less": 9007199254740994}`:                   true,
		`{"value": "id", "less": 9007199254740993}`:                   false,
		`{"value": "id", "contains": "740993"}`:                       true,
		`{"value": "one", "is": 1}`:                                   true,
		`{"value": "one", "in": [1e0]}`:                               true,
		`{"value": "one", "is": "1"}`:                                 false,
		`{"value": "word", "is": 1}`:                                  false,
		`{"value": "word", "greater": 0}`:                             false,
		`{"value": "word", "less": 2}`:                                false,
		`{"value": "gone", "less": 2}`:                                false,
		`{"value": "tenth", "is": 0.10}`:                              true,
		`{"value": "much", "is": 1000}`:                               true,
		`{"value": "list", "is": [1.0, {"id": 9007199254740993}]}`:    true,
		`{"value": "list", "is": [1, {"id": 9007199254740992}]}`:      false,
		`{"value": "list", "is": [1]}`:                                false,
		`{"value": "list.1", "in": [{"id": 9007199254740993.0}]}`:     true,
		`{"value": "list", "contains": "1"}`:                          false,
		`{"value": "words", "contains": "1"}`:                         true,
		`{"not": {"any": [{"value": "id", "is": 9007199254740992}]}}`: true,
	} {
		if got := condition(t, text).Holds(exact); got != want {
			t.Errorf("%s is %t", text, got)
		}
	}
	floats := map[string]any{"one": 1.0, "list": []any{1.0, 2.5}}
	for text, want := range map[string]bool{
		`{"value": "one", "is": 1}`:          true,
		`{"value": "one", "in": [2, 1.0]}`:   true,
		`{"value": "list", "is": [1, 2.50]}`: true,
		`{"value": "one", "less": 1.01}`:     true,
		`{"value": "one", "greater": 1}`:     false,
	} {
		if got := condition(t, text).Holds(floats); got != want {
			t.Errorf("with floats %s is %t", text, got)
		}
	}
}

func TestConditionKeepsItsNumbers(t *testing.T) {
	t.Parallel()
	const text = `{"any":[{"value":"id","is":9007199254740993},{"value":"id","in":[9007199254740993]},{"value":"id","greater":9007199254740993}]}`
	again, err := json.Marshal(condition(t, text))
	if err != nil || string(again) != text {
		t.Errorf("%s became %s, %v", text, again, err)
	}
	for _, no := range []string{"1e400", "-1e400"} {
		var c flow.Condition
		if json.Unmarshal([]byte(`{"value": "id", "less": `+no+`}`), &c) == nil || json.Unmarshal([]byte(`{"value": "id", "is": [`+no+`]}`), &c) == nil {
			t.Errorf("%s was taken", no)
		}
	}
}

func condition(t *testing.T, text string) (c *flow.Condition) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func FuzzDefinition(f *testing.F) {
	f.Add([]byte(orderUpdate))
	f.Add([]byte(`{"name": "x1", "trigger": {"type": "message", "when": {"all": [{"not": {"value": "trigger.text", "contains": "a"}}]}}, "steps": [{"id": "a", "type": "stop"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := flow.Check(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := flow.Check(again); err != nil {
			t.Fatalf("%s was taken, %s is not: %v", text, again, err)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{`{{trigger.body.name | default: "a|b" | upper}}`, "{{trigger.body.items.0.name}} {{", `{{trigger.body.tags | join: "\""}}`, "{{trigger.body.total | number: 3}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := flow.Parse(text)
		if err != nil {
			return
		}
		filled, err := parsed.Fill(values)
		if err == nil && len(parsed.Paths()) == 0 && filled != text {
			t.Fatalf("%q became %q", text, filled)
		}
		if len(filled) > 64<<10 {
			t.Fatalf("it grew to %d bytes", len(filled))
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add([]byte(`{"any": [{"value": "trigger.body.total", "greater": 3}, {"not": {"value": "a", "is": null}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c flow.Condition
		if json.Unmarshal(text, &c) != nil {
			return
		}
		not := flow.Condition{Not: &c}
		if c.Holds(values) == not.Holds(values) {
			t.Fatalf("%s is neither true nor false", text)
		}
	})
}

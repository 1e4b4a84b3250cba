package flow

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed schema.json
var schemaText []byte

// MostDefinition is how long a definition may be, in bytes.
const MostDefinition = 256 << 10

var schema = sync.OnceValue(func() *jsonschema.Schema {
	s, err := compile(schemaText)
	if err != nil {
		panic(err) // it is our own
	}
	return s
})

// compile reads a JSON Schema whose references lead nowhere.
func compile(text []byte) (*jsonschema.Schema, error) {
	read, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("flow.json", read); err != nil {
		return nil, err
	}
	return c.Compile("flow.json")
}

// Problem is one thing that is wrong with a definition, and where.
type Problem struct {
	Pointer string // JSON pointer (RFC 6901)
	Says    string
}

// DefinitionErrors refuse a definition.
type DefinitionErrors []Problem

func (p DefinitionErrors) Error() string {
	says := make([]string, len(p))
	for i, one := range p {
		says[i] = strings.TrimSpace(one.Pointer + " " + one.Says)
	}
	return strings.Join(says, "; ")
}

// Check reads a definition. What is wrong with it are DefinitionErrors, each with a pointer.
func Check(text []byte) (Definition, error) {
	var d Definition
	if len(text) > MostDefinition {
		return d, DefinitionErrors{{Says: fmt.Sprintf("a flow has at most %d KiB", MostDefinition>>10)}}
	}
	read, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return d, DefinitionErrors{{Says: "it is no JSON: " + err.Error()}}
	}
	if err := schema().Validate(read); err != nil {
		return d, problemsOf(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, DefinitionErrors{{Says: err.Error()}}
	}
	c := checker{steps: map[string]bool{}}
	c.definition(d)
	if len(c.found) > 0 {
		return d, c.found
	}
	return d, nil
}

// problemsOf are the innermost of what the schema finds wrong.
func problemsOf(err error) DefinitionErrors {
	var whole *jsonschema.ValidationError
	if !errors.As(err, &whole) {
		return DefinitionErrors{{Says: err.Error()}}
	}
	var all DefinitionErrors
	english := message.NewPrinter(language.English)
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		for _, cause := range e.Causes {
			walk(cause)
		}
		if len(e.Causes) == 0 {
			all = append(all, Problem{pointer(e.InstanceLocation...), e.ErrorKind.LocalizedString(english)})
		}
	}
	walk(whole)
	return all
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(path ...string) string {
	var b strings.Builder
	for _, segment := range path {
		b.WriteString("/" + escape.Replace(segment))
	}
	return b.String()
}

// checker finds what a schema cannot say.
type checker struct {
	found DefinitionErrors
	steps map[string]bool // that come before
}

func (c *checker) add(says string, path ...string) {
	c.found = append(c.found, Problem{pointer(path...), says})
}

func (c *checker) definition(d Definition) {
	c.schema(d.Trigger.Input, "trigger", "input")
	c.condition(d.Trigger.When, "trigger", "when")
	c.address(d)
	if d.Trigger.Dedupe != "" {
		c.path(d.Trigger.Dedupe, "trigger", "dedupe")
	}
	for i, s := range d.Steps {
		at := []string{"steps", strconv.Itoa(i)}
		if c.steps[s.ID] {
			c.add("another step has this id", append(at, "id")...)
		}
		c.step(s, at)
		c.steps[s.ID] = true
	}
}

// address says what is missing to send: who does, and to whom.
func (c *checker) address(d Definition) {
	c.template(d.Contact, "contact")
	if strings.Contains(d.Contact, "contact.") || strings.Contains(d.Contact, "steps.") {
		c.add("whom it is about must be told by the trigger", "contact")
	}
	sends := slices.ContainsFunc(d.Steps, func(s Step) bool { return s.Type == "send" })
	if !sends || d.Trigger.Type == "message" || d.Trigger.Type == "call" {
		return
	}
	if d.Account == 0 && d.Trigger.Type == "webhook" {
		c.add("say which account sends", "account")
	}
	if d.Contact == "" && d.Trigger.Type == "webhook" {
		c.add(`say to whom it sends, as in "{{trigger.body.phone}}"`, "contact")
	}
}

func (c *checker) step(s Step, at []string) {
	under := func(names ...string) []string { return append(slices.Clone(at), names...) }
	c.condition(s.When, under("when")...)
	c.schema(s.Output, under("output")...)
	for name, text := range map[string]string{
		"text": s.Text, "prompt": s.Prompt, "fallback": s.Fallback, "media": s.Media, "url": s.URL, "until": s.Until, "note": s.Note, "reason": s.Reason,
	} {
		c.template(text, under(name)...)
	}
	for _, texts := range []struct {
		name string
		all  map[string]string
	}{{"headers", s.Headers}, {"attributes", s.Attributes}} {
		for name, text := range texts.all {
			c.template(strings.Replace(text, secretMark, "", 1), under(texts.name, name)...)
		}
	}
	if s.Location != nil {
		c.template(s.Location.Latitude, under("location", "latitude")...)
		c.template(s.Location.Longitude, under("location", "longitude")...)
		c.template(s.Location.Name, under("location", "name")...)
	}
	c.body(s.Body, under("body"))
	slices.SortFunc(c.found, func(a, b Problem) int { return strings.Compare(a.Pointer+a.Says, b.Pointer+b.Says) })
}

// body checks the templates inside any JSON value.
func (c *checker) body(value any, at []string) {
	switch v := value.(type) {
	case string:
		c.template(v, at...)
	case []any:
		for i, one := range v {
			c.body(one, append(slices.Clone(at), strconv.Itoa(i)))
		}
	case map[string]any:
		for name, one := range v {
			c.body(one, append(slices.Clone(at), name))
		}
	}
}

func (c *checker) template(text string, at ...string) {
	t, err := Parse(text)
	if err != nil {
		c.add(err.Error(), at...)
		return
	}
	for _, path := range t.Paths() {
		c.path(path, at...)
	}
}

func (c *checker) condition(when *Condition, at ...string) {
	if err := when.check(); err != nil {
		c.add(err.Error(), at...)
		return
	}
	for _, path := range when.paths() {
		c.path(path, at...)
	}
}

// path says whether something can stand at a path when it is looked at.
func (c *checker) path(path string, at ...string) {
	root, rest, _ := strings.Cut(path, ".")
	switch root {
	case "trigger", "contact":
		return
	case "steps":
		if id, _, _ := strings.Cut(rest, "."); !c.steps[id] {
			c.add(fmt.Sprintf("no step before this one has the id %q", id), at...)
		}
		return
	}
	c.add(fmt.Sprintf("%q begins with none of trigger, contact and steps", short(path)), at...)
}

func (c *checker) schema(text json.RawMessage, at ...string) {
	if len(text) == 0 {
		return
	}
	if _, err := compile(text); err != nil {
		c.add("it is no JSON Schema: "+strings.ReplaceAll(err.Error(), "\n", " "), at...)
	}
}

package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/sashabaranov/go-openai"
)

// shape is what an answer has to look like: a compiled Schema.
type shape struct {
	Schema

	compiled *jsonschema.Schema
}

// shapeOf compiles a schema; nil stays nil. Its references lead nowhere.
func shapeOf(s *Schema) (*shape, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // any shape will do
	}
	read, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.JSON))
	if err != nil {
		return nil, fmt.Errorf("read the schema of the answer: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	if err := c.AddResource("answer.json", read); err != nil {
		return nil, fmt.Errorf("read the schema of the answer: %w", err)
	}
	compiled, err := c.Compile("answer.json")
	if err != nil {
		return nil, fmt.Errorf("read the schema of the answer: %w", err)
	}
	return &shape{*s, compiled}, nil
}

// Checker reads a JSON Schema and returns what finds the fault in a JSON text by it.
func Checker(schema json.RawMessage) (func(text string) error, error) {
	s, err := shapeOf(&Schema{JSON: schema})
	if err != nil {
		return nil, err
	}
	return func(text string) error {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return s.compiled.Validate(value)
	}, nil
}

// ask tells a model what to write: by the parameter made for it, or in words.
func (s *shape) ask(q *openai.ChatCompletionRequest, byParameter bool) {
	switch {
	case s == nil:
	case byParameter:
		q.ResponseFormat = &openai.ChatCompletionResponseFormat{
			Type:       openai.ChatCompletionResponseFormatTypeJSONSchema,
			JSONSchema: &openai.ChatCompletionResponseFormatJSONSchema{Name: s.Name, Schema: s.JSON, Strict: true},
		}
	default:
		q.Messages = append(q.Messages, openai.ChatCompletionMessage{
			Role: openai.ChatMessageRoleSystem, Content: "Answer with one JSON value and nothing else, following this JSON Schema: " + string(s.JSON),
		})
	}
}

// check is the JSON of an answer, out of the fences that models like to put around
// it, or errNotInShape.
func (s *shape) check(text string) (string, error) {
	if s == nil {
		return text, nil
	}
	text = strings.TrimSpace(text)
	if inside, fenced := strings.CutPrefix(text, "```"); fenced {
		inside = strings.TrimSuffix(strings.TrimSpace(inside), "```")
		text = strings.TrimSpace(strings.TrimPrefix(inside, "json"))
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil || !json.Valid([]byte(text)) || s.compiled.Validate(value) != nil {
		return "", errNotInShape
	}
	return text, nil
}

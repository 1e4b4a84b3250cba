package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// mostRendered is how long a filled template may get, in bytes.
const mostRendered = 64 << 10

// errTooLong says that a template grew beyond all reason.
var errTooLong = errors.New("the text got longer than 64 KiB")

// MissingError says that a template asks for something that is not there. The filter
// default has it filled all the same.
type MissingError struct{ Path string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no %s; give it a default as in {{%s | default: \"\"}}", e.Path, e.Path)
}

// Template is a text with values in {{…}}. It holds no logic: a path such as
// trigger.body.items.0.name, and filters behind it.
type Template struct{ parts []part }

// part is words as they stand, or a value to be filled in.
type part struct {
	words   string
	path    string
	filters []call
}

// call is a filter with its argument.
type call struct {
	name     string
	argument string
}

// Parse reads a template.
func Parse(text string) (Template, error) {
	var t Template
	for {
		before, rest, found := strings.Cut(text, "{{")
		if before != "" {
			t.parts = append(t.parts, part{words: before})
		}
		if !found {
			return t, nil
		}
		inside, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return t, errors.New("a {{ is not closed by }}")
		}
		p, err := parsePart(inside)
		if err != nil {
			return t, err
		}
		t.parts, text = append(t.parts, p), after
	}
}

func parsePart(inside string) (part, error) {
	pieces := splitOutside(inside, '|')
	p := part{path: strings.TrimSpace(pieces[0])}
	if !isPath(p.path) {
		return p, fmt.Errorf("{{%s}} is no path such as trigger.body.name", inside)
	}
	for _, piece := range pieces[1:] {
		name, argument, _ := strings.Cut(piece, ":")
		c := call{strings.TrimSpace(name), strings.TrimSpace(argument)}
		if unquoted, err := strconv.Unquote(c.argument); err == nil {
			c.argument = unquoted
		}
		if filters[c.name] == nil && c.name != "default" {
			return p, fmt.Errorf("there is no filter %q; there are %s", c.name, strings.Join(Filters(), ", "))
		}
		p.filters = append(p.filters, c)
	}
	return p, nil
}

// splitOutside cuts a text at a sign that does not stand in quotes.
func splitOutside(text string, sign rune) (all []string) {
	quoted, escaped, from := false, false, 0
	for i, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quoted:
			escaped = true
		case r == '"':
			quoted = !quoted
		case r == sign && !quoted:
			all, from = append(all, text[from:i]), i+1
		}
	}
	return append(all, text[from:])
}

func isPath(text string) bool {
	for segment := range strings.SplitSeq(text, ".") {
		if segment == "" || strings.ContainsFunc(segment, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return false
		}
	}
	return true
}

// Paths are what a template asks for, in order.
func (t Template) Paths() (all []string) {
	for _, p := range t.parts {
		if p.path != "" {
			all = append(all, p.path)
		}
	}
	return all
}

// Fill puts values into the template. What is not there is a *MissingError.
func (t Template) Fill(values map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.path == "" {
			b.WriteString(p.words)
			continue
		}
		value, err := p.fill(values)
		if err != nil {
			return "", err
		}
		b.WriteString(text(value))
		if b.Len() > mostRendered {
			return "", errTooLong
		}
	}
	if b.Len() > mostRendered {
		return "", errTooLong
	}
	return b.String(), nil
}

func (p part) fill(values map[string]any) (any, error) {
	value, found := Find(values, p.path)
	for _, f := range p.filters {
		if f.name == "default" {
			if !found || value == nil {
				value, found = f.argument, true
			}
			continue
		}
		if !found {
			break
		}
		var err error
		if value, err = filters[f.name](value, f.argument); err != nil {
			return nil, fmt.Errorf("%s | %s: %w", p.path, f.name, err)
		}
	}
	if !found {
		return nil, &MissingError{p.path}
	}
	return value, nil
}

// Find is the value at a path of JSON values; numbers are places in lists.
func Find(values map[string]any, path string) (any, bool) {
	var at any = values
	for segment := range strings.SplitSeq(path, ".") {
		switch now := at.(type) {
		case map[string]any:
			next, found := now[segment]
			if !found {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(segment)
			if err != nil || i < 0 || i >= len(now) {
				return nil, false
			}
			at = now[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// text is a value as people read it: words as they are, all else as JSON.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case json.Number:
		return digits(v)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return "" // values come from JSON
	}
	return string(encoded)
}

// digits are a number as people write it, without an exponent.
func digits(n json.Number) string {
	if f, err := n.Float64(); err == nil && !isPlain(n.String()) {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return n.String()
}

var filters = map[string]func(value any, argument string) (any, error){
	"upper":  func(v any, _ string) (any, error) { return strings.ToUpper(text(v)), nil },
	"lower":  func(v any, _ string) (any, error) { return strings.ToLower(text(v)), nil },
	"trim":   func(v any, _ string) (any, error) { return strings.TrimSpace(text(v)), nil },
	"json":   func(v any, _ string) (any, error) { return asJSON(v) },
	"url":    func(v any, _ string) (any, error) { return url.QueryEscape(text(v)), nil },
	"digits": func(v any, _ string) (any, error) { return strings.Map(onlyDigits, text(v)), nil },
	"number": number,
	"join":   join,
	"first":  func(v any, _ string) (any, error) { return element(v, 0) },
	"last":   func(v any, _ string) (any, error) { return element(v, -1) },
	"length": length,
	"cut":    cut,
}

// Filters are the names of all filters, sorted.
func Filters() []string {
	all := []string{"default"}
	for name := range filters {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func asJSON(v any) (any, error) {
	encoded, err := json.Marshal(v)
	return string(encoded), err
}

func onlyDigits(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}

// number writes a number with so many places behind the point.
func number(v any, argument string) (any, error) {
	places, err := strconv.Atoi(argument)
	if err != nil || places < 0 || places > 12 {
		return nil, errors.New("it takes the places behind the point, as in number: 2")
	}
	n, is := exactly(text(v))
	if !is {
		return nil, fmt.Errorf("%q is no number", short(text(v)))
	}
	return n.FloatString(places), nil
}

func join(v any, argument string) (any, error) {
	list, is := v.([]any)
	if !is {
		return nil, errors.New("it is no list")
	}
	words := make([]string, len(list))
	for i, one := range list {
		words[i] = text(one)
	}
	return strings.Join(words, argument), nil
}

// element is one of a list; -1: the last.
func element(v any, i int) (any, error) {
	list, is := v.([]any)
	if !is || len(list) == 0 {
		return nil, errors.New("it is no list with something in it")
	}
	if i < 0 {
		i = len(list) - 1
	}
	return list[i], nil
}

func length(v any, _ string) (any, error) {
	switch v := v.(type) {
	case []any:
		return float64(len(v)), nil
	case map[string]any:
		return float64(len(v)), nil
	}
	return float64(len([]rune(text(v)))), nil
}

// cut is the beginning of a text.
func cut(v any, argument string) (any, error) {
	most, err := strconv.Atoi(argument)
	if err != nil || most < 0 {
		return nil, errors.New("it takes a number of characters, as in cut: 100")
	}
	runes := []rune(text(v))
	return string(runes[:min(most, len(runes))]), nil
}

func short(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return text
}

package flow

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Condition decides from values: a comparison of the value at a path, or several
// conditions together. Exactly one of All, Any, Not and Value is there.
type Condition struct {
	All []Condition `json:"all,omitempty"`
	Any []Condition `json:"any,omitempty"`
	Not *Condition  `json:"not,omitempty"`

	Value    string       `json:"value,omitempty"` // a path
	Is       *any         `json:"is,omitempty"`    // the same JSON value; 1 is 1.0
	In       []any        `json:"in,omitempty"`
	Contains *string      `json:"contains,omitempty"` // as a part of a text, in any case, or in a list
	Greater  *json.Number `json:"greater,omitempty"`
	Less     *json.Number `json:"less,omitempty"`
	Exists   *bool        `json:"exists,omitempty"`
}

// UnmarshalJSON reads it; "is": null compares with nothing.
func (c *Condition) UnmarshalJSON(data []byte) error {
	read, err := decode(data)
	if err != nil {
		return err
	}
	type plain Condition
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err
	}
	named, _ := read.(map[string]any) // null is no condition
	if is, there := named["is"]; there {
		c.Is = &is
	}
	if in, is := named["in"].([]any); is {
		c.In = in
	}
	return nil
}

// paths are all that a condition looks at.
func (c *Condition) paths() (all []string) {
	if c == nil {
		return nil
	}
	if c.Value != "" {
		all = append(all, c.Value)
	}
	for _, inner := range append(append([]Condition(nil), c.All...), c.Any...) {
		all = append(all, inner.paths()...)
	}
	return append(all, c.Not.paths()...)
}

// errNoCondition says what conditions look like.
var errNoCondition = errors.New(`a condition is {"value": "trigger.body.status", "is": "paid"}, with is, in, contains, greater, less or exists, or {"all": […]}, {"any": […]}, {"not": …}`)

// check says what is wrong with a condition.
func (c *Condition) check() error {
	if c == nil {
		return nil
	}
	kinds := 0
	for _, there := range []bool{c.All != nil, c.Any != nil, c.Not != nil, c.Value != ""} {
		if there {
			kinds++
		}
	}
	comparisons := 0
	for _, there := range []bool{c.Is != nil, c.In != nil, c.Contains != nil, c.Greater != nil, c.Less != nil, c.Exists != nil} {
		if there {
			comparisons++
		}
	}
	if kinds != 1 || (comparisons == 1) != (c.Value != "") || (c.Value != "" && !isPath(c.Value)) {
		return errNoCondition
	}
	for _, inner := range append(append([]Condition(nil), c.All...), c.Any...) {
		if err := inner.check(); err != nil {
			return err
		}
	}
	return c.Not.check()
}

// Holds decides the condition; none at all holds. What is not there is like null.
func (c *Condition) Holds(values map[string]any) bool {
	switch {
	case c == nil:
		return true
	case c.All != nil:
		for _, inner := range c.All {
			if !inner.Holds(values) {
				return false
			}
		}
		return true
	case c.Any != nil:
		for _, inner := range c.Any {
			if inner.Holds(values) {
				return true
			}
		}
		return false
	case c.Not != nil:
		return !c.Not.Holds(values)
	}
	value, found := Find(values, c.Value)
	return c.compare(value, found && value != nil)
}

func (c *Condition) compare(value any, found bool) bool {
	switch {
	case c.Exists != nil:
		return found == *c.Exists
	case c.Is != nil:
		return same(value, *c.Is)
	case c.In != nil:
		return among(c.In, value)
	case c.Contains != nil:
		if list, is := value.([]any); is {
			return among(list, *c.Contains)
		}
		return found && strings.Contains(strings.ToLower(text(value)), strings.ToLower(*c.Contains))
	case c.Greater != nil:
		return ordered(value, *c.Greater) > 0
	case c.Less != nil:
		return ordered(value, *c.Less) < 0
	}
	return false
}

// ordered is 1 when a number is greater than another and -1 when it is less. What is no
// number is neither.
func ordered(value any, other json.Number) int {
	a, is := exact(value)
	b, too := exact(other)
	if !is || !too {
		return 0
	}
	return a.Cmp(b)
}

func among(list []any, value any) bool {
	return slices.ContainsFunc(list, func(one any) bool { return same(one, value) })
}

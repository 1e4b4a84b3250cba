package flow

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// Condition decides from values: a comparison of the value at a path, or several
// conditions together. Exactly one of All, Any, Not and Value is there.
type Condition struct {
	All []Condition `json:"all,omitempty"`
	Any []Condition `json:"any,omitempty"`
	Not *Condition  `json:"not,omitempty"`

	Value    string   `json:"value,omitempty"` // a path
	Is       *any     `json:"is,omitempty"`    // the same JSON value
	In       []any    `json:"in,omitempty"`
	Contains *string  `json:"contains,omitempty"` // as a part of a text, in any case, or in a list
	Greater  *float64 `json:"greater,omitempty"`
	Less     *float64 `json:"less,omitempty"`
	Exists   *bool    `json:"exists,omitempty"`
}

// UnmarshalJSON reads it; "is": null compares with nothing.
func (c *Condition) UnmarshalJSON(data []byte) error {
	type plain Condition
	if err := json.Unmarshal(data, (*plain)(c)); err != nil {
		return err
	}
	var named map[string]json.RawMessage
	if err := json.Unmarshal(data, &named); err != nil {
		return err
	}
	if is, there := named["is"]; there && string(is) == "null" {
		c.Is = new(any)
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
	n, number := value.(float64)
	switch {
	case c.Exists != nil:
		return found == *c.Exists
	case c.Is != nil:
		return reflect.DeepEqual(value, *c.Is)
	case c.In != nil:
		return among(c.In, value)
	case c.Contains != nil:
		if list, is := value.([]any); is {
			return among(list, *c.Contains)
		}
		return found && strings.Contains(strings.ToLower(text(value)), strings.ToLower(*c.Contains))
	case c.Greater != nil:
		return number && n > *c.Greater
	case c.Less != nil:
		return number && n < *c.Less
	}
	return false
}

func among(list []any, value any) bool {
	for _, one := range list {
		if reflect.DeepEqual(one, value) {
			return true
		}
	}
	return false
}

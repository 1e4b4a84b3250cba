// Package flow runs flows: what other systems, customers' messages and events start,
// written as JSON by admins. A definition is checked once and never changes; an
// execution of it is a row that is written down before and after every step, so that
// whatever ends the process, another goes on where it was. Definitions hold no code of
// theirs: only templates, conditions and nine kinds of steps.
package flow

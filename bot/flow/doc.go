// Package flow holds the language of flows: what other systems, messages and events
// trigger, written as JSON by admins. It reads and checks definitions, fills templates
// and decides conditions; it runs no code of theirs and reaches nothing.
package flow

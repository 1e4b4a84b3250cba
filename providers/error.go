package providers

import (
	"errors"
	"strings"
	"time"
)

// ErrNone says that no provider is switched on.
var ErrNone = errors.New("no AI provider is switched on; add one in the console")

// Error says that nobody could answer, and what was tried.
type Error struct {
	Temporary  bool          // the same request may be answered later, by itself
	RetryAfter time.Duration // when a first provider is likely to be back; 0: unknown
	Attempts   []Attempt
	Skipped    []string // why others were not asked, a sentence each
	cause      error
	said       string // the whole sentence; "": made of the attempts
}

// Error is a sentence for people of the house.
func (e *Error) Error() string {
	if e.said != "" {
		return e.said
	}
	var said []string
	for _, a := range e.Attempts {
		said = append(said, a.Err)
	}
	said = append(said, e.Skipped...)
	switch {
	case len(said) > 0:
		return "no AI provider could answer: " + strings.Join(said, "; ")
	case e.cause != nil:
		return e.cause.Error()
	}
	return "no AI provider could answer"
}

// Unwrap is ErrNone or the end of the caller's context, if one of them is why.
func (e *Error) Unwrap() error { return e.cause }

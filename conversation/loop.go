package conversation

import (
	"strings"
	"time"

	"frontdesk/store"
)

// When two machines talk to each other (conversation.md, "Hours, limits, loops").
const (
	quickTime   = 2 * time.Second // in which no person reads an answer and writes another
	mostQuick   = 4               // such replies in a row
	mostSame    = 4               // times that one text comes in a row, with answers between
	loopHorizon = 30 * time.Minute
)

// looping says whether the customer is probably a machine: one that answers our
// answers at once, again and again, or that says the same whatever we say.
func looping(lines []store.Line, now time.Time) bool {
	return quickReplies(lines, now) >= mostQuick || sameAgain(lines, now) >= mostSame
}

// quickReplies counts, from the newest on, the messages that came within quickTime of
// our last words. WhatsApp cuts their times to whole seconds.
func quickReplies(lines []store.Line, now time.Time) (n int) {
	for i := len(lines) - 1; i > 0; i-- {
		in, before := lines[i], lines[i-1]
		if in.Direction != "in" || before.Direction == "in" {
			continue // one of several in a row, or our own
		}
		gap := in.At.Sub(before.At)
		if before.Origin != "bot" || gap > quickTime || now.Sub(in.At) > loopHorizon {
			return n
		}
		n++
	}
	return n
}

// sameAgain counts how often the newest text came in a row, each time behind an
// answer of ours.
func sameAgain(lines []store.Line, now time.Time) (n int) {
	text, answered := "", true
	for i := len(lines) - 1; i >= 0; i-- {
		l := lines[i]
		if l.Direction != "in" {
			answered = true
			continue
		}
		said := strings.TrimSpace(l.Body)
		if text == "" {
			text = said
		}
		if said == "" || said != text || now.Sub(l.At) > loopHorizon {
			return n
		}
		if answered {
			n++
		}
		answered = false
	}
	return n
}

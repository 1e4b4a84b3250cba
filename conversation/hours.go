package conversation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours say when a business is open, in its own time zone. The zero value is always
// open.
type Hours struct {
	Zone   string              `json:"zone,omitempty"`   // such as Europe/Madrid; "": UTC
	Week   map[string][]string `json:"week,omitempty"`   // by day (mon to sun): "09:00-13:30"; a day without is closed
	Closed []string            `json:"closed,omitempty"` // holidays: 2026-12-25, or 12-25 for every year
	When   string              `json:"when,omitempty"`   // outside: answer (the usual), text or silent
	Text   string              `json:"text,omitempty"`   // told then, at most once in ten minutes
}

// What happens outside the hours.
const (
	WhenAnswer = "answer"
	WhenText   = "text"
	WhenSilent = "silent"
)

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ReadHours reads what an admin wrote; the error says what is wrong with it.
func ReadHours(data []byte) (Hours, error) {
	var h Hours
	if len(data) == 0 {
		return h, nil
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("hours are not as they should be: %w", err)
	}
	return h, h.check()
}

func (h Hours) check() error {
	if _, err := time.LoadLocation(h.Zone); err != nil {
		return fmt.Errorf("hours: %q is no time zone such as Europe/Madrid", h.Zone)
	}
	for day, spans := range h.Week {
		if !slices.Contains(days, day) {
			return fmt.Errorf("hours: %q is no day (mon, tue, wed, thu, fri, sat, sun)", day)
		}
		for _, s := range spans {
			if _, err := readSpan(s); err != nil {
				return fmt.Errorf("hours of %s: %w", day, err)
			}
		}
	}
	for _, d := range h.Closed {
		if !isDate(d) {
			return fmt.Errorf("hours: the holiday %q is not like 2026-12-25, or 12-25 for every year", d)
		}
	}
	if !slices.Contains([]string{"", WhenAnswer, WhenText, WhenSilent}, h.When) {
		return fmt.Errorf("hours: %q is not answer, text or silent", h.When)
	}
	if h.When == WhenText && strings.TrimSpace(h.Text) == "" {
		return errors.New("hours: a text is needed for outside the hours")
	}
	return nil
}

func isDate(text string) bool {
	_, whole := time.Parse(time.DateOnly, text)
	_, yearly := time.Parse("01-02", text)
	return whole == nil || yearly == nil
}

// span is a part of a day in minutes; one that ends before it begins goes on after
// midnight.
type span struct{ from, to int }

func readSpan(text string) (span, error) {
	from, to, found := strings.Cut(text, "-")
	begin, err := time.Parse("15:04", strings.TrimSpace(from))
	if err != nil || !found {
		return span{}, fmt.Errorf("%q is not like 09:00-17:30", text)
	}
	if strings.TrimSpace(to) == "24:00" {
		return span{minute(begin), 24 * 60}, nil
	}
	end, err := time.Parse("15:04", strings.TrimSpace(to))
	if err != nil {
		return span{}, fmt.Errorf("%q is not like 09:00-17:30", text)
	}
	return span{minute(begin), minute(end)}, nil
}

func minute(t time.Time) int { return t.Hour()*60 + t.Minute() }

// Open says whether the business is open at a time.
func (h Hours) Open(at time.Time) bool {
	if len(h.Week) == 0 && len(h.Closed) == 0 {
		return true
	}
	at = at.In(h.location())
	return h.openOn(at, minute(at)) || h.openOn(at.AddDate(0, 0, -1), minute(at)+24*60)
}

// openOn says whether the hours that begin on a day cover a minute counted from its
// midnight.
func (h Hours) openOn(day time.Time, at int) bool {
	if h.holiday(day) {
		return false
	}
	if len(h.Week) == 0 {
		return at < 24*60
	}
	for _, text := range h.Week[days[day.Weekday()]] {
		s, err := readSpan(text)
		if err == nil && s.to <= s.from {
			s.to += 24 * 60
		}
		if err == nil && s.from <= at && at < s.to {
			return true
		}
	}
	return false
}

func (h Hours) holiday(day time.Time) bool {
	return slices.Contains(h.Closed, day.Format(time.DateOnly)) || slices.Contains(h.Closed, day.Format("01-02"))
}

// location is the business's; one that this machine does not know is UTC.
func (h Hours) location() *time.Location {
	if l, err := time.LoadLocation(h.Zone); err == nil {
		return l
	}
	return time.UTC
}

// mostDays is how far ahead Next looks.
const mostDays = 370

// Next is when the business opens after a time when it is closed; zero: it never does.
func (h Hours) Next(after time.Time) time.Time {
	day := after.In(h.location())
	for range mostDays {
		if at := h.nextOn(day, after); !at.IsZero() {
			return at
		}
		day = time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, day.Location())
	}
	return time.Time{}
}

func (h Hours) nextOn(day, after time.Time) (first time.Time) {
	for _, text := range h.Week[days[day.Weekday()]] {
		s, err := readSpan(text)
		at := time.Date(day.Year(), day.Month(), day.Day(), 0, s.from, 0, 0, day.Location())
		if err == nil && at.After(after) && !h.holiday(day) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// describe is a sentence on the hours for a model.
func (h Hours) describe(at time.Time) string {
	if len(h.Week) == 0 {
		return ""
	}
	var b strings.Builder
	for _, day := range append(slices.Clone(days[1:]), days[0]) {
		spans := "closed"
		if len(h.Week[day]) > 0 {
			spans = strings.Join(h.Week[day], " and ")
		}
		fmt.Fprintf(&b, "%s %s, ", day, spans)
	}
	state := "closed now"
	if h.Open(at) {
		state = "open now"
	} else if next := h.Next(at); !next.IsZero() {
		state += ", opens " + next.Format("Monday 2 January 15:04")
	}
	return fmt.Sprintf("Hours (%s): %s%s.", h.location(), b.String(), state)
}

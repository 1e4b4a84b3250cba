package conversation

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"frontdesk/store"
)

// tooOld is the age at which messages get no automatic answer any more: after an
// outage nobody wants a flood of late replies.
const tooOld = 6 * time.Hour

// unreadable is why a message that never could be decrypted is not answered.
const unreadable = "unreadable"

// skipReason says why the bot must stay silent, or "". The statement that claims
// a bubble for sending asks again whether the bot still has the conversation.
// Groups, broadcasts and channels never get this far: package bot ignores them.
func skipReason(now store.Turn) string {
	switch {
	case now.State == store.StateHuman:
		return "human"
	case now.State != store.StateBot:
		return string(now.State)
	case now.AccountPaused:
		return "paused"
	case now.Readable == 0:
		return unreadable
	case now.SessionSeq >= now.LastSeq:
		return "reset"
	case now.NewestAge > tooOld:
		return "too_old"
	}
	return ""
}

// decide settles what waits without asking a model, if the rules of the house say
// so. False: the bot may answer.
func (t *turn) decide(ctx context.Context, now store.Turn) (bool, error) {
	if reason := skipReason(now); reason != "" {
		return true, t.skip(ctx, now, reason)
	}
	words := sentencesIn(now.Language)
	switch consent := consentOf(now); {
	case consent == store.OptOut:
		return true, t.say(ctx, now, words.optedOut, "opted_out")
	case now.OptedOut:
		return true, t.skip(ctx, now, "opted_out")
	case consent == store.OptIn:
		return true, t.say(ctx, now, words.optedIn, "opted_in")
	}
	hours, err := ReadHours(now.Hours)
	if err != nil {
		t.p.log.WarnContext(ctx, "Hours of the account not understood, taken as always open", slog.Int64("account", t.account), slog.Any("error", err))
		hours = Hours{}
	}
	switch {
	case asksForPerson(now):
		return true, t.handOff(ctx, now, "keyword", "")
	case hours.When == WhenSilent && !hours.Open(now.Now):
		return true, t.skip(ctx, now, "closed")
	case hours.When == WhenText && !hours.Open(now.Now):
		return true, t.sayOnce(ctx, now, hours.Text, "closed")
	case now.Overspent:
		return true, t.handOff(ctx, now, "budget", "")
	case now.AnswersLimit > 0 && looping(now.Lines, now.Now):
		return true, t.pause(ctx, now)
	case now.Busy > 0:
		return true, t.wait(ctx, now)
	}
	return false, nil
}

// waiting are the lines that the turn has to settle.
func waitingLines(now store.Turn) []store.Line {
	var lines []store.Line
	for _, l := range now.Lines {
		if l.Direction == "in" && l.Seq > now.AnsweredSeq {
			lines = append(lines, l)
		}
	}
	return lines
}

// consentOf is the last word of what waits on automated messages. Who opts in and
// goes on writing gets an answer to that.
func consentOf(now store.Turn) store.Consent {
	lines := waitingLines(now)
	last := store.NoConsent
	for _, l := range lines {
		if c := Consent(l.Body); c != store.NoConsent {
			last = c
		}
	}
	if last == store.OptIn && Consent(lines[len(lines)-1].Body) != store.OptIn {
		return store.NoConsent
	}
	return last
}

// asksForPerson says whether what waits holds one of the account's words for people.
func asksForPerson(now store.Turn) bool {
	for _, l := range waitingLines(now) {
		said := " " + bare(l.Body) + " "
		for _, w := range now.HandoffWords {
			if w = bare(w); w != "" && strings.Contains(said, " "+w+" ") {
				return true
			}
		}
	}
	return false
}

// say settles what waits with a sentence of ours.
func (t *turn) say(ctx context.Context, now store.Turn, text, why string) error {
	if text == "" {
		return t.skip(ctx, now, why)
	}
	sent, err := t.p.store.Answer(ctx, store.Reply{
		ConversationID: t.conversation, Lo: now.AnsweredSeq, Hi: now.LastSeq, Force: true, Origin: "system", OptOut: why == "opted_out",
		Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: text}}, Detail: map[string]any{"said": why},
	})
	if sent {
		t.p.accounts.Send(t.account, t.conversation)
	}
	return err
}

// sayOnce is say, unless the customer has had that text lately.
func (t *turn) sayOnce(ctx context.Context, now store.Turn, text, why string) error {
	for _, l := range now.Lines {
		if l.Direction == "out" && l.Body == text && now.Now.Sub(l.At) < textPause {
			return t.skip(ctx, now, why)
		}
	}
	return t.say(ctx, now, text, why)
}

// handOff gives the conversation to people, tells the customer and has people know.
func (t *turn) handOff(ctx context.Context, now store.Turn, reason, detail string) error {
	done, err := t.p.store.HandOff(ctx, store.Handoff{
		ConversationID: t.conversation, Lo: now.AnsweredSeq, Reason: reason, Detail: detail,
		Says: said(now.HandoffText, sentencesIn(now.Language).handoff),
	})
	if err != nil || !done {
		return err
	}
	t.p.accounts.Send(t.account, t.conversation)
	if !now.Overspent && reason != "no_answer" { // asking a provider is what cannot be done then
		t.p.brief(now) //nolint:contextcheck // it outlives the turn
	}
	return t.p.store.RaiseAlert(ctx, t.account, "handed_off", fmt.Sprintf("A customer waits for a person in conversation %d (%s)", t.conversation, reason))
}

// pause leaves the conversation with what is probably a machine until a person looks.
func (t *turn) pause(ctx context.Context, now store.Turn) error {
	done, err := t.p.store.PauseBot(ctx, t.conversation, now.AnsweredSeq, "loop")
	if err != nil || !done {
		return err
	}
	return t.p.store.RaiseAlert(ctx, t.account, "loop", fmt.Sprintf(
		"The customer of conversation %d is probably a machine; the bot is paused there until somebody gives it back", t.conversation))
}

// wait puts the turn off until the bot may answer in this chat again.
func (t *turn) wait(ctx context.Context, now store.Turn) error {
	put, err := t.p.store.Defer(ctx, t.conversation, now.AnsweredSeq, now.Busy, "busy")
	if put {
		t.again = time.Now().Add(now.Busy)
	}
	return err
}

// Debounce is how long a message waits for a next one, given the account's usual
// wait: less after what reads as complete. A usual wait of 0 means none.
func Debounce(usual time.Duration, text string) time.Duration {
	if complete(strings.TrimSpace(text)) {
		return min(usual, completeWait)
	}
	return usual
}

const (
	completeWait = 1200 * time.Millisecond
	longSentence = 80 // characters
)

// complete says whether text reads as finished: a question, or a long sentence.
func complete(text string) bool {
	if strings.HasSuffix(text, "?") || strings.HasSuffix(text, "？") || strings.HasSuffix(text, "؟") {
		return true
	}
	ends := strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "。")
	return ends && len([]rune(text)) >= longSentence
}

package conversation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// settled writes texts as one turn and returns how it was settled: what was sent, what
// was noted.
func settled(t *testing.T, change func(*row), texts ...string) (sent []string, noted []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		change(d.row(1))
		d.start()
		defer d.close()
		for _, text := range texts {
			d.write(1, text, time.Second)
		}
		time.Sleep(time.Minute)
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, r := range d.replies {
			for _, b := range r.Bubbles {
				sent = append(sent, b.Body)
			}
		}
		noted = d.rows[1].skipped
	})
	return sent, noted
}

func TestWordsOfManyLanguagesEndAutomatedMessages(t *testing.T) {
	for _, text := range []string{"STOP", "stop.", " Baja ", "¡Baja!", "Abmelden", "ARRÊT", "sair", "Cancella", "СТОП", "توقف", "停止", "Stopp"} {
		if got := conversation.Consent(text); got != store.OptOut {
			t.Errorf("%q is %q, want an opt-out", text, got)
		}
	}
	for _, text := range []string{"stop by tomorrow?", "does the bus stop here", "baja tensión", "I want to cancel my order", "", "please do not stop"} {
		if got := conversation.Consent(text); got != store.NoConsent {
			t.Errorf("%q is %q, want nothing", text, got)
		}
	}
	for _, text := range []string{"START", "alta", "Anmelden"} {
		if got := conversation.Consent(text); got != store.OptIn {
			t.Errorf("%q is %q, want an opt-in", text, got)
		}
	}
}

func TestOptOutIsConfirmedOnceAndSilentAfterwards(t *testing.T) {
	out := func(r *row) { r.Language, r.OptedOut = "es", true }
	if sent, _ := settled(t, out, "BAJA"); len(sent) != 1 || !strings.HasPrefix(sent[0], "No recibirá") {
		t.Errorf("sent %q", sent)
	}
	if sent, noted := settled(t, out, "¿a qué hora abren?"); len(sent) != 0 || fmt.Sprint(noted) != "[opted_out]" {
		t.Errorf("sent %q, noted %v", sent, noted)
	}
}

func TestFirstAnswerOfASessionSaysThatItIsAutomated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.row(1).Disclosure = nil
		d.start()
		defer d.close()
		for _, wait := range []time.Duration{time.Minute, 25 * time.Hour, time.Minute} {
			d.write(1, "hello", 0)
			time.Sleep(wait)
		}
		var said []bool
		defer d.still()()
		for _, r := range d.replies {
			said = append(said, strings.Contains(r.Bubbles[0].Body, "automated"))
		}
		if fmt.Sprint(said) != "[true false true]" {
			t.Errorf("disclosed %v, want the first of each session", said)
		}
	})
}

func TestKeywordsHoursAndBudgetsDecideBeforeAnyModel(t *testing.T) {
	closed := func(when, text string) func(*row) {
		return func(r *row) {
			r.Hours = fmt.Appendf(nil, `{"zone": "Europe/Madrid", "week": {"mon": []}, "when": %q, "text": %q}`, when, text)
		}
	}
	for name, c := range map[string]struct {
		change func(*row)
		texts  []string
		sent   string
		noted  string
	}{
		"a word for people":      {func(r *row) { r.HandoffWords = []string{"lawyer", "my boss"} }, []string{"I will call my  Boss!"}, "[]", "[handed off: keyword]"},
		"a part of a word":       {func(r *row) { r.HandoffWords = []string{"law"} }, []string{"lawn chairs?"}, "[re lawn chairs?]", "[]"},
		"closed, silent":         {closed("silent", ""), []string{"hello"}, "[]", "[closed]"},
		"closed, with a text":    {closed("text", "We open at ten."), []string{"hello"}, "[We open at ten.]", "[]"},
		"closed, but answered":   {closed("answer", ""), []string{"hello"}, "[re hello]", "[]"},
		"hours nobody can read":  {func(r *row) { r.Hours = []byte(`{"zone": "Mars/Base"}`) }, []string{"hello"}, "[re hello]", "[]"},
		"a budget that is spent": {func(r *row) { r.Overspent = true }, []string{"hello"}, "[]", "[handed off: budget]"},
		"enough said for now":    {func(r *row) { r.Busy = 30 * time.Second }, []string{"hello"}, "[re hello]", "[deferred: busy]"},
		"a new beginning":        {func(r *row) { r.SessionSeq = 1 }, []string{"/reset"}, "[]", "[reset]"},
	} {
		t.Run(name, func(t *testing.T) {
			sent, noted := settled(t, c.change, c.texts...)
			if fmt.Sprint(sent) != c.sent || fmt.Sprint(noted) != c.noted {
				t.Errorf("sent %v, noted %v; want %s, %s", sent, noted, c.sent, c.noted)
			}
		})
	}
}

// TestTwoMachinesAreParted lets two bots talk: another one, which answers within a
// second or always says the same, and ours.
func TestTwoMachinesAreParted(t *testing.T) {
	for name, says := range map[string]func(n int) string{
		"one that answers at once":       func(n int) string { return fmt.Sprint("answer number ", n) },
		"one that always says the same":  func(int) string { return "We are away and will write to you soon." },
		"one that says little, the same": func(int) string { return "ok ok ok ok" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				d.row(1).AnswersLimit = 20
				d.start()
				defer d.close()
				messages := 0
				for n := range 20 {
					before := d.count()
					d.write(1, says(n), 2500*time.Millisecond)
					messages++
					time.Sleep(2500*time.Millisecond + 10*time.Millisecond)
					if d.count() == before {
						break
					}
					messages++
					wait := time.Second
					if strings.Contains(name, "same") {
						wait = time.Minute
					}
					time.Sleep(wait)
				}
				defer d.still()()
				if messages > 10 || d.row(1).State != store.StatePaused || fmt.Sprint(d.alerts) != "[loop]" {
					t.Errorf("after %d messages: %s, alerts %v; want a pause within ten and an alert", messages, d.row(1).State, d.alerts)
				}
			})
		})
	}
}

func TestPeopleAreNoMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.row(1).AnswersLimit = 20
		d.start()
		defer d.close()
		for n, text := range []string{"hi", "ok", "ok", "ok", "how much is it?", "ok", "and tomorrow?", "thanks"} {
			d.write(1, text, time.Second)
			time.Sleep(time.Duration(4+n) * time.Second)
		}
		defer d.still()()
		if len(d.replies) != 8 {
			t.Errorf("%d of 8 answered; %s", len(d.replies), d.row(1).State)
		}
	})
}

func TestFiveQuickMessagesAndOneDuringTheAnswerGetOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		think := d.think
		d.think = func(ctx context.Context, q providers.Request) (providers.Answer, error) {
			time.Sleep(5 * time.Second)
			return think(ctx, q)
		}
		d.start()
		defer d.close()
		for n := range 5 {
			d.write(1, fmt.Sprint("part ", n+1), 2500*time.Millisecond)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(4 * time.Second) // it is being answered
		d.write(1, "part 6", 2500*time.Millisecond)
		time.Sleep(time.Minute)
		defer d.still()()
		if len(d.replies) != 1 || d.replies[0].Bubbles[0].Body != "re part 1 part 2 part 3 part 4 part 5 part 6" {
			t.Errorf("answered %+v", d.replies)
		}
	})
}

func TestPersonWhoTakesOverFindsASummary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*row)
		notes  int
	}{
		"asked for":              {func(*row) {}, 1},
		"with the budget spent":  {func(r *row) { r.Overspent = true }, 0},
		"by a word of the house": {func(r *row) { r.HandoffWords = []string{"refund"} }, 1},
		"by a word, all spent":   {func(r *row) { r.HandoffWords, r.Overspent = []string{"refund"}, true }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
					switch all := read(q); {
					case strings.Contains(all[0].Text, "A colleague takes"):
						if !strings.Contains(all[1].Text, "Customer: my third cake was late\n") || !strings.Contains(all[1].Text, "refund") {
							t.Errorf("the summary is made of %q", all[1].Text)
						}
						return says("Wants a refund for a late cake."), nil
					case strings.Contains(all[len(all)-2].Text, "refund"):
						return calls("hand_off", `{"reason": "refund"}`), nil
					}
					return says("I am sorry."), nil
				}
				d.start()
				for _, text := range []string{"hello", "my third cake was late"} {
					d.write(1, text, 0)
					pass(5 * time.Second)
				}
				d.change(1, c.change)
				d.write(1, "I want a refund", 0)
				pass(time.Minute)
				if d.row(1).State != store.StateHuman || len(d.notes) != c.notes || (c.notes == 1 && d.notes[0] != "frontdesk: Wants a refund for a late cake.") {
					t.Errorf("%s with notes %q", d.row(1).State, d.notes)
				}
				if _, err := d.p.Brief(t.Context(), 1); err != nil || len(d.notes) != c.notes+1 {
					t.Errorf("summed up by hand: %v, notes %q", err, d.notes)
				}
				d.close()
			})
		})
	}
}

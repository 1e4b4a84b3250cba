package bot_test

import (
	"fmt"
	"slices"
	"testing"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"
)

func TestFiftyPeopleAreFiftyContactsHoweverTheyAreAddressed(t *testing.T) {
	t.Parallel()
	const people = 50
	orders := map[string][]wasim.Addressing{
		"LID first":                    {wasim.LIDFirst, wasim.LIDFirst, wasim.PhoneFirst},
		"phone first":                  {wasim.PhoneFirst, wasim.PhoneFirst, wasim.LIDFirst},
		"mixed":                        {wasim.Mixed, wasim.Mixed, wasim.Mixed},
		"hidden, then both":            {wasim.LIDOnly, wasim.LIDOnly, wasim.LIDFirst},
		"number only, then both":       {wasim.PhoneOnly, wasim.PhoneOnly, wasim.PhoneFirst},
		"hidden, number only and both": {wasim.LIDOnly, wasim.PhoneOnly, wasim.LIDFirst},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.manager("a")
			account := w.pair(desk)
			for round, mode := range order {
				for i := range people {
					c := w.wa.Customer(fmt.Sprint(12025552000 + i))
					must(t, c.Address(mode))
					_, err := c.Send(t.Context(), desk, string(mode))
					must(t, err)
				}
				w.awaitAcknowledged(people)
				w.answerAll(m, account, string(mode))
				for i := range people {
					numberOfAnswers(t, w.awaitAnswers(fmt.Sprint(12025552000+i), desk, round+1), round+1)
				}
			}
			open := map[int64]bool{}
			for _, c := range w.conversations(account) {
				if c.MergedInto != nil {
					continue
				}
				open[c.ContactID] = true
				lines, err := w.store.History(t.Context(), c.ID, c.LastSeq, 100)
				must(t, err)
				var said []string
				for _, mode := range order {
					said = append(said, string(mode), "re "+string(mode))
				}
				if mode := order[0]; mode == wasim.LIDOnly && order[1] == wasim.PhoneOnly { // two contacts at first: what is settled of the younger goes before
					said = slices.Concat(said[2:4], said[:2], said[4:])
				}
				if got := linesOf(lines); !slices.Equal(got, said) || c.LastSeq != c.AnsweredSeq {
					t.Fatalf("a customer's conversation reads %q, want %q; %d wait", got, said, c.LastSeq-c.AnsweredSeq)
				}
			}
			contacts, err := w.store.Contacts(t.Context(), "", store.Page{Limit: 1000})
			must(t, err)
			if len(open) != people || len(contacts) != people {
				t.Errorf("%d people are %d contacts with %d open conversations", people, len(contacts), len(open))
			}
		})
	}
}

func linesOf(lines []store.Line) []string {
	said := make([]string, len(lines))
	for i, l := range lines {
		said[i] = l.Body
	}
	return said
}

func numberOfAnswers(t *testing.T, seen []wasim.Message, want int) {
	t.Helper()
	if len(seen) != want {
		t.Fatalf("a customer got %d answers to %d messages", len(seen), want)
	}
}

// answerAll answers every conversation that waits.
func (w *world) answerAll(m *bot.Manager, account int64, to string) {
	w.t.Helper()
	for _, c := range w.conversations(account) {
		if c.LastSeq == c.AnsweredSeq {
			continue
		}
		done, err := w.store.Answer(w.t.Context(), store.Reply{
			ConversationID: c.ID, Lo: c.AnsweredSeq, Hi: c.LastSeq, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "re " + to}},
		})
		must(w.t, err)
		if !done {
			w.t.Error("an answer was not taken")
		}
		m.Send(account, c.ID)
	}
}

// awaitAcknowledged waits until every message of the first n customers was taken.
func (w *world) awaitAcknowledged(n int) {
	w.t.Helper()
	eventually(w.t, "every message to be stored", func() bool {
		for i := range n {
			for _, m := range w.wa.Customer(fmt.Sprint(12025552000 + i)).Messages(desk) {
				if m.Status == wasim.Sent || m.Status == wasim.Pending {
					return false
				}
			}
		}
		return true
	})
}

func TestAnswerTeachesWhoIsBehindANumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	must(t, w.wa.Customer(customer).Address(wasim.LIDOnly))
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	w.queue(m, account, customer, 1, 1) // to the number, which nobody has connected with the LID so far
	w.awaitAnswers(customer, desk, 1)
	eventually(t, "one contact with both addresses", func() bool {
		contacts, err := w.store.Contacts(t.Context(), "", store.Page{Limit: 10})
		must(t, err)
		return len(contacts) == 1 && contacts[0].Phone != nil && contacts[0].LID != nil
	})
	must(t, w.wa.Customer(customer).Address(wasim.PhoneOnly))
	w.write(customer, desk, 2, 1)
	numbered(t, w.awaitReceived(account, 2), "message", 1)
}

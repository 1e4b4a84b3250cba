package bot_test

import (
	"fmt"
	"testing"

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
			w.manager("a")
			account := w.pair(desk)
			for _, mode := range order {
				for i := range people {
					c := w.wa.Customer(fmt.Sprint(12025552000 + i))
					must(t, c.Address(mode))
					_, err := c.Send(t.Context(), desk, string(mode))
					must(t, err)
				}
				w.awaitAcknowledged(people)
			}
			open := map[int64]bool{}
			for _, c := range w.conversations(account) {
				if c.MergedInto != nil {
					continue
				}
				open[c.ContactID] = true
				lines, err := w.store.History(t.Context(), c.ID, c.LastSeq, 100)
				must(t, err)
				if len(lines) != len(order) || c.LastSeq-c.AnsweredSeq != int64(len(order)) {
					t.Fatalf("a customer's conversation holds %d messages, of which %d wait, want %d", len(lines), c.LastSeq-c.AnsweredSeq, len(order))
				}
				for i, l := range lines {
					if l.Body != string(order[i]) {
						t.Fatalf("message %d is %q, want %q", i, l.Body, order[i])
					}
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

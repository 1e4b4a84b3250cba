package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"

	"go.uber.org/goleak"
)

const (
	desk     = "12025550111"
	customer = "12025550122"
)

func TestPhoneLinksAnAccountByScanningItsCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	a := w.awaitStatus(account, store.StatusConnected)
	if a.Phone == nil || *a.Phone != desk || a.LID == nil {
		t.Fatalf("the account does not know its phone and LID: %v, %v", a.Phone, a.LID)
	}
	if wanted, err := w.store.PairingNow(t.Context(), account); err == nil || !w.wa.Phone(desk).Connected() {
		t.Fatalf("connected: %v, wanted: %v, %v", w.wa.Phone(desk).Connected(), wanted, err)
	}
}

func TestOnePhoneLinksOneAccountOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	first := w.pair(desk)
	must(t, m.Close(t.Context()))
	must(t, w.wa.Phone(desk).Unlink(t.Context()))
	w.manager("b", func(o *bot.Options) { o.Store = &deaf{Store: w.store, account: first} })
	second, err := w.store.AddAccount(t.Context(), store.KindWhatsApp, "Second desk", 100)
	must(t, err)
	code := w.code(second.ID)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.wa.Phone(desk).Scan(ctx, code); err == nil {
		t.Fatal("a phone that belongs to another account was accepted")
	}
	eventually(t, "a cause that names the reason", func() bool {
		a, err := w.store.Account(t.Context(), second.ID)
		must(t, err)
		return a.JID == nil && a.StatusCause != ""
	})
}

func TestMessageIsStoredBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := make(chan struct{})
	w.manager("a", func(o *bot.Options) { o.Store = &slow{Store: w.store, gate: gate} })
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	eventually(t, "the message on the socket", func() bool { return w.status(customer) == wasim.Sent })
	if n := len(w.conversations(account)); n != 0 {
		t.Fatalf("%d conversations before the message was stored", n)
	}
	time.Sleep(200 * time.Millisecond) // long enough for an acknowledgement that must not come
	if w.status(customer) != wasim.Sent {
		t.Fatalf("the message was %q before it was stored", w.status(customer))
	}
	close(gate)
	eventually(t, "the acknowledgement", func() bool { return w.status(customer) == wasim.Delivered })
	numbered(t, w.awaitReceived(account, 1), "message", 1)
}

func TestMessagesThatStorageRefusedComeAgainInOrder(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("disk full") },
		"panic": func() error { panic("a bug in a handler") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			faulty := &faulty{Store: w.store, fail: fail, at: map[int]bool{3: true, 4: true, 9: true}}
			w.manager("a", func(o *bot.Options) { o.Store = faulty })
			account := w.pair(desk)
			w.write(customer, desk, 1, 20)
			numbered(t, w.awaitReceived(account, 20), "message", 1)
			eventually(t, "all acknowledged", func() bool {
				for _, m := range w.wa.Customer(customer).Messages(desk) {
					if m.Status != wasim.Delivered && m.Status != wasim.Read {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestMessageThatAlwaysBreaksItsHandlingKeepsItsPlaceAndPeopleHearOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a", func(o *bot.Options) { o.Store = &allergic{w.store, "message 2"} })
	account := w.pair(desk)
	w.write(customer, desk, 1, 3)
	if got := w.awaitReceived(account, 3); !slices.Equal(got, []string{"message 1", "", "message 3"}) {
		t.Errorf("stored %q", got)
	}
	alerts, err := w.store.Alerts(t.Context(), false, store.Page{Limit: 10})
	must(t, err)
	if !slices.ContainsFunc(alerts, func(a store.Alert) bool { return a.Kind == "message_unstorable" }) {
		t.Errorf("alerts %+v", alerts)
	}
}

// What a connection has brought and not handled yet must not be stored once another
// has begun to bring what was refused on it.
func TestMessagesOfAnOldConnectionAreNotStoredBeforeWhatWasRefusedOnIt(t *testing.T) {
	t.Parallel()
	const desks = 6 // each has an even chance to show the fault
	w := newWorld(t)
	turned := newTurned(w.store)
	w.manager("a", func(o *bot.Options) { o.Store = turned })
	var accounts []int64
	for d := range desks {
		accounts = append(accounts, w.pair(fmt.Sprint(12025550140+d)))
	}
	for d := range desks {
		number := fmt.Sprint(12025550140 + d)
		w.write(customer, number, 1, 1)
		must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Timelock, Account: number, Delay: time.Hour}))
		w.write(customer, number, 2, 4)
	}
	for _, account := range accounts {
		numbered(t, w.awaitReceived(account, 5), "message", 1)
	}
}

func TestMessagesOfDisruptedDeliveriesAreStoredOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []wasim.FaultKind{wasim.Replay, wasim.Reencrypt, wasim.CutDelivery, wasim.Garble} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.manager("a")
			account := w.pair(desk)
			w.write(customer, desk, 1, 2)
			must(t, w.wa.Fault(wasim.Fault{Kind: kind, Account: desk, Customer: customer}))
			w.write(customer, desk, 3, 1)
			w.awaitReceived(account, 3)
			w.write(customer, desk, 4, 2)
			numbered(t, w.awaitReceived(account, 5), "message", 1)
			eventually(t, "nothing left to deliver", func() bool { return w.wa.Customer(customer).Messages(desk)[2].Status == wasim.Delivered })
			if n := len(w.awaitReceived(account, 5)); n != 5 {
				t.Fatalf("%d messages stored, not 5", n)
			}
		})
	}
}

func TestAnswersReachTheCustomerOnceWhateverBecomesOfTheAcknowledgement(t *testing.T) {
	t.Parallel()
	for _, kind := range []wasim.FaultKind{
		wasim.AckDrop, wasim.AckSwallow, wasim.AckDelay, wasim.CutBefore, wasim.CutAfter, wasim.Retry, wasim.Nack,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.manager("a")
			account := w.pair(desk)
			w.write(customer, desk, 1, 1)
			w.awaitReceived(account, 1)
			must(t, w.wa.Fault(wasim.Fault{Kind: kind, Account: desk, Customer: customer, After: 2, Count: 2, Delay: time.Second, Code: 479}))
			w.queue(m, account, customer, 1, 6)
			numbered(t, bodies(w.awaitAnswers(customer, desk, 6)), "answer", 1)
			eventually(t, "all marked as sent", func() bool {
				n, err := w.store.PendingOutbound(t.Context())
				must(t, err)
				return n == 0
			})
			if n := len(w.awaitAnswers(customer, desk, 6)); n != 6 {
				t.Fatalf("the customer sees %d answers, not 6", n)
			}
		})
	}
}

func TestReinstalledCustomerReadsAnswersAndIsHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	w.queue(m, account, customer, 1, 1)
	w.awaitAnswers(customer, desk, 1)
	w.wa.Customer(customer).Reinstall()
	w.queue(m, account, customer, 2, 1)
	numbered(t, bodies(w.awaitAnswers(customer, desk, 2)), "answer", 1)
	w.write(customer, desk, 2, 1)
	numbered(t, w.awaitReceived(account, 2), "message", 1)
}

func TestMessageTypedOnThePhoneGivesTheConversationToThePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	_, err := w.wa.Phone(desk).Send(t.Context(), customer, "I will take this one")
	must(t, err)
	eventually(t, "a person has the conversation", func() bool {
		c := w.conversations(account)[0]
		return c.State == store.StateHuman && c.AnsweredSeq == c.LastSeq
	})
}

func TestDisconnectedAccountComesBackByItself(t *testing.T) {
	t.Parallel()
	for _, f := range []wasim.Fault{{Kind: wasim.Cut}, {Kind: wasim.StreamError, Code: 503}, {Kind: wasim.StreamError, Code: 515}} {
		t.Run(fmt.Sprint(f.Kind, f.Code), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.manager("a")
			account := w.pair(desk)
			f.Account = desk
			must(t, w.wa.Fault(f))
			w.write(customer, desk, 1, 3)
			numbered(t, w.awaitReceived(account, 3), "message", 1)
			w.awaitStatus(account, store.StatusConnected)
		})
	}
}

func TestStatusSaysWhyAnAccountIsNotConnected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  wasim.Fault
		status store.Status
	}{
		"unlinked on the phone": {wasim.Fault{Kind: wasim.LoggedOut}, store.StatusLoggedOut},
		"used elsewhere":        {wasim.Fault{Kind: wasim.Replaced}, store.StatusReconnecting},
		"restricted":            {wasim.Fault{Kind: wasim.Refuse, Code: 402, Delay: time.Hour}, store.StatusRestricted},
		"too old":               {wasim.Fault{Kind: wasim.Refuse, Code: 405}, store.StatusOutdated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.manager("a")
			account := w.pair(desk)
			c.fault.Account = desk
			must(t, w.wa.Fault(c.fault))
			if c.fault.Kind == wasim.Refuse {
				must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Cut, Account: desk}))
			}
			eventually(t, "the status and its cause", func() bool {
				a, err := w.store.Account(t.Context(), account)
				must(t, err)
				return a.Status == c.status && a.StatusCause != ""
			})
		})
	}
}

func TestLogoutUnlinksThePhoneAndKeepsTheConversations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	must(t, w.store.Want(t.Context(), account, store.WantLogout, 100))
	eventually(t, "the phone without a device", func() bool { return !w.wa.Phone(desk).Linked() })
	eventually(t, "the account without a phone", func() bool {
		a, err := w.store.Account(t.Context(), account)
		must(t, err)
		return !a.Paired()
	})
	if n := len(w.conversations(account)); n != 1 {
		t.Fatalf("%d conversations are left", n)
	}
	must(t, w.store.Want(t.Context(), account, store.WantRun, 100))
	must(t, w.wa.Phone(desk).Scan(t.Context(), w.code(account)))
	w.awaitStatus(account, store.StatusConnected)
}

func TestRestartReceivesWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 2)
	w.awaitReceived(account, 2)
	must(t, m.Close(t.Context()))
	w.write(customer, desk, 3, 5)
	w.manager("b")
	numbered(t, w.awaitReceived(account, 7), "message", 1)
}

func TestPausedManagerLeavesMessagesToItsSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	m.Pause()
	w.write(customer, desk, 1, 3)
	eventually(t, "the messages on the socket", func() bool { return w.wa.Customer(customer).Messages(desk)[2].Status == wasim.Sent })
	must(t, m.Close(t.Context()))
	if n := len(w.conversations(account)); n != 0 {
		t.Fatalf("a paused manager stored messages of %d conversations", n)
	}
	w.manager("b")
	numbered(t, w.awaitReceived(account, 3), "message", 1)
}

func TestAnotherProcessTakesTheAccountsOfASilentOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost := &silent{Store: w.store}
	first := w.manager("a", func(o *bot.Options) { o.Store, o.Lease = lost, 4*time.Second })
	account := w.pair(desk)
	w.write(customer, desk, 1, 2)
	w.awaitReceived(account, 2)
	lost.from.Store(true)
	second := w.manager("b", func(o *bot.Options) { o.Lease = 2 * time.Second })
	eventually(t, "the first to let go", func() bool { return len(first.Held()) == 0 })
	eventually(t, "the second to hold the account", func() bool { return len(second.Held()) == 1 })
	w.write(customer, desk, 3, 2)
	numbered(t, w.awaitReceived(account, 4), "message", 1)
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	w := newWorld(t)
	before := goleak.IgnoreCurrent()
	m := w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 3)
	w.awaitReceived(account, 3)
	must(t, m.Close(t.Context()))
	must(t, w.wa.Close(t.Context()))
	goleak.VerifyNone(t, before)
}

// status is how far the customer's only message got.
func (w *world) status(customer string) string {
	sent := w.wa.Customer(customer).Messages(desk)
	return sent[len(sent)-1].Status
}

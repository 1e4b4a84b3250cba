package bot_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"
)

const stranger = "12025550133" // never writes

// window is short enough to wait for it several times.
const window = 6 * time.Second

func inWindows(o *bot.Options) { o.RateWindow = window }

// say queues one message as the API does and rings for the account's owner.
func (w *world) say(account int64, to, text string, change ...func(*store.Parcel)) store.Outbound {
	w.t.Helper()
	contact, err := w.store.ResolveContact(w.t.Context(), to, "", "")
	must(w.t, err)
	p := store.Parcel{AccountID: account, ContactID: contact, Chat: to + "@s.whatsapp.net", Origin: "api", Body: text}
	for _, c := range change {
		c(&p)
	}
	o, _, err := w.store.Queue(w.t.Context(), p)
	must(w.t, err)
	must(w.t, w.store.Ring(w.t.Context(), "send", account))
	return o
}

// awaitState waits until a message of ours got that far.
func (w *world) awaitState(o store.Outbound, state string) store.Outbound {
	w.t.Helper()
	eventually(w.t, "a message to be "+state, func() bool {
		var err error
		o, err = w.store.SentMessage(w.t.Context(), o.AccountID, o.ID)
		must(w.t, err)
		return o.Status == state
	})
	return o
}

// fastest is how many of the times fall into half a window: what leaves a whole one
// apart may come closer together on a busy machine.
func fastest(times []time.Time) (most int) {
	for i := range times {
		n := 0
		for _, at := range times[i:] {
			if at.Sub(times[i]) < window/2 {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func times(messages []wasim.Message) []time.Time {
	var all []time.Time
	for _, m := range messages {
		all = append(all, m.At)
	}
	return all
}

func TestPaceDefersInOrderAndDropsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a", inWindows)
	account := w.pair(desk)
	w.paced(account, 5, 3)
	must(t, m.Close(t.Context()))
	for i := range 8 {
		w.say(account, customer, fmt.Sprint("answer ", i+1))
	}
	w.say(account, stranger, "meanwhile")
	w.manager("b", inWindows)
	others := w.awaitAnswers(stranger, desk, 1)
	seen := w.awaitAnswers(customer, desk, 8)
	numbered(t, bodies(seen), "answer", 1)
	if fourth := seen[3].At; others[0].At.After(fourth) {
		t.Errorf("another recipient waited %v longer than one who was over the pace", others[0].At.Sub(fourth))
	}
	if n := fastest(times(seen)); n > 3 {
		t.Errorf("%d messages to one person in a window, want 3 at most", n)
	}
	all := append(times(seen), times(others)...)
	slices.SortFunc(all, time.Time.Compare)
	if n := fastest(all); n > 5 {
		t.Errorf("%d messages of the account in a window, want 5 at most", n)
	}
}

func TestAnswersToCustomersGoFirstWhenThePaceIsScarce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a", inWindows)
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	w.paced(account, 2, 0)
	for i := range 10 {
		w.say(account, fmt.Sprint(12025550140+i), "news")
	}
	eventually(t, "the pace to be used up", func() bool { return m.Stats().Sent >= 2 })
	c := w.conversations(account)
	at := slices.IndexFunc(c, func(c store.ConversationSummary) bool { return c.LastSeq == 1 })
	queued, err := w.store.Answer(t.Context(), store.Reply{
		ConversationID: c[at].ID, Hi: 1, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "answer 1"}},
	})
	if err != nil || !queued {
		t.Fatal(queued, err)
	}
	m.Send(account, c[at].ID)
	w.awaitAnswers(customer, desk, 1)
	if n := m.Stats().Sent; n > 5 {
		t.Errorf("the answer was message %d of 11; it should have gone before all that waited", n)
	}
}

func TestRestartRaisesNoPace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := func(o *bot.Options) { o.RateWindow = time.Minute }
	m := w.manager("a", slow)
	account := w.pair(desk)
	w.paced(account, 0, 2)
	for i := range 3 {
		w.say(account, customer, fmt.Sprint("answer ", i+1))
	}
	w.awaitAnswers(customer, desk, 2)
	must(t, m.Close(t.Context()))
	next := w.manager("b", slow)
	w.awaitStatus(account, store.StatusConnected)
	w.say(account, stranger, "to somebody else")
	w.awaitAnswers(stranger, desk, 1)
	eventually(t, "the message to somebody else to be marked", func() bool { return next.Stats().Sent == 1 })
	if n := len(w.awaitAnswers(customer, desk, 2)); n != 2 {
		t.Fatalf("after a restart %d messages to one person within the window, want 2", n)
	}
	w.paced(account, 0, 3)
	numbered(t, bodies(w.awaitAnswers(customer, desk, 3)), "answer", 1)
}

func TestScheduledMessageLeavesAtItsTimeAndBlocksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	at := time.Now().Add(15 * time.Second)
	w.say(account, customer, "later", func(p *store.Parcel) { p.DueAt = &at })
	w.say(account, customer, "now")
	seen := w.awaitAnswers(customer, desk, 2)
	if got := bodies(seen); !slices.Equal(got, []string{"now", "later"}) {
		t.Fatalf("the customer saw %v", got)
	}
	if early := at.Sub(seen[1].At); early > 0 {
		t.Errorf("the scheduled message came %v before its time", early)
	}
}

func TestChatThatWhatsAppRefusesWaitsForTheEndOfTheRestriction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Nack, Account: desk, Customer: stranger, Code: 463, Count: 1}))
	first := w.say(account, stranger, "answer 1")
	restricted := w.awaitStatus(account, store.StatusRestricted)
	if restricted.Restriction != store.NoNewChats || time.Until(*restricted.RestrictedUntil) < 23*time.Hour {
		t.Fatalf("restriction %q until %v, want new chats for a day", restricted.Restriction, restricted.RestrictedUntil)
	}
	eventually(t, "the refused message to wait for the end of the restriction", func() bool {
		var err error
		first, err = w.store.SentMessage(t.Context(), account, first.ID)
		must(t, err)
		return first.Status == "queued" && first.DueAt.Equal(*restricted.RestrictedUntil)
	})
	if first.Attempts != 1 || first.Failure == "" {
		t.Errorf("the refused message: %+v; want one attempt and a cause", first)
	}
	w.say(account, customer, "a running chat") // is answered
	w.awaitAnswers(customer, desk, 1)
	must(t, w.store.Ring(t.Context(), "send", account))
	w.say(account, customer, "and again")
	w.awaitAnswers(customer, desk, 2)
	if o, err := w.store.SentMessage(t.Context(), account, first.ID); err != nil || o.Attempts != 1 {
		t.Fatalf("the refused chat was tried %d times: %v", o.Attempts, err)
	}
	must(t, w.store.Restrict(t.Context(), account, store.Unrestricted, time.Time{}))
	must(t, w.store.Ring(t.Context(), "account", account))
	w.say(account, stranger, "answer 2")
	numbered(t, bodies(w.awaitAnswers(stranger, desk, 2)), "answer", 1)
	w.awaitStatus(account, store.StatusConnected)
}

// timely has the customer write just before a chat that WhatsApp refused is held.
type timely struct {
	*store.Store

	write func()
}

func (s *timely) Hold(ctx context.Context, conversation, seq int64) error {
	s.write()
	return s.Store.Hold(ctx, conversation, seq)
}

func TestRefusedChatGoesOnWhenTheCustomerWritesMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	received := make(chan struct{})
	w.manager("a", func(o *bot.Options) {
		o.Received = func(int64, int64, time.Duration) { close(received) }
		o.Store = &timely{w.store, func() {
			w.write(customer, desk, 1, 1)
			<-received
		}}
	})
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Nack, Account: desk, Customer: customer, Code: 463, Count: 1}))
	w.say(account, customer, "answer 1")
	numbered(t, bodies(w.awaitAnswers(customer, desk, 1)), "answer", 1)
}

func TestRefusedChatGoesOnWhenTheCustomerWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Nack, Account: desk, Customer: customer, Code: 463, Count: 1}))
	o := w.say(account, customer, "answer 1")
	w.awaitStatus(account, store.StatusRestricted)
	w.write(customer, desk, 1, 1)
	numbered(t, bodies(w.awaitAnswers(customer, desk, 1)), "answer", 1)
	if o, err := w.store.SentMessage(t.Context(), account, o.ID); err != nil || o.Attempts != 2 {
		t.Errorf("it was tried %d times, want 2: %v", o.Attempts, err)
	}
}

func TestMessageWithoutAnAcknowledgementIsPerhapsSentUntilItIs(t *testing.T) {
	t.Parallel()
	for kind, attempts := range map[wasim.FaultKind]int{wasim.AckDrop: 1, wasim.AckSwallow: 2, wasim.Nack: 2, wasim.AckDelay: 1} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.manager("a")
			account := w.pair(desk)
			must(t, w.wa.Fault(wasim.Fault{Kind: kind, Account: desk, Customer: customer, Delay: time.Second, Code: 479}))
			o := w.say(account, customer, "answer 1")
			uncertain := kind == wasim.AckSwallow
			o = w.awaitState(o, "read")
			if o.Attempts != attempts || (o.PerhapsAt != nil) != uncertain || o.SentAt == nil || o.DeliveredAt == nil {
				t.Errorf("%+v, want %d attempts", o, attempts)
			}
			if seen := w.awaitAnswers(customer, desk, 1); len(seen) != 1 || seen[0].ID != o.WaID {
				t.Errorf("the customer sees %v", seen)
			}
		})
	}
}

func TestReplyQuotesTheCustomersMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	question := w.wa.Customer(customer).Messages(desk)[0].ID
	o := w.say(account, customer, "answer 1", func(p *store.Parcel) { p.ReplyTo = question })
	if seen := w.awaitAnswers(customer, desk, 1)[0]; seen.QuotedID != question || seen.Text != "answer 1" {
		t.Fatalf("the customer sees %q, which quotes %q; want %q", seen.Text, seen.QuotedID, question)
	}
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Retry, Account: desk, Customer: customer})) // encrypted anew
	w.say(account, customer, "answer 2", func(p *store.Parcel) { p.ReplyTo = o.WaID })
	if seen := w.awaitAnswers(customer, desk, 2)[1]; seen.QuotedID != o.WaID || seen.Text != "answer 2" {
		t.Fatalf("the customer sees %q, which quotes %q; want %q", seen.Text, seen.QuotedID, o.WaID)
	}
}

func TestAccountIsLookedAfterAgainOnceItsPingsAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.MutePings, Account: desk, Count: 1}))
	eventually(t, "a ping without an answer, and one with", func() bool { return w.wa.Stats()["iq.w:p.get"] >= 2 })
	_, err := w.store.ChangeAccount(t.Context(), account, store.AccountChange{Presence: new(true)})
	must(t, err)
	eventually(t, "presence", func() bool { return w.wa.Stats()["presence.available"] >= 1 })
}

func TestPresenceIsShownOnlyWhileTheAccountWantsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	m.Typing(t.Context(), account, customer+"@s.whatsapp.net", true)
	eventually(t, "typing to be shown", func() bool { return w.wa.Customer(customer).Typing(desk) })
	if n := w.wa.Stats()["presence.available"]; n != 0 {
		t.Fatalf("shown as available %d times without being asked", n)
	}
	show := func(on bool) {
		_, err := w.store.ChangeAccount(t.Context(), account, store.AccountChange{Presence: &on})
		must(t, err)
	}
	show(true)
	eventually(t, "presence", func() bool { return w.wa.Stats()["presence.available"] >= 1 })
	before := w.wa.Stats()["presence.available"]
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Cut, Account: desk}))
	eventually(t, "presence on the next connection", func() bool { return w.wa.Stats()["presence.available"] > before })
	show(false)
	eventually(t, "no presence any more", func() bool { return w.wa.Stats()["presence.unavailable"] >= 1 })
}

func TestCustomerWhoTypesIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var waits []time.Duration
	var signs atomic.Int64 // that were dealt with
	w.manager("a", func(o *bot.Options) {
		o.Typing = func(int64, int64, bool) {}
		o.Watched = func() bool {
			signs.Add(1)
			return false
		}
		o.Received = func(_, _ int64, wait time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, wait)
		}
	})
	account := w.pair(desk)
	heard := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(waits)
	}
	ms := 10_000
	_, err := w.store.ChangeAccount(t.Context(), account, store.AccountChange{Presence: new(true), DebounceMs: &ms})
	must(t, err)
	w.write(customer, desk, 1, 1) // the phone's name comes with it, and presence needs one
	eventually(t, "presence", func() bool { return w.wa.Stats()["presence.available"] >= 1 })
	must(t, w.wa.Customer(stranger).SetTyping(desk, true)) // nothing of theirs waits yet
	eventually(t, "the first sign", func() bool { return signs.Load() == 1 })
	w.write(stranger, desk, 1, 1)
	eventually(t, "the message", func() bool { return heard() == 2 })
	must(t, w.wa.Customer(stranger).SetTyping(desk, false))
	must(t, w.wa.Customer(stranger).SetTyping(desk, true))
	eventually(t, "the typing to be heard", func() bool { return heard() == 3 })
}

// Those who follow hear in which conversation a customer types and that they have
// stopped. Nothing is looked up for nobody.
func TestWhoFollowsHearsThatACustomerTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := make(chan string, 10)
	var watched atomic.Bool
	var signs atomic.Int64
	w.manager("a", func(o *bot.Options) {
		o.Typing = func(account, conversation int64, on bool) { heard <- fmt.Sprint(account, conversation, on) }
		o.Watched = func() bool {
			defer signs.Add(1)
			return watched.Load()
		}
	})
	account := w.pair(desk)
	_, err := w.store.ChangeAccount(t.Context(), account, store.AccountChange{Presence: new(true)})
	must(t, err)
	w.write(customer, desk, 1, 1)
	eventually(t, "presence", func() bool { return w.wa.Stats()["presence.available"] >= 1 })
	w.awaitReceived(account, 1)
	all, err := w.store.Conversations(t.Context(), account, 0, store.Page{Limit: 1})
	must(t, err)
	must(t, w.wa.Customer(customer).SetTyping(desk, true)) // nobody follows yet
	eventually(t, "the first sign", func() bool { return signs.Load() == 1 })
	watched.Store(true)
	must(t, w.wa.Customer(stranger).SetTyping(desk, true)) // has never written
	for _, on := range []bool{true, false} {
		must(t, w.wa.Customer(customer).SetTyping(desk, on))
		if got, want := <-heard, fmt.Sprint(account, all[0].ID, on); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
}

package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
)

// paired is a desk whose account is linked to a phone since now.
func pairedDesk(t *testing.T) desk {
	t.Helper()
	d := newDesk(t)
	must(t, d.SetIdentity(t.Context(), d.account, "12025550111:1@s.whatsapp.net", "12025550111", ""))
	return d
}

// begin queues a message to somebody who never wrote.
func (d desk) begin(t *testing.T, stranger int, due *time.Time) error {
	t.Helper()
	number := fmt.Sprint(12025550200 + stranger)
	contact, err := d.ResolveContact(t.Context(), number, "", "")
	must(t, err)
	_, _, err = d.Queue(t.Context(), store.Parcel{AccountID: d.account, ContactID: contact, Chat: number + "@s.whatsapp.net", Origin: "api", Body: "x", DueAt: due})
	return err
}

func (d desk) change(t *testing.T, c store.AccountChange) {
	t.Helper()
	_, err := d.ChangeAccount(t.Context(), d.account, c)
	must(t, err)
}

// refusal is the refusal in err, or fails.
func refusal(t *testing.T, err error, code string) *store.RefusedError {
	t.Helper()
	var refused *store.RefusedError
	if !errors.As(err, &refused) || refused.Code != code || refused.After <= 0 {
		t.Fatalf("got %v, want a refusal %q with a time", err, code)
	}
	return refused
}

func (d desk) beginMany(t *testing.T, from, n int) (begun int) {
	t.Helper()
	var count atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := d.begin(t, from+i, nil); err == nil {
				count.Add(1)
			} else if refused := (*store.RefusedError)(nil); !errors.As(err, &refused) || refused.Code != "new_chat_budget" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return int(count.Load())
}

func TestNewChatsOfADayAreCountedExactly(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{PaceAccount: new(0)})
	if n := d.beginMany(t, 0, 30); n != 10 {
		t.Fatalf("a young account began %d chats at once, want 10", n)
	}
	if r := refusal(t, d.begin(t, 100, nil), "new_chat_budget"); r.After > 24*time.Hour || r.After < 23*time.Hour {
		t.Errorf("try again after %v, want about a day", r.After)
	}
	for _, p := range d.pending(t) {
		must(t, d.MarkSent(t.Context(), p))
	}
	must(t, d.Skew(t.Context(), 24*time.Hour+time.Minute))
	if n := d.beginMany(t, 200, 12); n != 10 {
		t.Errorf("a day later it began %d chats, want 10", n)
	}
	must(t, d.Skew(t.Context(), 15*24*time.Hour))
	for _, p := range d.pending(t) {
		must(t, d.MarkSent(t.Context(), p))
	}
	must(t, d.Skew(t.Context(), 17*24*time.Hour))
	if n := d.beginMany(t, 300, 55); n != 50 {
		t.Errorf("a grown account began %d chats, want 50", n)
	}
}

// pending are the ids of all bubbles that wait.
func (d desk) pending(t *testing.T) (ids []int64) {
	t.Helper()
	rows, err := d.PendingSends(t.Context(), []int64{d.account}, 1000)
	must(t, err)
	must(t, d.RenewOwn(t))
	for _, p := range rows {
		c, err := d.Claim(t.Context(), p.ConversationID, d.process)
		must(t, err)
		ids = append(ids, c.ID)
	}
	return ids
}

// RenewOwn keeps the account's lease although the clock was moved.
func (d desk) RenewOwn(t *testing.T) error {
	t.Helper()
	_, err := d.RenewLeases(t.Context(), d.process, time.Hour)
	return err
}

func TestBudgetOfNewChatsCountsScheduledOnesAtTheirTime(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{PaceAccount: new(0), NewChatsPerDay: new(2)})
	at := func(hours int) *time.Time { return new(time.Now().Add(time.Duration(hours) * time.Hour)) }
	must(t, d.begin(t, 1, at(12)))
	must(t, d.begin(t, 2, at(30)))
	refusal(t, d.begin(t, 3, at(20)), "new_chat_budget") // 12, 20 and 30 are within a day
	must(t, d.begin(t, 4, nil))
	refusal(t, d.begin(t, 5, at(11)), "new_chat_budget")
	must(t, d.begin(t, 6, at(37)))
}

func TestBudgetOfNewChatsLeavesRunningChatsAlone(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{PaceAccount: new(0), NewChatsPerDay: new(0)})
	refusal(t, d.begin(t, 1, nil), "new_chat_budget")
	d.receive(t, "A")
	_, _, err := d.Queue(t.Context(), store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x"})
	must(t, err)
	d.change(t, store.AccountChange{NewChatsPerDay: new(1)})
	must(t, d.begin(t, 1, nil))
	must(t, d.begin(t, 1, nil)) // the same chat
	refusal(t, d.begin(t, 2, nil), "new_chat_budget")
	if n, err := d.PendingOutbound(t.Context()); err != nil || n != 3 {
		t.Errorf("%d messages are queued, want 3: %v", n, err)
	}
	d.change(t, store.AccountChange{NewChatsPerDay: new(-1)})
	if a, err := d.Account(t.Context(), d.account); err != nil || a.NewChatsPerDay != nil {
		t.Errorf("-1 gave %v, want the usual number: %v", a.NewChatsPerDay, err)
	}
}

func TestBacklogOfMoreThanFiveMinutesIsRefused(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{PaceAccount: new(2)})
	d.receive(t, "A")
	p := store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x"}
	for range 10 {
		_, _, err := d.Queue(t.Context(), p)
		must(t, err)
	}
	_, _, err := d.Queue(t.Context(), p)
	if r := refusal(t, err, "pace"); r.After != 30*time.Second {
		t.Errorf("try again after %v, want 30 s: one leaves every 30 s", r.After)
	}
	p.DueAt = new(time.Now().Add(time.Hour))
	_, _, err = d.Queue(t.Context(), p)
	must(t, err)
	p.DueAt, p.Origin = nil, "person"
	_, _, err = d.Queue(t.Context(), p)
	must(t, err)
}

func TestReplayIsNeverRefused(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{NewChatsPerDay: new(1), PaceAccount: new(1)})
	p := store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x", IdempotencyKey: "k", RequestHash: []byte("1")}
	first, _, err := d.Queue(t.Context(), p)
	must(t, err)
	for range 4 {
		_, _, err := d.Queue(t.Context(), store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x"})
		must(t, err)
	}
	again, replayed, err := d.Queue(t.Context(), p)
	if err != nil || !replayed || again.ID != first.ID {
		t.Errorf("the same key at a full pace gave message %d, replayed %v, %v; want message %d", again.ID, replayed, err, first.ID)
	}
	p.RequestHash = []byte("2")
	if _, _, err := d.Queue(t.Context(), p); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("the key with another request gave %v, want ErrKeyReused", err)
	}
}

func TestRestrictedAccountBeginsNoChatsAndAnswersRunningOnes(t *testing.T) {
	d := pairedDesk(t)
	d.change(t, store.AccountChange{PaceAccount: new(0)})
	must(t, d.begin(t, 1, nil))
	until := time.Now().Add(time.Hour)
	must(t, d.Restrict(t.Context(), d.account, store.NoNewChats, until))
	if r := refusal(t, d.begin(t, 2, nil), "restricted"); r.After > time.Hour || r.After < 59*time.Minute {
		t.Errorf("try again after %v, want an hour", r.After)
	}
	must(t, d.begin(t, 2, new(until.Add(time.Minute)))) // it is over then

	queued, err := d.PendingSends(t.Context(), []int64{d.account}, 10)
	must(t, err)
	if _, err := d.Claim(t.Context(), queued[0].ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a new chat was claimed: %v", err)
	}
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	c, err := d.Claim(t.Context(), r.ConversationID, d.process)
	if err != nil || c.NextIn == nil || !c.Answers {
		t.Fatalf("a running chat gave %+v, %v", c, err)
	}

	must(t, d.MarkUnsent(t.Context(), c.ID, "463"))
	must(t, d.Hold(t.Context(), r.ConversationID, r.Seq))
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a held chat was claimed: %v", err)
	}
	if o, err := d.SentMessage(t.Context(), d.account, c.ID); err != nil || o.DueAt.Sub(until).Abs() > time.Second || o.Status != "queued" {
		t.Errorf("a held message is %s, due at %v, want queued and %v: %v", o.Status, o.DueAt, until, err)
	}
	d.receive(t, "B") // the customer writes: it runs again
	again, err := d.Claim(t.Context(), r.ConversationID, d.process)
	if err != nil || again.ID != c.ID || again.Attempts != 2 {
		t.Errorf("after the customer wrote: %+v, %v; want message %d a second time", again, err, c.ID)
	}
	must(t, d.Restrict(t.Context(), d.account, store.Unrestricted, time.Time{}))
	if _, err := d.Claim(t.Context(), queued[0].ConversationID, d.process); err != nil {
		t.Errorf("after the restriction: %v", err)
	}
}

func TestMessageIsCancelledUntilItIsTried(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	c, err := d.Claim(t.Context(), r.ConversationID, d.process)
	must(t, err)
	if _, err := d.CancelMessage(t.Context(), d.account, c.ID); !errors.Is(err, store.ErrTooLate) {
		t.Errorf("a message under way: %v, want ErrTooLate", err)
	}
	must(t, d.MarkUncertain(t.Context(), c.ID))
	if o, err := d.SentMessage(t.Context(), d.account, c.ID); err != nil || o.Status != "perhaps_sent" || o.PerhapsAt == nil {
		t.Errorf("after a try without an answer it is %q: %v", o.Status, err)
	}
	must(t, d.MarkSent(t.Context(), c.ID))
	must(t, d.MarkReceipts(t.Context(), []store.Mark{{AccountID: d.account, WaID: c.WaID, Receipt: store.Played}}))
	if o, err := d.SentMessage(t.Context(), d.account, c.ID); err != nil || o.Status != "played" || o.ReadAt == nil || o.DeliveredAt == nil {
		t.Errorf("a played message is %q: %v", o.Status, err)
	}
	for range 2 {
		o, err := d.CancelMessage(t.Context(), d.account, c.ID+1)
		if err != nil || o.Status != "cancelled" {
			t.Errorf("a queued message: %q, %v", o.Status, err)
		}
	}
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a cancelled message was claimed: %v", err)
	}
	if _, err := d.CancelMessage(t.Context(), d.account+1, c.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another account: %v, want ErrNotFound", err)
	}
}

func TestReplyQuotesAMessageOfItsChatOnly(t *testing.T) {
	d := pairedDesk(t)
	d.receive(t, "A")
	p := store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x", ReplyTo: "A"}
	first, _, err := d.Queue(t.Context(), p)
	must(t, err)
	if q, err := d.Quoted(t.Context(), first.ConversationID, "A"); err != nil || q.Ours || q.Body != "hello" {
		t.Errorf("quoted %+v, %v", q, err)
	}
	p.ReplyTo = first.WaID
	_, _, err = d.Queue(t.Context(), p)
	must(t, err)
	p.ReplyTo = "B"
	if _, _, err := d.Queue(t.Context(), p); !errors.Is(err, store.ErrNoQuoted) {
		t.Errorf("an unknown message gave %v, want ErrNoQuoted", err)
	}
}

func TestClaimLooksForTheNextBubbleOnlyWhereThereIsOne(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, true) // two bubbles
	for _, want := range []bool{true, false} {
		c, err := d.Claim(t.Context(), r.ConversationID, d.process)
		must(t, err)
		if more := c.NextIn != nil; more != want {
			t.Errorf("another bubble is expected: %t, want %t", more, want)
		}
		must(t, d.MarkSent(t.Context(), c.ID))
	}
}

func TestTryThatACrashCutOffMayHaveArrivedWhateverComesLater(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	_, err := d.Claim(t.Context(), r.ConversationID, d.process) // its frame leaves, then the process dies
	must(t, err)
	c, err := d.Claim(t.Context(), r.ConversationID, d.process)
	must(t, err)
	must(t, d.MarkUnsent(t.Context(), c.ID, "429"))
	if o, err := d.CancelMessage(t.Context(), d.account, c.ID); !errors.Is(err, store.ErrTooLate) {
		t.Errorf("what may have arrived was cancelled: %q, %v", o.Status, err)
	}
}

func TestAnswerThatNeverLeftEndsWithTheBotsTurn(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	c, err := d.Claim(t.Context(), r.ConversationID, d.process)
	must(t, err)
	must(t, d.SetState(t.Context(), r.ConversationID, store.StateHuman, "test"))
	must(t, d.SetState(t.Context(), r.ConversationID, store.StateBot, "test"))
	must(t, d.MarkUnsent(t.Context(), c.ID, "429"))
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an answer from before a person spoke leaves: %v", err)
	}
}

func TestGivingTheBotWhatItHasChangesNothing(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	must(t, d.SetState(t.Context(), r.ConversationID, store.StateBot, "test"))
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); err != nil {
		t.Errorf("the answer under way was dropped: %v", err)
	}
}

// The accounts that are being paired are usually the newest ones. One that moves to
// another process withdraws the code that somebody is about to scan.
func TestAccountThatIsBeingPairedStaysWhereItsCodeIsShown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	pairing, err := d.AddAccount(t.Context(), store.KindWhatsApp, "Second shop", 100)
	must(t, err)
	_, err = d.RenewLeases(t.Context(), d.process, time.Hour)
	must(t, err)
	_, err = d.WantPairing(t.Context(), pairing.ID, time.Minute)
	must(t, err)
	other := store.Process{ID: "q", Kind: store.KindWhatsApp, Cap: 100}
	_, err = d.RenewLeases(t.Context(), other, time.Hour)
	must(t, err)
	h, err := d.RenewLeases(t.Context(), d.process, time.Hour)
	must(t, err)
	if len(h.Leases) != 1 || h.Leases[0].AccountID != pairing.ID {
		t.Fatalf("the process that shows the code keeps %v, not account %d", h.Leases, pairing.ID)
	}
}

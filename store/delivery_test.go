package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
)

// subscribe has somebody told of events from now on; the first deliveries are opened.
func (d desk) subscribe(t *testing.T, events ...string) store.Subscription {
	t.Helper()
	must(t, d.OpenDeliveries(t.Context()))
	c, _, err := d.AddSubscription(t.Context(), store.Subscription{URL: "http://127.0.0.1:1/hook", Events: events, Label: "shop"}, "")
	must(t, err)
	return c
}

// dispatch makes deliveries of all that has happened.
func (d desk) dispatch(t *testing.T) (made int) {
	t.Helper()
	for {
		round, err := d.DispatchDeliveries(t.Context(), 500)
		must(t, err)
		made += round.Deliveries
		if round.Events < 500 {
			return made
		}
	}
}

// claim takes what is due, as a process with much room.
func (d desk) claim(t *testing.T) []store.ClaimedDelivery {
	t.Helper()
	taken, err := d.ClaimDeliveries(t.Context(), store.DeliveryClaim{Process: "p", Lease: 30 * time.Second, Free: 100, Failing: 100, Each: 100})
	must(t, err)
	return taken
}

// claimOne takes the only due delivery.
func (d desk) claimOne(t *testing.T) store.ClaimedDelivery {
	t.Helper()
	taken := d.claim(t)
	if len(taken) != 1 {
		t.Fatalf("%d deliveries are due, want 1", len(taken))
	}
	return taken[0]
}

func (d desk) failed(t *testing.T, c store.ClaimedDelivery, f store.DeliveryFailure) store.DeliveryFate {
	t.Helper()
	f.Says = "the receiver answered 500"
	fate, err := d.DeliveryFailed(t.Context(), c, f)
	must(t, err)
	return fate
}

func (d desk) arrived(t *testing.T, c store.ClaimedDelivery) {
	t.Helper()
	must(t, d.DeliveryArrived(t.Context(), c, 200))
}

// told are the deliveries of a subscription, the oldest first.
func (d desk) told(t *testing.T, subscription int64) []store.Delivery {
	t.Helper()
	all, err := d.Deliveries(t.Context(), subscription, "", store.Page{Limit: 10_000})
	must(t, err)
	slices.Reverse(all)
	return all
}

// happen makes n events of a type that belong to no account.
func (d desk) happen(t *testing.T, kind string, n int) {
	t.Helper()
	_, err := d.db.Exec(t.Context(), `insert into event (type) select $1 from generate_series(1, $2)`, kind, n)
	must(t, err)
}

func TestEachEventBecomesOneDeliveryForEachWhoWantsIt(t *testing.T) {
	d := newDesk(t)
	all, some := d.subscribe(t, "*"), d.subscribe(t, "message.received", "provider.*")
	d.receive(t, "A")
	d.happen(t, "provider.disabled", 1)
	d.happen(t, "providers", 1)
	var made atomic.Int64
	var both sync.WaitGroup
	for range 8 {
		both.Go(func() {
			round, err := d.DispatchDeliveries(t.Context(), 500)
			if err != nil {
				t.Error(err)
			}
			made.Add(int64(round.Deliveries))
		})
	}
	both.Wait()
	made.Add(int64(d.dispatch(t)))
	var types []string
	for i, told := range d.told(t, some.ID) {
		types = append(types, told.Type)
		if told.Seq != int64(i+1) {
			t.Errorf("delivery %d has the number %d", i+1, told.Seq)
		}
	}
	if got := strings.Join(types, " "); got != "message.received provider.disabled" {
		t.Errorf("told of %s", got)
	}
	if n := len(d.told(t, all.ID)); n != 3 || made.Load() != 5 {
		t.Errorf("%d deliveries to who wants all, %d made in total, want 3 and 5", n, made.Load())
	}
}

func TestSubscriptionHearsOfItsAccountAndOfWhatComesAfterIt(t *testing.T) {
	d := newDesk(t)
	d.receive(t, "before")
	must(t, d.OpenDeliveries(t.Context()))
	other, err := d.AddAccount(t.Context(), store.KindWhatsApp, "Other", 100)
	must(t, err)
	ours, _, err := d.AddSubscription(t.Context(), store.Subscription{AccountID: &d.account, URL: "https://example.org/", Events: []string{"*"}}, "")
	must(t, err)
	theirs, _, err := d.AddSubscription(t.Context(), store.Subscription{AccountID: &other.ID, URL: "https://example.org/", Events: []string{"*"}}, "")
	must(t, err)
	d.receive(t, "A")
	d.happen(t, "provider.disabled", 1)
	d.dispatch(t)
	if got := d.told(t, ours.ID); len(got) != 1 || got[0].Type != "message.received" {
		t.Errorf("told of %+v, want one message", got)
	}
	if got := d.told(t, theirs.ID); len(got) != 0 {
		t.Errorf("the other account was told of %+v", got)
	}
	must(t, d.SetSubscriptionActive(t.Context(), ours.ID, false))
	d.receive(t, "B")
	d.dispatch(t)
	must(t, d.SetSubscriptionActive(t.Context(), ours.ID, true))
	d.receive(t, "C")
	d.dispatch(t)
	if got := d.told(t, ours.ID); len(got) != 2 || got[0].Reason != "disabled" || got[1].Status != "waiting" {
		t.Errorf("after a pause: %+v, want a dead one and what came after", got)
	}
}

func TestConversationWaitsForThreeFailuresOfTheFirst(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "message.received")
	for _, id := range []string{"A", "B", "C"} {
		d.receive(t, id)
	}
	d.dispatch(t)
	for try := range 3 {
		c := d.claimOne(t)
		if c.WaID != "A" || c.Tries != try {
			t.Fatalf("try %d is of %s with %d failures, want A", try+1, c.WaID, c.Tries)
		}
		d.failed(t, c, store.DeliveryFailure{})
	}
	for _, want := range []string{"B", "A"} { // one at a time, as nothing arrives there
		if c := d.claimOne(t); c.WaID != want {
			t.Errorf("after three failures of A %s is due, want %s", c.WaID, want)
		}
	}
}

func TestNextOfAConversationGoesAfterTheOneBefore(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "message.received")
	d.receive(t, "A")
	d.receive(t, "B")
	d.dispatch(t)
	first := d.claimOne(t)
	if again := d.claim(t); len(again) != 0 {
		t.Fatalf("%d are due beside the first", len(again))
	}
	d.receive(t, "C")
	d.dispatch(t)
	d.arrived(t, first)
	for _, want := range []string{"B", "C"} {
		c := d.claimOne(t)
		if c.WaID != want {
			t.Errorf("got %s, want %s", c.WaID, want)
		}
		d.arrived(t, c)
	}
}

// Whoever marks, dispatches and claims at once leaves no conversation stuck.
func TestManyHandsLeaveNothingBehind(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "*")
	const events = 400
	var all sync.WaitGroup
	all.Go(func() {
		for range events {
			_, err := d.db.Exec(t.Context(), `insert into event (type, execution_id) values ('x', 1)`)
			must(t, err)
		}
	})
	var done atomic.Int64
	end := time.Now().Add(time.Minute)
	goesOn := func() bool { return done.Load() < events && time.Now().Before(end) }
	for range 2 {
		all.Go(func() {
			for goesOn() {
				_, err := d.DispatchDeliveries(t.Context(), 1)
				must(t, err)
			}
		})
		all.Go(func() {
			for goesOn() {
				for _, taken := range d.claim(t) {
					if taken.Tries == 0 && taken.Seq%3 == 0 {
						d.failed(t, taken, store.DeliveryFailure{})
						continue
					}
					d.arrived(t, taken)
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	for i, told := range d.told(t, c.ID) {
		if told.Status != "delivered" || told.Seq != int64(i+1) {
			t.Fatalf("place %d: %+v", i+1, told)
		}
	}
	if done.Load() != events {
		t.Errorf("%d of %d arrived", done.Load(), events)
	}
}

// The dispatcher sees the first one wait, puts the next behind it, and commits after
// the first has arrived.
func TestNextThatIsBeingMadeWhileTheFirstArrivesGoes(t *testing.T) {
	for _, end := range []struct {
		name string
		mark func(*testing.T, desk, store.ClaimedDelivery)
	}{
		{"arrives", func(t *testing.T, d desk, c store.ClaimedDelivery) { d.arrived(t, c) }},
		{"dies", func(t *testing.T, d desk, c store.ClaimedDelivery) { d.failed(t, c, store.DeliveryFailure{Last: true}) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			d := newDesk(t)
			c := d.subscribe(t, "x")
			d.happen(t, "x", 1)
			d.dispatch(t)
			first := d.claimOne(t)
			tx, err := d.db.Begin(t.Context())
			must(t, err)
			_, err = tx.Exec(t.Context(), `update subscription set seq = 2`) // locks it as the dispatcher does
			must(t, err)
			_, err = tx.Exec(t.Context(), `
				insert into delivery (subscription_id, seq, lane, event_id, type, epoch, event_seq, test, data, at, behind)
				values ($1, 2, '', 2, 'x', 0, 0, false, '{}', clock(), true)`, c.ID)
			must(t, err)
			marked := make(chan struct{})
			go func() {
				defer close(marked)
				end.mark(t, d, first)
			}()
			d.waitForLock(t, marked)
			must(t, tx.Commit(t.Context()))
			<-marked
			d.claimOne(t)
		})
	}
}

// waitForLock returns once somebody waits for a lock, or c is closed.
func (d desk) waitForLock(t *testing.T, c <-chan struct{}) {
	t.Helper()
	for waits := false; !waits; {
		select {
		case <-c:
			return
		default:
			must(t, d.db.QueryRow(t.Context(), `
				select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waits))
		}
	}
}

func TestClaimOfAKilledProcessEndsWithItsLease(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "message.*")
	d.receive(t, "A")
	d.dispatch(t)
	lost := d.claimOne(t)
	if n := len(d.claim(t)); n != 0 {
		t.Fatalf("%d claimed twice", n)
	}
	must(t, d.Skew(t.Context(), 31*time.Second))
	again := d.claimOne(t)
	if again.ID != lost.ID || again.Tries != 0 {
		t.Errorf("got delivery %d with %d failures, want %d and none", again.ID, again.Tries, lost.ID)
	}
	d.failed(t, lost, store.DeliveryFailure{Last: true}) // a word from the dead
	d.arrived(t, again)
	if now := d.told(t, again.SubscriptionID)[0]; now.Status != "delivered" || now.Tries != 0 {
		t.Errorf("now it is %+v", now)
	}
}

func TestGoneReceiverIsSwitchedOffLoudly(t *testing.T) {
	d := newDesk(t)
	c, other := d.subscribe(t, "message.*"), d.subscribe(t, "webhook.*")
	d.receive(t, "A")
	d.receive(t, "B")
	d.dispatch(t)
	fate := d.failed(t, d.claimOne(t), store.DeliveryFailure{Status: 410, Gone: true})
	if !fate.Dead || fate.Disabled == "" {
		t.Errorf("its fate is %+v", fate)
	}
	off, err := d.Subscription(t.Context(), c.ID)
	must(t, err)
	if off.IsActive || off.DisabledAt == nil || !strings.Contains(off.DisabledReason, "410") {
		t.Errorf("the subscription is %+v", off)
	}
	told := d.told(t, c.ID)
	if told[0].Reason != "gone" || told[1].Reason != "disabled" {
		t.Errorf("died of %s and %s", told[0].Reason, told[1].Reason)
	}
	open, err := d.Alerts(t.Context(), false, store.Page{Limit: 10})
	must(t, err)
	if len(open) != 1 || !strings.Contains(open[0].Says, "shop") {
		t.Fatalf("alerts: %+v", open)
	}
	if d.dispatch(t); len(d.told(t, other.ID)) != 1 {
		t.Error("no event says that it was switched off")
	}
	if err := d.ReplayDelivery(t.Context(), told[0].ID); !errors.Is(err, store.ErrSubscriptionOff) {
		t.Errorf("a replay of what is off: %v", err)
	}
	must(t, d.SetSubscriptionActive(t.Context(), c.ID, true))
	if open, err = d.Alerts(t.Context(), false, store.Page{Limit: 10}); err != nil || len(open) != 0 {
		t.Errorf("switched on again, alerts: %+v, %v", open, err)
	}
	if n := len(d.claim(t)); n != 1 {
		t.Errorf("switched on again, %d are due, want the event for the other", n)
	}
}

func TestFiveDaysOfFailuresSwitchOff(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "message.*")
	d.receive(t, "A")
	d.dispatch(t)
	for _, days := range []int{0, 2, 4} {
		must(t, d.Skew(t.Context(), time.Duration(days)*24*time.Hour))
		if fate := d.failed(t, d.claimOne(t), store.DeliveryFailure{}); fate.Disabled != "" {
			t.Fatalf("switched off after %d days: %s", days, fate.Disabled)
		}
	}
	d.arrived(t, d.claimOne(t))
	for _, days := range []int{6, 10} {
		must(t, d.Skew(t.Context(), time.Duration(days)*24*time.Hour))
		d.receive(t, fmt.Sprint(days))
		d.dispatch(t)
		if fate := d.failed(t, d.claimOne(t), store.DeliveryFailure{}); fate.Disabled != "" {
			t.Fatalf("switched off %d days after it got something: %s", days, fate.Disabled)
		}
	}
	must(t, d.Skew(t.Context(), 11*24*time.Hour+time.Minute))
	if fate := d.failed(t, d.claimOne(t), store.DeliveryFailure{}); fate.Disabled == "" {
		t.Error("not switched off after five days")
	}
	if got, err := d.Subscription(t.Context(), c.ID); err != nil || got.IsActive {
		t.Errorf("still active: %v", err)
	}
}

func TestReplayKeepsTheIdAndHoldsNothingUp(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "message.received")
	start, err := d.Now(t.Context())
	must(t, err)
	for _, id := range []string{"A", "B", "C"} {
		d.receive(t, id)
	}
	d.dispatch(t)
	first := d.claimOne(t)
	d.failed(t, first, store.DeliveryFailure{Last: true})
	d.arrived(t, d.claimOne(t))
	if n, err := d.ReplayDeliveries(t.Context(), c.ID, start); err != nil || n != 2 {
		t.Fatalf("%d replayed, %v; want the dead and the delivered one", n, err)
	}
	taken := d.claim(t)
	if len(taken) != 2 {
		t.Fatalf("%d are due, want C and the first replayed one", len(taken))
	}
	for _, c := range taken {
		if c.WaID == "A" && c.ID != first.ID {
			t.Errorf("the replayed one is delivery %d, not %d", c.ID, first.ID)
		}
		d.arrived(t, c)
	}
	last := d.claimOne(t)
	if last.WaID != "B" {
		t.Errorf("then comes %s, want B", last.WaID)
	}
	d.arrived(t, last)
	must(t, d.ReplayDelivery(t.Context(), first.ID))
	if once := d.claimOne(t); once.ID != first.ID || once.Tries != 0 {
		t.Errorf("replayed alone: %+v", once)
	}
}

func TestOldestOfTooManyDie(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "*")
	_, err := d.db.Exec(t.Context(), `
		with s as (update subscription set seq = $2 where id = $1)
		insert into delivery (subscription_id, seq, lane, event_id, type, epoch, event_seq, test, data, at, behind)
		select $1, n, 'a' || n % 100, n, 'x', 0, 0, false, '{}', clock(), n > 100 from generate_series(1, $2) as n`, c.ID, store.MostDeliveriesWaiting-2)
	must(t, err)
	d.happen(t, "x", 7)
	began := time.Now()
	round, err := d.DispatchDeliveries(t.Context(), 500)
	must(t, err)
	t.Logf("a dispatch with a full queue took %v", time.Since(began))
	if round.Overflowed[c.ID] != 5 {
		t.Fatalf("overflowed: %v, want 5", round.Overflowed)
	}
	backlog, err := d.DeliveryBacklogs(t.Context(), 0)
	must(t, err)
	if len(backlog) != 1 || backlog[0].Waiting != store.MostDeliveriesWaiting || backlog[0].Dead != 5 {
		t.Errorf("backlog: %+v", backlog)
	}
	began = time.Now()
	if n := len(d.claim(t)); n != 100 {
		t.Errorf("%d are due, want one of each lane", n)
	}
	t.Logf("a claim with a full queue took %v", time.Since(began))
	if open, err := d.Alerts(t.Context(), false, store.Page{Limit: 10}); err != nil || len(open) != 1 {
		t.Errorf("alerts: %+v, %v", open, err)
	}
}

func TestDeadReceiversLeavePlacesForOthers(t *testing.T) {
	d := newDesk(t)
	dead, well := d.subscribe(t, "x"), d.subscribe(t, "x")
	for i := range 10 {
		_, err := d.db.Exec(t.Context(), `insert into event (type, execution_id) values ('x', $1)`, i)
		must(t, err)
	}
	d.dispatch(t)
	for _, c := range d.claim(t) {
		if c.SubscriptionID == dead.ID {
			d.failed(t, c, store.DeliveryFailure{})
		}
	}
	must(t, d.Skew(t.Context(), time.Minute)) // the leases of the others end
	taken, err := d.ClaimDeliveries(t.Context(), store.DeliveryClaim{Process: "p", Lease: time.Minute, Free: 32, Failing: 16, Each: 4, Busy: map[int64]int{well.ID: 1}})
	must(t, err)
	count := map[int64]int{}
	for _, c := range taken {
		count[c.SubscriptionID]++
	}
	if count[dead.ID] != 1 || count[well.ID] != 3 {
		t.Errorf("claimed %v, want 1 for the dead one and 3 beside the one under way", count)
	}
	if none, err := d.ClaimDeliveries(t.Context(), store.DeliveryClaim{Process: "p", Lease: time.Minute, Free: 32, Each: 4, Busy: map[int64]int{well.ID: 4}}); err != nil || len(none) != 0 {
		t.Errorf("%d claimed without room, %v", len(none), err)
	}
}

func TestErasedMessageLeavesNoWords(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "message.received")
	d.receive(t, "A")
	d.dispatch(t)
	if c := d.claimOne(t); c.Body != "hello" {
		t.Fatalf("its words are %q", c.Body)
	}
	_, err := d.db.Exec(t.Context(), `delete from message`)
	must(t, err)
	must(t, d.Skew(t.Context(), time.Minute))
	if c := d.claimOne(t); c.Body != "" || c.WaID != "" {
		t.Errorf("an erased message still says %q", c.Body)
	}
	var words int
	must(t, d.db.QueryRow(t.Context(), `select count(*) from delivery d where d::text like '%hello%'`).Scan(&words))
	if words != 0 {
		t.Error("a delivery holds words of a customer")
	}
	_, err = d.db.Exec(t.Context(), `delete from conversation`)
	must(t, err)
	must(t, d.db.QueryRow(t.Context(), `select count(*) from delivery`).Scan(&words))
	if words != 0 {
		t.Error("a delivery outlives its conversation")
	}
}

// Events of one execution may belong to an account or not yet.
func TestErasureOfTheFirstLetsTheNextGo(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "x")
	other, err := d.AddAccount(t.Context(), store.KindWhatsApp, "Other", 100)
	must(t, err)
	_, err = d.db.Exec(t.Context(), `insert into event (type, execution_id, account_id) values ('x', 1, $1), ('x', 1, null)`, other.ID)
	must(t, err)
	d.dispatch(t)
	_, err = d.db.Exec(t.Context(), `delete from account where id = $1`, other.ID)
	must(t, err)
	if n := len(d.claim(t)); n != 0 {
		t.Fatal("nothing is stuck, so this test shows nothing")
	}
	must(t, d.AdvanceDeliveries(t.Context()))
	d.claimOne(t)
}

// The receiver may answer after its delivery has died and was replayed.
func TestLateAnswerToAReplayedDeliveryLeavesNothingBehind(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "message.received")
	start, err := d.Now(t.Context())
	must(t, err)
	d.receive(t, "A")
	d.receive(t, "B")
	d.dispatch(t)
	late := d.claimOne(t)
	must(t, d.SetSubscriptionActive(t.Context(), c.ID, false))
	must(t, d.SetSubscriptionActive(t.Context(), c.ID, true))
	if n, err := d.ReplayDeliveries(t.Context(), c.ID, start); err != nil || n != 2 {
		t.Fatalf("%d replayed, %v", n, err)
	}
	d.arrived(t, late)
	if next := d.claimOne(t); next.WaID != "B" {
		t.Errorf("then comes %s, want B", next.WaID)
	}
}

func TestReplayMakesWhatWaitsDueAtOnce(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "message.received")
	start, err := d.Now(t.Context())
	must(t, err)
	d.receive(t, "A")
	d.dispatch(t)
	d.failed(t, d.claimOne(t), store.DeliveryFailure{Wait: time.Hour})
	if n, err := d.ReplayDeliveries(t.Context(), c.ID, start); err != nil || n != 0 {
		t.Fatalf("%d replayed, %v; it waits, so none", n, err)
	}
	d.claimOne(t)
}

func TestNewAddressBeginsWithoutAPast(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "message.received")
	d.receive(t, "A")
	d.dispatch(t)
	d.failed(t, d.claimOne(t), store.DeliveryFailure{Rest: time.Hour})
	if n := len(d.claim(t)); n != 0 {
		t.Fatal("a receiver that rests is called")
	}
	c.URL = "https://example.org/other"
	c, err := d.PutSubscription(t.Context(), c)
	must(t, err)
	if got := d.claimOne(t); got.URL != c.URL || c.FailingSince != nil {
		t.Errorf("claimed for %s, failing since %v", got.URL, c.FailingSince)
	}
}

func TestEventOfAnErasedConversationHoldsNobodyUp(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "*")
	d.receive(t, "A")
	_, err := d.db.Exec(t.Context(), `delete from conversation`)
	must(t, err)
	d.happen(t, "x", 1)
	d.dispatch(t)
	if told := d.told(t, c.ID); len(told) != 1 || told[0].Type != "x" {
		t.Errorf("told of %+v", told)
	}
}

func TestWithoutSubscriptionsTheCursorJumps(t *testing.T) {
	d := newDesk(t)
	must(t, d.OpenDeliveries(t.Context()))
	d.happen(t, "x", 2000)
	round, err := d.DispatchDeliveries(t.Context(), 1)
	must(t, err)
	c := d.subscribe(t, "*")
	d.happen(t, "y", 1)
	d.dispatch(t)
	if told := d.told(t, c.ID); round.Events != 0 || len(told) != 1 || told[0].Type != "y" {
		t.Errorf("read %d, told of %+v", round.Events, told)
	}
}

func TestOldDeliveriesAreForgotten(t *testing.T) {
	d := newDesk(t)
	c := d.subscribe(t, "x")
	d.happen(t, "x", 2)
	d.dispatch(t)
	d.arrived(t, d.claimOne(t))
	d.failed(t, d.claimOne(t), store.DeliveryFailure{Last: true})
	for _, step := range []struct{ days, left int }{{6, 2}, {8, 1}, {89, 1}, {91, 0}} {
		must(t, d.Skew(t.Context(), time.Duration(step.days)*24*time.Hour))
		_, err := d.DropDeliveries(t.Context(), 100)
		must(t, err)
		if n := len(d.told(t, c.ID)); n != step.left {
			t.Errorf("after %d days %d are left, want %d", step.days, n, step.left)
		}
	}
}

func TestMessageWaitsForItsFileButNotForLong(t *testing.T) {
	d := newDesk(t)
	d.subscribe(t, "message.received")
	r := d.receive(t, "A")
	_, err := d.db.Exec(t.Context(), `
		insert into media (message_id, account_id, reference) select id, $1, '' from message where conversation_id = $2`, d.account, r.ConversationID)
	must(t, err)
	d.dispatch(t)
	if n := len(d.claim(t)); n != 0 {
		t.Fatal("it did not wait for its file")
	}
	must(t, d.Skew(t.Context(), 31*time.Second))
	if c := d.claimOne(t); c.FileState != "wanted" {
		t.Errorf("its file is %q", c.FileState)
	}
}

func TestSubscriptionsAreCheckedAndBounded(t *testing.T) {
	d := newDesk(t)
	for _, bad := range []store.Subscription{
		{URL: "ftp://example.org", Events: []string{"*"}},
		{URL: "http://example.org", Events: []string{"*"}},
		{URL: "https://me:pass@example.org", Events: []string{"*"}},
		{URL: "https://example.org"},
		{URL: "https://example.org", Events: []string{"message.received%"}},
		{URL: "https://example.org", Events: []string{"*"}, AccountID: new(int64(99))},
	} {
		_, _, err := d.AddSubscription(t.Context(), bad, "")
		if _, refused := errors.AsType[*store.InvalidError](err); !refused {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, secret := range []string{"whsec_", "whsec_c2hvcnQ=", "abc"} {
		_, _, err := d.AddSubscription(t.Context(), store.Subscription{URL: "https://example.org", Events: []string{"*"}}, secret)
		if _, refused := errors.AsType[*store.InvalidError](err); !refused {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
	for range store.MostSubscriptions {
		d.subscribe(t, "*")
	}
	_, _, err := d.AddSubscription(t.Context(), store.Subscription{URL: "https://example.org", Events: []string{"*"}}, "")
	if !errors.Is(err, store.ErrTooManySubscriptions) {
		t.Errorf("one too many: %v", err)
	}
}

func TestRotatedSecretsSignUntilForgotten(t *testing.T) {
	d := newDesk(t)
	c, first, err := d.AddSubscription(t.Context(), store.Subscription{URL: "https://example.org", Events: []string{"*"}}, "")
	must(t, err)
	second, err := d.RotateSubscriptionSecret(t.Context(), c.ID, "")
	must(t, err)
	look := func(want ...string) {
		t.Helper()
		now, err := d.Subscription(t.Context(), c.ID)
		must(t, err)
		got, err := d.SubscriptionSecrets(now)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%d secrets sign, want %d", len(got), len(want))
		}
	}
	look(second, first)
	n, err := d.RotateKeys(t.Context())
	if must(t, err); n != 2 {
		t.Errorf("%d sealed anew, want 2", n)
	}
	look(second, first)
	must(t, d.ForgetOldSubscriptionSecret(t.Context(), c.ID))
	look(second)
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"frontdesk/store"
)

// races is how often a takeover races an answer.
func races() int {
	if os.Getenv("FRONTDESK_TORTURE") != "" {
		return 1000
	}
	return 100
}

// TestPersonWhoSpeaksWinsOrIsTooLate races somebody who types on the phone against an
// answer on its way, each on a conversation of its own: a bubble is claimed before the
// takeover, or never.
func TestPersonWhoSpeaksWinsOrIsTooLate(t *testing.T) {
	d := pairedDesk(t)
	won, late := 0, 0
	for n := range races() {
		phone := fmt.Sprintf("7777%07d", n)
		in := store.Inbound{AccountID: d.account, Phone: phone, Chat: phone + "@s.whatsapp.net", WaID: "Q" + phone, Kind: "text", Body: "hello", SentAt: time.Now()}
		r, err := d.Receive(t.Context(), in)
		must(t, err)
		own := in
		own.WaID, own.Body = "P"+phone, "I am here"
		var both sync.WaitGroup
		both.Go(func() {
			time.Sleep(rand.N(4 * time.Millisecond)) // another order each time
			if err := d.ReceiveOwn(context.WithoutCancel(t.Context()), own); err != nil {
				t.Error(err)
			}
		})
		claimed := false
		both.Go(func() {
			time.Sleep(rand.N(4 * time.Millisecond)) // the model thinks
			_, err := d.Answer(t.Context(), store.Reply{ConversationID: r.ConversationID, Hi: 1, Origin: "bot", Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "answer"}}})
			if err != nil {
				t.Error(err)
			}
			_, err = d.Claim(t.Context(), r.ConversationID, d.process)
			claimed = err == nil
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
		})
		both.Wait()
		if claimed {
			late++
		} else {
			won++
		}
		if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !claimed && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("race %d: the bot speaks after the person: %v", n, err)
		}
	}
	t.Logf("%d races: the person was first in %d, the bubble was on its way in %d", races(), won, late)
	must(t, d.ReturnConversations(t.Context(), []int64{d.account}))
	if stuck := d.count(t, `select count(*) from outbound where claimed_at is null and cancelled_at is null`); stuck != 0 {
		t.Errorf("%d bubbles wait for ever", stuck)
	}
}

// count is what a statement counts.
func (d desk) count(t *testing.T, statement string) (n int) {
	t.Helper()
	must(t, d.db.QueryRow(t.Context(), statement).Scan(&n))
	return n
}

// queued is what comes of a parcel.
func (d desk) queued(t *testing.T, p store.Parcel) error {
	t.Helper()
	_, _, err := d.Queue(t.Context(), p)
	return err
}

func (d desk) own(t *testing.T, waID, text string) {
	t.Helper()
	must(t, d.ReceiveOwn(t.Context(), store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: waID, Kind: "text", Body: text, SentAt: time.Now(),
	}))
}

func TestBotGetsTheConversationBackByItselfWithWhatNobodyAnswered(t *testing.T) {
	d := newDesk(t)
	c := d.receive(t, "A").ConversationID
	d.own(t, "P1", "I am here")
	d.receive(t, "B")
	taken, err := d.Conversation(t.Context(), c)
	must(t, err)
	if taken.State != store.StateHuman || taken.ReturnAt == nil || time.Until(*taken.ReturnAt) < 11*time.Hour {
		t.Fatalf("taken until %v, want twelve hours: %s", taken.ReturnAt, taken.State)
	}
	must(t, d.ReturnConversations(t.Context(), []int64{d.account}))
	if early, _ := d.Turn(t.Context(), c); early.State != store.StateHuman {
		t.Error("the bot has it back before the time")
	}
	must(t, d.Skew(t.Context(), 12*time.Hour+time.Minute))
	must(t, d.ReturnConversations(t.Context(), []int64{d.account}))
	now, err := d.Turn(t.Context(), c)
	must(t, err)
	if now.State != store.StateBot || now.LastSeq != 3 || now.AnsweredSeq != 2 {
		t.Errorf("state %s, %d of %d settled; want the bot and the message behind the person's", now.State, now.AnsweredSeq, now.LastSeq)
	}
}

func TestPhoneSwitchesTheBotOnAndOff(t *testing.T) {
	d := newDesk(t)
	c := d.receive(t, "A").ConversationID
	for n, step := range []struct {
		typed string
		state store.State
		back  bool
	}{{"/bot off", store.StateHuman, false}, {"/Bot on ", store.StateBot, false}, {"one moment", store.StateHuman, true}} {
		d.own(t, fmt.Sprint("P", n), step.typed)
		got, err := d.Conversation(t.Context(), c)
		must(t, err)
		if got.State != step.state || (got.ReturnAt != nil) != step.back {
			t.Errorf("after %q: %s until %v", step.typed, got.State, got.ReturnAt)
		}
	}
}

func TestClosedConversationBeginsAnewWithTheNextMessage(t *testing.T) {
	d := newDesk(t)
	c := d.receive(t, "A").ConversationID
	must(t, d.SetState(t.Context(), c, store.StateClosed, "test"))
	d.receive(t, "B")
	now, err := d.Turn(t.Context(), c)
	must(t, err)
	if now.State != store.StateBot || now.SessionSeq != 1 || now.AnsweredSeq != 1 || now.LastSeq != 2 {
		t.Errorf("%s, session behind %d, settled %d of %d", now.State, now.SessionSeq, now.AnsweredSeq, now.LastSeq)
	}
}

func TestNothingAutomatedLeavesAfterAnOptOut(t *testing.T) {
	d := pairedDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	out := store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "B", Kind: "text", Body: "STOP", SentAt: time.Now(),
		Consent: store.OptOut,
	}
	_, err := d.Receive(t.Context(), out)
	must(t, err)
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an answer leaves after the opt-out: %v", err)
	}
	if d.answer(t, r.ConversationID, 1, 2, true) {
		t.Error("an answer is queued after the opt-out")
	}
	parcel := store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "news"}
	var refused *store.RefusedError
	if err := d.queued(t, parcel); !errors.As(err, &refused) || refused.Code != "opted_out" {
		t.Fatalf("got %v, want a refusal", err)
	}
	parcel.Origin = "person"
	must(t, d.queued(t, parcel))
	done, err := d.Answer(t.Context(), store.Reply{
		ConversationID: r.ConversationID, Lo: 1, Hi: 2, Origin: "system", OptOut: true, Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "no more"}},
	})
	if err != nil || !done {
		t.Fatal(done, err)
	}
	for _, want := range []string{"news", "no more"} {
		c, err := d.Claim(t.Context(), r.ConversationID, d.process)
		if err != nil || c.Body != want {
			t.Fatalf("claimed %q, %v; want %q", c.Body, err, want)
		}
		must(t, d.MarkSent(t.Context(), c.ID))
	}
	out.WaID, out.Body, out.Consent = "C", "START", store.OptIn
	_, err = d.Receive(t.Context(), out)
	must(t, err)
	if !d.answer(t, r.ConversationID, 2, 3, false) {
		t.Error("no answer after the opt-in")
	}
}

func TestTwentyAnswersInTenMinutesAreEnough(t *testing.T) {
	d := newDesk(t)
	d.change(t, store.AccountChange{AnswersLimit: new(3)})
	var c int64
	for n := range int64(3) {
		c = d.receive(t, fmt.Sprint("Q", n)).ConversationID
		if now, err := d.Turn(t.Context(), c); err != nil || now.Busy != 0 {
			t.Fatalf("before answer %d the bot has said enough: %v, %v", n+1, now.Busy, err)
		}
		d.answer(t, c, n, n+1, false)
	}
	now, err := d.Turn(t.Context(), c)
	if err != nil || now.Busy < 9*time.Minute || now.Busy > 10*time.Minute {
		t.Errorf("after three answers the bot waits for %v, want ten minutes: %v", now.Busy, err)
	}
	must(t, d.Skew(t.Context(), 10*time.Minute))
	if now, err = d.Turn(t.Context(), c); err != nil || now.Busy != 0 {
		t.Errorf("ten minutes later it still waits: %v, %v", now.Busy, err)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/store"
)

const (
	number = "12025550123"
	hidden = "812025550123"
)

// from is a message of the person with these addresses, either of which may be
// empty.
func (d desk) from(phone, lid, waID string) store.Inbound {
	chat := lid + "@lid"
	if lid == "" {
		chat = phone + "@s.whatsapp.net"
	}
	return store.Inbound{AccountID: d.account, Phone: phone, LID: lid, Chat: chat, WaID: waID, Kind: "text", Body: waID, SentAt: time.Now()}
}

func (d desk) take(t *testing.T, in store.Inbound) store.Received {
	t.Helper()
	r, err := d.Receive(t.Context(), in)
	must(t, err)
	return r
}

func (d desk) open(t *testing.T) []store.ConversationSummary {
	t.Helper()
	all, err := d.Conversations(t.Context(), 0, store.Page{Limit: 1000})
	must(t, err)
	return slices.DeleteFunc(all, func(c store.ConversationSummary) bool { return c.MergedInto != nil })
}

func (d desk) words(t *testing.T, conversation int64) []string {
	t.Helper()
	lines, err := d.Messages(t.Context(), conversation, store.MessagePage{Limit: 10000})
	must(t, err)
	var words []string
	for _, l := range lines {
		words = append(words, l.Body)
	}
	return words
}

func TestTwoContactsThatAreOnePersonBecomeOne(t *testing.T) {
	d := newDesk(t)
	hiddenFirst := d.take(t, d.from("", hidden, "A"))
	d.answer(t, hiddenFirst.ConversationID, 0, 1, false)
	numberThen := d.take(t, d.from(number, "", "B"))
	if hiddenFirst.ConversationID == numberThen.ConversationID {
		t.Fatal("nothing said that the two are one person")
	}
	d.take(t, d.from(number, "", "C"))
	both := d.take(t, d.from(number, hidden, "D"))
	if both.ConversationID != hiddenFirst.ConversationID {
		t.Errorf("the message went to conversation %d, want %d", both.ConversationID, hiddenFirst.ConversationID)
	}
	left := d.open(t)
	if len(left) != 1 || left[0].LastSeq-left[0].AnsweredSeq != 3 {
		t.Fatalf("open conversations: %+v", left)
	}
	if got := fmt.Sprint(d.words(t, both.ConversationID)); got != "[A one two B C D]" {
		t.Errorf("the conversation reads %s", got)
	}
	closed, err := d.Conversation(t.Context(), numberThen.ConversationID)
	must(t, err)
	if closed.State != store.StateClosed || closed.MergedInto == nil || *closed.MergedInto != both.ConversationID || closed.LastSeq != closed.AnsweredSeq {
		t.Errorf("the other conversation is %+v", closed.Conversation)
	}
	if d.answer(t, numberThen.ConversationID, 0, 2, true) {
		t.Error("a turn under way answered in the closed conversation")
	}
	if again := d.take(t, d.from(number, hidden, "B")); !again.Duplicate {
		t.Error("a message that moved was stored a second time")
	}
}

func TestMergeKeepsWhatWaitsToBeSentInOrder(t *testing.T) {
	d := newDesk(t)
	a := d.take(t, d.from("", hidden, "A"))
	b := d.take(t, d.from(number, "", "B"))
	d.answer(t, a.ConversationID, 0, 1, false)
	d.answer(t, b.ConversationID, 0, 1, false)
	first, err := d.Claim(t.Context(), b.ConversationID, d.process)
	must(t, err)
	must(t, d.MarkSent(t.Context(), first.ID))
	kept := d.take(t, d.from(number, hidden, "C")).ConversationID
	var sent []string
	for {
		c, err := d.Claim(t.Context(), kept, d.process)
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		must(t, err)
		must(t, d.MarkSent(t.Context(), c.ID))
		sent = append(sent, c.Body)
	}
	if got := fmt.Sprint(sent); got != "[one two two]" {
		t.Errorf("sent after the merge: %s, want the two of the kept and the rest of the other", got)
	}
}

func TestUnmergePutsEverythingBack(t *testing.T) {
	d := newDesk(t)
	a := d.take(t, d.from("", hidden, "A"))
	b := d.take(t, d.from(number, "", "B"))
	d.answer(t, b.ConversationID, 0, 1, false)
	d.take(t, d.from(number, "", "C"))
	one, err := d.FindContact(t.Context(), store.Address{LID: hidden})
	must(t, err)
	other, err := d.FindContact(t.Context(), store.Address{Phone: number})
	must(t, err)
	survivor, err := d.MergeContacts(t.Context(), other.ID, one.ID, "token test")
	must(t, err)
	if _, err := d.MergeContacts(t.Context(), other.ID, one.ID, "token test"); !errors.Is(err, store.ErrMerged) {
		t.Errorf("merging twice gave %v", err)
	}
	d.take(t, d.from(number, hidden, "D"))
	m, err := d.UnmergeContact(t.Context(), other.ID, "token test")
	must(t, err)
	if m.Survivor != survivor || m.Merged != other.ID {
		t.Errorf("undone: %+v", m)
	}
	if got := fmt.Sprint(d.words(t, b.ConversationID), d.words(t, a.ConversationID)); got != "[B one two C] [A D]" {
		t.Errorf("the conversations read %s", got)
	}
	back, err := d.Conversation(t.Context(), b.ConversationID)
	must(t, err)
	if back.State != store.StateBot || back.MergedInto != nil || back.LastSeq-back.AnsweredSeq != 1 {
		t.Errorf("the conversation came back as %+v", back.Conversation)
	}
	if r := d.take(t, d.from(number, "", "E")); r.ConversationID != b.ConversationID {
		t.Error("the number does not belong to its contact again")
	}
	if _, err := d.UnmergeContact(t.Context(), other.ID, "token test"); !errors.Is(err, store.ErrNotMerged) {
		t.Errorf("undoing twice gave %v", err)
	}
}

func TestNewNumberKeepsTheContactAndTheOldNumberInItsHistory(t *testing.T) {
	d := newDesk(t)
	before := d.take(t, d.from(number, hidden, "A"))
	after := d.take(t, d.from("12025550124", hidden, "B"))
	if before.ConversationID != after.ConversationID {
		t.Error("a new number made a new conversation")
	}
	c, err := d.FindContact(t.Context(), store.Address{Phone: "12025550124"})
	must(t, err)
	known, err := d.Addresses(t.Context(), c.ID)
	must(t, err)
	if len(known) != 3 || known[2].Value != number || known[2].LeftAt == nil {
		t.Errorf("addresses: %+v", known)
	}
	stranger := d.take(t, d.from(number, "812025550199", "C"))
	if stranger.ConversationID == before.ConversationID {
		t.Error("a number that went to somebody else led to its former owner")
	}
}

// TestMergeWhileMessagesComeLosesAndDoublesNothing lets messages under either
// address race with what shows that both are one person.
func TestMergeWhileMessagesComeLosesAndDoublesNothing(t *testing.T) {
	d := newDesk(t)
	rounds := 60
	for round := range rounds {
		phone, lid := fmt.Sprint(12025560000+round), fmt.Sprint(812025560000+round)
		var racing sync.WaitGroup
		var mu sync.Mutex
		var last int64
		for writer := range 3 {
			racing.Go(func() {
				addresses := [][2]string{{phone, ""}, {"", lid}, {phone, lid}}[writer]
				for n := range 6 {
					time.Sleep(rand.N(2 * time.Millisecond))
					r, err := d.Receive(context.Background(), d.from(addresses[0], addresses[1], fmt.Sprint(round, "-", writer, "-", n)))
					if err != nil {
						t.Error(err)
						return
					}
					if writer == 2 {
						mu.Lock()
						last = r.ConversationID
						mu.Unlock()
					}
				}
			})
		}
		racing.Wait()
		final := d.take(t, d.from(phone, lid, fmt.Sprint(round, "-end")))
		words := d.words(t, final.ConversationID)
		c, err := d.Conversation(t.Context(), final.ConversationID)
		must(t, err)
		slices.Sort(words)
		if len(words) != 19 || len(slices.Compact(words)) != 19 || c.LastSeq-c.AnsweredSeq != 19 {
			t.Fatalf("round %d: %d messages of 19, %d wait, in conversation %d (the racing writer's last was %d)",
				round, len(words), c.LastSeq-c.AnsweredSeq, final.ConversationID, last)
		}
	}
	if n := len(d.open(t)); n != rounds {
		t.Errorf("%d open conversations of %d people", n, rounds)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"+1 (202) 555-0123", "12025550123@s.whatsapp.net", "12025550123:7@s.whatsapp.net", "8123456@lid", "@front.desk", "120363@g.us", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := store.ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := store.ParseAddress(a.Chat()); a.Username == "" && (err != nil || again != a) {
			t.Errorf("%q is %+v, whose chat %q reads as %+v, %v", text, a, a.Chat(), again, err)
		}
	})
}

func TestAnswersFollowTheirQuestionsAfterAMerge(t *testing.T) {
	d := newDesk(t)
	d.take(t, d.from("", hidden, "A"))
	b := d.take(t, d.from(number, "", "B"))
	d.answer(t, b.ConversationID, 0, 1, false)
	for range 2 {
		c, err := d.Claim(t.Context(), b.ConversationID, d.process)
		must(t, err)
		must(t, d.MarkSent(t.Context(), c.ID))
	}
	kept := d.take(t, d.from(number, hidden, "C"))
	if got := fmt.Sprint(d.words(t, kept.ConversationID)); got != "[B one two A C]" {
		t.Errorf("the conversation reads %s", got)
	}
}

func TestRepliesDoNotFollowANumberToItsNextOwner(t *testing.T) {
	d := newDesk(t)
	in := d.from(number, hidden, "A")
	in.Chat = number + "@s.whatsapp.net"
	r := d.take(t, in)
	d.take(t, d.from(number, "812025550199", "B"))
	c, err := d.Conversation(t.Context(), r.ConversationID)
	must(t, err)
	if c.Chat != hidden+"@lid" {
		t.Errorf("replies to the former owner go to %s", c.Chat)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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
	all, err := d.Conversations(t.Context(), 0, 0, store.Page{Limit: 1000})
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

func TestMergeLeavesTheBotNothingToSayWhereAPersonSpeaks(t *testing.T) {
	d := newDesk(t)
	taken := d.take(t, d.from("", hidden, "A")).ConversationID
	must(t, d.SetState(t.Context(), taken, store.StateHuman, "test"))
	d.answer(t, d.take(t, d.from(number, "", "B")).ConversationID, 0, 1, false)
	one, err := d.FindContact(t.Context(), store.Address{LID: hidden})
	must(t, err)
	other, err := d.FindContact(t.Context(), store.Address{Phone: number})
	must(t, err)
	_, err = d.MergeContacts(t.Context(), other.ID, one.ID, "token test")
	must(t, err)
	if n, err := d.PendingOutbound(t.Context()); n != 0 || err != nil {
		t.Errorf("%d answers of the bot wait in a person's conversation: %v", n, err)
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

// twoAndOne are two conversations that were merged: with the number "B" and "C", with
// the LID "A"; all wait in the latter, which is returned with the merged contact.
func (d desk) twoAndOne(t *testing.T) (kept, closed, merged int64) {
	t.Helper()
	a := d.take(t, d.from("", hidden, "A"))
	b := d.take(t, d.from(number, "", "B"))
	d.take(t, d.from(number, "", "C"))
	one, err := d.FindContact(t.Context(), store.Address{LID: hidden})
	must(t, err)
	other, err := d.FindContact(t.Context(), store.Address{Phone: number})
	must(t, err)
	_, err = d.MergeContacts(t.Context(), other.ID, one.ID, "token test")
	must(t, err)
	return a.ConversationID, b.ConversationID, other.ID
}

func (d desk) waits(t *testing.T, conversation int64) []string {
	t.Helper()
	turn, err := d.Turn(t.Context(), conversation)
	must(t, err)
	var words []string
	for _, l := range turn.Lines {
		if l.Direction == "in" && l.Seq > turn.AnsweredSeq {
			words = append(words, l.Body)
		}
	}
	return words
}

func TestUnmergeAsksForNoSecondAnswer(t *testing.T) {
	d := newDesk(t)
	kept, closed, merged := d.twoAndOne(t)
	if !d.answer(t, kept, 0, 2, true) { // "A" and "B", of three
		t.Fatal("no answer after the merge")
	}
	_, err := d.UnmergeContact(t.Context(), merged, "token test")
	must(t, err)
	if a, b := d.waits(t, kept), d.waits(t, closed); len(a) != 0 || fmt.Sprint(b) != "[C]" {
		t.Errorf("%v and %v wait, want none and C", a, b)
	}
}

func TestUnmergeFencesTheTurnThatHasReadWhatGoes(t *testing.T) {
	d := newDesk(t)
	kept, closed, merged := d.twoAndOne(t)
	_, err := d.UnmergeContact(t.Context(), merged, "token test")
	must(t, err)
	if d.answer(t, kept, 0, 3, true) {
		t.Error("a turn that had read all three answered")
	}
	if a, b := d.waits(t, kept), d.waits(t, closed); fmt.Sprint(a, b) != "[A] [B C]" {
		t.Errorf("%v and %v wait, want A, and B with C", a, b)
	}
}

func TestMessageThatBecameReadableIsAnsweredAfterAnUnmerge(t *testing.T) {
	d := newDesk(t)
	d.take(t, d.from("", hidden, "A"))
	dark := d.from(number, "", "B")
	dark.Kind, dark.Body = store.KindUnreadable, ""
	b := d.take(t, dark)
	d.take(t, d.from(number, "", "C"))
	d.answer(t, b.ConversationID, 0, 2, false)
	one, err := d.FindContact(t.Context(), store.Address{LID: hidden})
	must(t, err)
	other, err := d.FindContact(t.Context(), store.Address{Phone: number})
	must(t, err)
	_, err = d.MergeContacts(t.Context(), other.ID, one.ID, "token test")
	must(t, err)
	d.take(t, d.from(number, hidden, "B")) // readable now, after it was settled
	_, err = d.UnmergeContact(t.Context(), other.ID, "token test")
	must(t, err)
	if b := d.waits(t, b.ConversationID); fmt.Sprint(b) != "[B]" {
		t.Errorf("%v wait, want B", b)
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

func TestMessageOfOursNeverWaitsInAClosedConversation(t *testing.T) {
	d, db := newDeskAt(t)
	d.change(t, store.AccountChange{PaceAccount: new(0), NewChatsPerDay: new(100)})
	for round := range 20 {
		n := 12025570000 + 10*round
		var people [3]int64
		for i := range people { // only one of them may have a number, and one a LID
			var err error
			people[i], err = d.ResolveContact(t.Context(), "", fmt.Sprint(80*n+i), "")
			must(t, err)
			_, err = db.Exec(t.Context(), `update contact set lid = null where id = $1 and $2 > 0`, people[i], i)
			must(t, err)
		}
		var racing sync.WaitGroup
		racing.Go(func() {
			for _, pair := range [][2]int64{{people[1], people[2]}, {people[0], people[1]}} {
				if _, err := d.MergeContacts(context.Background(), pair[0], pair[1], "token test"); err != nil {
					t.Error(err)
				}
			}
		})
		for i := range 4 {
			racing.Go(func() {
				time.Sleep(rand.N(3 * time.Millisecond))
				_, _, err := d.Queue(context.Background(), store.Parcel{
					AccountID: d.account, ContactID: people[2], Chat: fmt.Sprint(n, "@s.whatsapp.net"), Origin: "person", Body: fmt.Sprint(i),
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		racing.Wait()
	}
	var lost int
	must(t, db.QueryRow(t.Context(), `
		select count(*) from outbound join conversation c on c.id = conversation_id
		join contact p on p.id = c.contact_id where c.state = 'closed' or p.merged_into is not null`).Scan(&lost))
	if lost > 0 {
		t.Errorf("%d messages wait in closed conversations", lost)
	}
}

// merging is one person's messages, answers and merges, all at once.
type merging struct {
	desk

	db         *pgxpool.Pool
	phone, lid string
	mu         sync.Mutex
	answered   map[string]int // how often each message was; guarded by mu
}

func (m *merging) write(ctx context.Context, phone, lid, name string) error {
	for n := range 6 {
		time.Sleep(rand.N(2 * time.Millisecond))
		if _, err := m.Receive(ctx, m.from(phone, lid, fmt.Sprint(name, n))); err != nil {
			return err
		}
	}
	return nil
}

// separate undoes the newest merge, if there is one.
func (m *merging) separate(ctx context.Context) error {
	time.Sleep(rand.N(8 * time.Millisecond))
	c, err := m.FindContact(ctx, store.Address{LID: m.lid})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	merges, err := m.Merges(ctx, c.ID)
	if err != nil || len(merges) == 0 {
		return err
	}
	if _, err = m.UnmergeContact(ctx, merges[0].Merged, "token test"); errors.Is(err, store.ErrNotMerged) {
		return nil
	}
	return err
}

// turns takes a turn of every conversation of the person: an answer, or a retry.
func (m *merging) turns(ctx context.Context) error {
	ids, err := m.conversations(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		turn, err := m.Turn(ctx, id)
		if err != nil {
			return err
		}
		if turn.LastSeq == turn.AnsweredSeq || turn.State != store.StateBot {
			continue
		}
		time.Sleep(rand.N(2 * time.Millisecond)) // the model thinks
		if rand.N(4) == 0 {
			if _, err := m.RetryLater(ctx, id, turn.AnsweredSeq, 0, "test"); err != nil {
				return err
			}
			continue
		}
		done, err := m.Answer(ctx, store.Reply{
			ConversationID: id, Lo: turn.AnsweredSeq, Hi: turn.LastSeq, Force: rand.N(2) == 0, Origin: "bot",
			Bubbles: []store.Bubble{{WaID: store.NewMessageID(), Body: "re"}},
		})
		if err != nil {
			return err
		}
		if done {
			m.note(turn)
		}
		if c, err := m.Claim(ctx, id, m.process); err == nil {
			if err := m.MarkSent(ctx, c.ID); err != nil {
				return err
			}
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (m *merging) note(turn store.Turn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range turn.Lines {
		if l.Direction == "in" && l.Seq > turn.AnsweredSeq {
			m.answered[l.Body]++
		}
	}
}

func (m *merging) conversations(ctx context.Context) (ids []int64, err error) {
	rows, err := m.db.Query(ctx, `
		select id from conversation where chat in ($1, $2) order by id`, m.phone+"@s.whatsapp.net", m.lid+"@lid")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// TestMergeWhileMessagesComeLosesAndDoublesNothing lets messages under every
// address, answers and retries race with merges and their undoing. FRONTDESK_TORTURE:
// a thousand times.
func TestMergeWhileMessagesComeLosesAndDoublesNothing(t *testing.T) {
	d, db := newDeskAt(t)
	rounds := 60
	if os.Getenv("FRONTDESK_TORTURE") != "" {
		rounds = 1000
	}
	ctx := t.Context()
	for round := range rounds {
		m := &merging{desk: d, db: db, phone: fmt.Sprint(12025560000 + round), lid: fmt.Sprint(812025560000 + round), answered: map[string]int{}}
		var racing sync.WaitGroup
		run := func(work func() error) {
			racing.Go(func() {
				if err := work(); err != nil {
					t.Error(err)
				}
			})
		}
		run(func() error { return m.write(ctx, m.phone, "", "p") })
		run(func() error { return m.write(ctx, "", m.lid, "l") })
		run(func() error { return m.write(ctx, m.phone, m.lid, "b") })
		run(func() error { return m.separate(ctx) })
		for range 2 {
			run(func() error { return errors.Join(m.turns(ctx), m.turns(ctx), m.turns(ctx)) })
		}
		racing.Wait()
		for {
			ids, err := m.conversations(ctx)
			must(t, err)
			must(t, m.turns(ctx))
			if !slices.ContainsFunc(ids, func(id int64) bool { return len(d.waits(t, id)) > 0 }) {
				break
			}
		}
		var words []string
		ids, err := m.conversations(ctx)
		must(t, err)
		for _, id := range ids {
			words = append(words, slices.DeleteFunc(d.words(t, id), func(w string) bool { return w == "re" })...)
		}
		slices.Sort(words)
		for _, name := range []string{"b", "l", "p"} {
			for n := range 6 {
				if w := fmt.Sprint(name, n); m.answered[w] != 1 {
					t.Errorf("round %d: message %s was answered %d times", round, w, m.answered[w])
				}
			}
		}
		if len(words) != 18 || len(slices.Compact(words)) != 18 {
			t.Fatalf("round %d: stored of 18 messages: %v", round, words)
		}
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
		t.Errorf("people read %s", got)
	}
	lines, err := d.History(t.Context(), kept.ConversationID, kept.Seq, 10)
	must(t, err)
	var words []string
	for _, l := range lines {
		words = append(words, l.Body)
	}
	if got := fmt.Sprint(words); got != "[B one two A C]" {
		t.Errorf("models read %s", got)
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

package store_test

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"

	"github.com/jackc/pgx/v5/pgxpool"
)

// desk is one account that this process holds and one customer who writes to it.
type desk struct {
	*store.Store
	account, contact int64
	process          store.Process
	db               *pgxpool.Pool // to look behind the store
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d, _ := newDeskAt(t)
	return d
}

// newDeskAt gives the database as well, to look behind the store.
func newDeskAt(t *testing.T) (desk, *pgxpool.Pool) {
	t.Helper()
	s, dsn := open(t)
	c, err := pgxpool.ParseConfig(dsn)
	must(t, err)
	c.ConnConfig.RuntimeParams["search_path"] = "frontdesk"
	db, err := pgxpool.NewWithConfig(t.Context(), c)
	must(t, err)
	t.Cleanup(db.Close)
	a, err := s.AddAccount(t.Context(), store.KindWhatsApp, "Shop", 100)
	must(t, err)
	contact, err := s.ResolveContact(t.Context(), "77770000001", "877770000001", "")
	must(t, err)
	p := store.Process{ID: "p", Kind: store.KindWhatsApp, Cap: 100}
	_, err = s.RenewLeases(t.Context(), p, time.Hour)
	must(t, err)
	return desk{s, a.ID, contact, p, db}, db
}

func (d desk) receive(t *testing.T, waID string) store.Received {
	t.Helper()
	r, err := d.Receive(t.Context(), store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: waID, Kind: "text", Body: "hello", SentAt: time.Now(),
	})
	must(t, err)
	return r
}

func (d desk) answer(t *testing.T, conversation, lo, hi int64, force bool) bool {
	t.Helper()
	queued, err := d.Answer(t.Context(), store.Reply{
		ConversationID: conversation, Lo: lo, Hi: hi, Force: force, Origin: "bot",
		Bubbles: []store.Bubble{{store.NewMessageID(), "one"}, {store.NewMessageID(), "two"}},
	})
	must(t, err)
	return queued
}

func TestReceiveTwiceStoresOnce(t *testing.T) {
	d := newDesk(t)
	first := d.receive(t, "A")
	if again := d.receive(t, "A"); !again.Duplicate {
		t.Errorf("the same id again gave %+v, want a duplicate", again)
	}
	if next := d.receive(t, "B"); next.Seq != first.Seq+1 {
		t.Errorf("next message has seq %d, want %d", next.Seq, first.Seq+1)
	}
}

func TestAnswerYieldsToNewerMessage(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	d.receive(t, "B")
	if d.answer(t, r.ConversationID, 0, 1, false) {
		t.Error("an answer to the first message was queued although a second had come")
	}
	if !d.answer(t, r.ConversationID, 0, 2, false) {
		t.Error("an answer to both was not queued")
	}
	if d.answer(t, r.ConversationID, 0, 2, true) {
		t.Error("the same messages were answered twice")
	}
}

func TestBubblesAreClaimedInOrder(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	for _, want := range []string{"one", "two"} {
		c, err := d.Claim(t.Context(), r.ConversationID, d.process)
		must(t, err)
		if c.Body != want {
			t.Errorf("claimed %q, want %q", c.Body, want)
		}
		must(t, d.MarkSent(t.Context(), c.ID))
	}
	if _, err := d.Claim(t.Context(), r.ConversationID, d.process); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a third claim gave %v, want none", err)
	}
}

func TestOnlyTheLeaseHolderClaims(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	stranger := store.Process{ID: "q", Kind: store.KindWhatsApp, Cap: 100}
	if _, err := d.Claim(t.Context(), r.ConversationID, stranger); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a process without the lease claimed: %v", err)
	}
}

func TestPersonOnThePhoneFencesTheBot(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	must(t, d.ReceiveOwn(t.Context(), store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "OWN", Kind: "text", SentAt: time.Now(),
	}))
	if d.answer(t, r.ConversationID, 0, 1, true) {
		t.Error("the bot answered over the person")
	}
	d.receive(t, "B")
	due, err := d.DueConversations(t.Context(), []int64{d.account}, 10)
	must(t, err)
	if len(due) != 0 {
		t.Errorf("%d turns are due while a person has the conversation, want 0", len(due))
	}
}

func TestHistoryKeepsBothDirectionsInOrder(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	d.receive(t, "B")
	lines, err := d.History(t.Context(), r.ConversationID, 2, 40)
	must(t, err)
	var got []string
	for _, l := range lines {
		got = append(got, l.Direction+" "+l.Body)
	}
	want := []string{"in hello", "out one", "out two", "in hello"}
	if len(got) != len(want) {
		t.Fatalf("history %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func TestIdempotencyKeyQueuesOnce(t *testing.T) {
	d := newDesk(t)
	p := store.Parcel{AccountID: d.account, ContactID: d.contact, Chat: "c", Origin: "api", Body: "x", IdempotencyKey: "k", RequestHash: []byte("1")}
	var stored, replays atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, replayed, err := d.Queue(t.Context(), p)
			if err != nil {
				t.Error(err)
			}
			if replayed {
				replays.Add(1)
			} else {
				stored.Add(1)
			}
		})
	}
	all.Wait()
	if stored.Load() != 1 || replays.Load() != 19 {
		t.Errorf("stored %d and replayed %d, want 1 and 19", stored.Load(), replays.Load())
	}
	p.RequestHash = []byte("2")
	if _, _, err := d.Queue(t.Context(), p); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("the key with another request gave %v, want ErrKeyReused", err)
	}
}

func TestL1HundredAndFirstAccountIsRefused(t *testing.T) {
	s, _ := open(t)
	var added, refused atomic.Int64
	var all sync.WaitGroup
	for range 101 {
		all.Go(func() {
			_, err := s.AddAccount(t.Context(), store.KindWhatsApp, "Shop", 100)
			var limit *store.LimitError
			switch {
			case err == nil:
				added.Add(1)
			case errors.As(err, &limit) && err.Error() == "Cannot initialize account: instance limit (100) reached":
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if added.Load() != 100 || refused.Load() != 1 {
		t.Errorf("added %d and refused %d, want 100 and 1", added.Load(), refused.Load())
	}
}

func TestReadableCopyTakesThePlaceThatWasKeptForIt(t *testing.T) {
	d := newDesk(t)
	gap := d.from(number, hidden, "B")
	gap.Kind, gap.Body, gap.Wait = store.KindUnreadable, "", time.Hour
	d.take(t, d.from(number, hidden, "A"))
	kept := d.take(t, gap)
	d.take(t, d.from(number, hidden, "C"))
	copied := d.take(t, d.from(number, hidden, "B"))
	if copied.Duplicate {
		t.Error("the copy was taken for a duplicate")
	}
	if again := d.take(t, d.from(number, hidden, "B")); !again.Duplicate {
		t.Error("the copy was taken twice")
	}
	if got := fmt.Sprint(d.words(t, kept.ConversationID)); got != "[A B C]" {
		t.Errorf("the conversation reads %s", got)
	}
}

func TestReadableCopyThatComesAfterTheAnswerIsAnsweredToo(t *testing.T) {
	d := newDesk(t)
	gap := d.from(number, hidden, "A")
	gap.Kind, gap.Body, gap.Wait = store.KindUnreadable, "", time.Hour
	kept := d.take(t, gap)
	now, err := d.Turn(t.Context(), kept.ConversationID)
	must(t, err)
	if now.Readable != 0 || now.DueIn < 50*time.Minute {
		t.Errorf("a turn for an unreadable message is due in %v, with %d messages to read", now.DueIn, now.Readable)
	}
	d.take(t, d.from(number, hidden, "B"))
	d.answer(t, kept.ConversationID, 0, 2, false)
	late := d.take(t, d.from(number, hidden, "A"))
	now, err = d.Turn(t.Context(), kept.ConversationID)
	must(t, err)
	if late.Seq != 3 || now.LastSeq != 3 || now.AnsweredSeq != 2 || now.Readable != 1 {
		t.Errorf("the late copy has place %d of %d, %d are settled", late.Seq, now.LastSeq, now.AnsweredSeq)
	}
}

func TestVoiceNoteIsReadAsWhatWasHeardUntilItIsDeleted(t *testing.T) {
	d := newDesk(t)
	in := store.Inbound{
		AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "A", Kind: "voice", SentAt: time.Now(),
		Media: &store.Media{Mime: "audio/ogg", Bytes: 7, Seconds: 3, Reference: []byte("keys")},
	}
	r, err := d.Receive(t.Context(), in)
	must(t, err)
	found, err := d.Attachments(t.Context(), r.ConversationID, 0, r.Seq)
	must(t, err)
	if len(found) != 1 || found[0].Kind != "voice" || found[0].State != "wanted" || found[0].File != nil || found[0].Transcript != nil || found[0].Age > time.Minute {
		t.Fatalf("files that wait: %+v", found)
	}
	must(t, d.KeepMedia(t.Context(), found[0].MessageID, store.File{Name: "n", Mime: "audio/ogg", Bytes: 7, SHA256: []byte("s")}))
	must(t, d.SetTranscript(t.Context(), found[0].MessageID, "Do you sell tulips?", "ear"))
	found, err = d.Attachments(t.Context(), r.ConversationID, 0, r.Seq)
	must(t, err)
	if *found[0].File != "n" || *found[0].Transcript != "Do you sell tulips?" {
		t.Errorf("the file is %+v", found[0])
	}
	read := func() (toModels, toPeople string) {
		lines, err := d.History(t.Context(), r.ConversationID, r.Seq, 10)
		must(t, err)
		shown, err := d.Messages(t.Context(), r.ConversationID, store.MessagePage{Limit: 10})
		must(t, err)
		return lines[0].Transcript, shown[0].Transcript
	}
	if models, people := read(); models != "Do you sell tulips?" || people != models {
		t.Errorf("models read %q, people %q", models, people)
	}
	must(t, d.Delete(t.Context(), store.Change{AccountID: d.account, Phone: "77770000001", LID: "877770000001", WaID: "A"}))
	if models, people := read(); models != "" || people != "" {
		t.Errorf("after it was deleted models read %q, people %q", models, people)
	}
}

func TestCopyThatArrivesDuringATurnIsNotSettledUnread(t *testing.T) {
	for name, settle := range map[string]func(d desk, r store.Received) (bool, error){
		"an answer": func(d desk, r store.Received) (bool, error) { return d.answer(t, r.ConversationID, 0, 1, true), nil },
		"a skip": func(d desk, r store.Received) (bool, error) {
			return d.Skip(t.Context(), r.ConversationID, 0, 1, "unreadable")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			in := store.Inbound{
				AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: "A", Kind: store.KindUnreadable, SentAt: time.Now(),
			}
			dark := d.take(t, in)
			in.Kind, in.Body = "text", "cancel my order"
			d.take(t, in) // while a turn has read (0, 1]
			if _, err := settle(d, dark); err != nil {
				t.Fatal(err)
			}
			if got := d.waits(t, dark.ConversationID); len(got) != 1 || got[0] != "cancel my order" {
				t.Errorf("%q waits, want the copy", got)
			}
		})
	}
}

func TestWhateverStrangersSendIsStored(t *testing.T) {
	d := newDesk(t)
	for name, change := range map[string]func(*store.Inbound){
		"NUL":            func(in *store.Inbound) { in.Body = "a\x00b" },
		"no UTF-8":       func(in *store.Inbound) { in.Body = "a\xffb" },
		"a strange card": func(in *store.Inbound) { in.Extra = map[string]any{"vcards": []string{"BEGIN\x00"}} },
		"no place":       func(in *store.Inbound) { in.Extra = map[string]any{"latitude": math.NaN(), "longitude": math.Inf(1)} },
		"a long note": func(in *store.Inbound) {
			in.Media = &store.Media{Mime: "a\x00", Seconds: 4294967295, Width: -1, Height: 1 << 40, Reference: []byte("r")}
		},
		"a strange id": func(in *store.Inbound) { in.WaID, in.Quoted = "x\x00", "\xff" },
	} {
		in := store.Inbound{AccountID: d.account, Phone: "77770000001", LID: "877770000001", Chat: "877770000001@lid", WaID: name, Kind: "text", Body: "b", SentAt: time.Now()}
		change(&in)
		if _, err := d.Receive(t.Context(), in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, d.MarkReceipts(t.Context(), []store.Mark{{AccountID: d.account, WaID: "\x00", Receipt: store.Read}}))
	stranger := store.Inbound{AccountID: d.account, Phone: "77770000002", Name: "a\x00\xff", Chat: "77770000002@s.whatsapp.net", WaID: "B", Kind: "text", SentAt: time.Now()}
	if _, err := d.Receive(t.Context(), stranger); err != nil {
		t.Errorf("a strange name: %v", err)
	}
}

func TestHandOffCancelsWhatTheBotHasNotBegunToSend(t *testing.T) {
	d := newDesk(t)
	r := d.receive(t, "A")
	d.answer(t, r.ConversationID, 0, 1, false)
	d.receive(t, "B")
	if done, err := d.HandOff(t.Context(), store.Handoff{ConversationID: r.ConversationID, Lo: 1, Reason: "test"}); err != nil || !done {
		t.Fatal(done, err)
	}
	if n, err := d.PendingOutbound(t.Context()); err != nil || n != 0 {
		t.Errorf("%d bubbles of the bot still wait: %v", n, err)
	}
}

func TestAnswerWaitsForACustomerWhoTypesAndForTenMessagesAtMost(t *testing.T) {
	d := newDesk(t)
	began := time.Now()
	stand := func(after time.Duration) { // the clock stands still: half a second decides
		_, err := d.db.Exec(t.Context(), fmt.Sprintf(`create or replace function clock() returns timestamptz language sql stable as $$ select timestamptz '%s' $$`,
			began.Add(after).Format(time.RFC3339Nano)))
		must(t, err)
	}
	stand(0)
	quick := d.from(number, hidden, "1")
	quick.Wait = 2500 * time.Millisecond
	first := d.take(t, quick)
	extend := func() (time.Duration, error) {
		id, wait, err := d.Extend(t.Context(), d.account, quick.Chat)
		if err == nil && id != first.ConversationID {
			t.Errorf("conversation %d was extended", id)
		}
		return wait, err
	}
	if _, err := extend(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account that is not shown as present waits for typing: %v", err)
	}
	_, err := d.ChangeAccount(t.Context(), d.account, store.AccountChange{Presence: new(true)})
	must(t, err)
	if wait, err := extend(); err != nil || wait <= 2500*time.Millisecond || wait > 4500*time.Millisecond {
		t.Errorf("the answer waits another %v, %v; want the debounce and two seconds", wait, err)
	}
	stand(4 * time.Second)
	if _, err := extend(); err != nil {
		t.Errorf("after four seconds: %v", err)
	}
	stand(8 * time.Second)
	if wait, err := extend(); err != nil || wait > 2*time.Second {
		t.Errorf("after eight seconds the answer waits another %v, %v; want ten seconds in all", wait, err)
	}
	stand(11 * time.Second)
	if _, err := extend(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an answer that is due is put off: %v", err)
	}
	d.answer(t, first.ConversationID, 0, 1, false)
	for n := 2; n <= 11; n++ {
		quick.WaID = fmt.Sprint(n)
		if got := d.take(t, quick); (got.Wait == 0) != (n == 11) {
			t.Errorf("message %d waits %v", n-1, got.Wait)
		}
	}
}

package bot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"frontdesk/store"

	"go.uber.org/goleak"
)

// sheet is a table of tries: what a ledger reads back.
type sheet struct {
	mu    sync.Mutex
	rows  []row
	reads int
}

type row struct {
	account, conversation int64
	waID                  string
	at                    time.Time
}

func (s *sheet) Tries(_ context.Context, account, conversation int64, window time.Duration) (found []store.Tried, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	for _, r := range s.rows {
		if age := time.Since(r.at); r.account == account && (conversation == 0 || r.conversation == conversation) && age < window {
			found = append(found, store.Tried{ConversationID: r.conversation, WaID: r.waID, Age: age})
		}
	}
	return found, nil
}

// books are a ledger with the table behind it and the log before it.
type books struct {
	*ledger
	t     *testing.T
	sheet *sheet
	said  *bytes.Buffer
}

func newBooks(t *testing.T, o Options) *books {
	t.Helper()
	said := &bytes.Buffer{}
	b := &books{t: t, sheet: &sheet{}, said: said, ledger: newLedger(o, slog.New(slog.NewTextHandler(said, nil)))}
	b.store = b.sheet
	return b
}

// send sends if the pace allows it, and says whether it did.
func (b *books) send(account, conversation int64, id string, p pace) bool {
	b.t.Helper()
	ofAccount, ofRecipient, err := b.wait(b.t.Context(), account, conversation, p)
	if err != nil {
		b.t.Fatal(err)
	}
	if ofAccount > 0 || ofRecipient > 0 {
		return false
	}
	b.sheet.mu.Lock()
	b.sheet.rows = append(b.sheet.rows, row{account, conversation, id, time.Now()})
	b.sheet.mu.Unlock()
	b.note(b.t.Context(), account, conversation, id)
	return true
}

func TestPaceHoldsInEveryWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBooks(t, Options{})
		var sent []time.Time
		to := map[int64][]time.Time{}
		for n := range 3000 {
			if c := int64(1 + n%7); b.send(1, c, fmt.Sprint(n), pace{20, 6}) {
				sent, to[c] = append(sent, time.Now()), append(to[c], time.Now())
			}
			time.Sleep(137 * time.Millisecond)
		}
		most := func(all []time.Time) (most int) {
			for i := range all {
				n := 0
				for _, at := range all[i:] {
					if at.Sub(all[i]) < time.Minute {
						n++
					}
				}
				most = max(most, n)
			}
			return most
		}
		if n := most(sent); n != 20 || len(sent) < 6*20 {
			t.Errorf("%d messages left, at most %d in a minute; want 20", len(sent), n)
		}
		for c, all := range to {
			if n := most(all); n > 6 {
				t.Errorf("%d messages to recipient %d in a minute, want 6 at most", n, c)
			}
		}
	})
}

func TestRepetitionOfTheSameMessageCountsOnce(t *testing.T) {
	t.Parallel()
	b := newBooks(t, Options{})
	for range 5 {
		b.note(t.Context(), 1, 1, "same")
	}
	if entries, _ := b.stats(); entries != 1 {
		t.Fatalf("one message made %d entries", entries)
	}
	if !b.send(1, 1, "second", pace{2, 2}) || b.send(1, 1, "third", pace{2, 2}) {
		t.Fatal("a pace of 2 did not let exactly 2 messages leave")
	}
}

func TestL2EvictionOfTheLeastRecentlyUsedRecipientRaisesNoRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBooks(t, Options{})
		fast := pace{0, 1}
		for c := int64(1); c <= 10_001; c++ {
			if !b.send(1, c, fmt.Sprint(c), fast) {
				t.Fatalf("the first message to recipient %d did not leave", c)
			}
		}
		if _, n := b.stats(); n != 10_000 || b.known[1] != nil || b.known[2] == nil {
			t.Fatalf("%d recipients are remembered, the first among them: %v", n, b.known[1] != nil)
		}
		for _, want := range []string{"level=WARN", `msg="Send ledger full, least recently used recipient evicted"`, "recipients=10000", "limit=10000"} {
			if !strings.Contains(b.said.String(), want) {
				t.Errorf("the log lacks %s: %s", want, b.said)
			}
		}
		if strings.Count(b.said.String(), "Send ledger full") != 1 {
			t.Errorf("said more than once: %s", b.said)
		}
		for _, c := range []int64{1, 2, 5000, 10_001} {
			if b.send(1, c, "again", fast) {
				t.Errorf("a second message to recipient %d left within the window", c)
			}
		}
		time.Sleep(time.Minute)
		reads := b.sheet.reads
		for _, c := range []int64{1, 2, 5000, 10_001, 20_000} {
			if !b.send(1, c, "later", fast) {
				t.Errorf("after the window nothing left to recipient %d", c)
			}
		}
		if n := b.sheet.reads - reads; n != 0 {
			t.Errorf("%d reads although nothing of the window was forgotten", n)
		}
	})
}

func TestRestartAndTakeOverRaiseNoRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newBooks(t, Options{})
		for n := range 4 {
			first.send(1, int64(1+n%2), fmt.Sprint(n), pace{5, 2})
			time.Sleep(time.Second)
		}
		second := newBooks(t, Options{})
		second.store, second.sheet = first.sheet, first.sheet
		if second.send(1, 1, "x", pace{5, 2}) || !second.send(1, 3, "y", pace{5, 2}) || second.send(1, 4, "z", pace{5, 2}) {
			t.Fatal("after a take-over a recipient got a third message, or the account sent a sixth")
		}
		if second.sheet.reads != 2 {
			t.Errorf("%d reads for two ledgers, want one each", second.sheet.reads)
		}
		first.forget(1)
		if first.send(1, 5, "z", pace{5, 2}) {
			t.Fatal("the first process forgot what the second sent")
		}
	})
}

func TestL3OldestOfMoreThanHundredEntriesLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBooks(t, Options{RateWindow: time.Hour})
		for n := range 101 {
			b.note(t.Context(), 1, 1, fmt.Sprint(n))
			time.Sleep(time.Second)
		}
		entries, _ := b.stats()
		r := recipientAt(b.known[1])
		if entries != 100 || len(r.entries) != 100 || r.entries[0].hash != b.entry("1", 0).hash {
			t.Fatalf("%d entries, %d of the recipient; want 100 without the oldest", entries, len(r.entries))
		}
		for _, want := range []string{"level=WARN", `msg="Send ledger entry limit reached"`, "limit=100"} {
			if !strings.Contains(b.said.String(), want) {
				t.Errorf("the log lacks %s: %s", want, b.said)
			}
		}
		if b.send(1, 1, "x", pace{0, 200}) {
			t.Error("a pace beyond the limit was not cut down to it")
		}
	})
}

func TestL4CleanupForgetsWhatIsOlderThanTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBooks(t, Options{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.run(ctx); close(done) }()
		for n := range 6 {
			b.note(ctx, 1, int64(1+n%3), fmt.Sprint(n))
		}
		time.Sleep(5*time.Minute - time.Second)
		b.note(ctx, 1, 3, "young")
		if entries, recipients := b.stats(); entries != 7 || recipients != 3 {
			t.Fatalf("%d entries of %d recipients before the cleanup, want 7 of 3", entries, recipients)
		}
		time.Sleep(2 * time.Second)
		if entries, recipients := b.stats(); entries != 1 || recipients != 1 {
			t.Errorf("%d entries of %d recipients after it, want 1 of 1", entries, recipients)
		}
		stop()
		<-done
		for _, want := range []string{"level=INFO", `msg="Send ledger cleaned"`, "entries=6", "recipients=2"} {
			if !strings.Contains(b.said.String(), want) {
				t.Errorf("the log lacks %s: %s", want, b.said)
			}
		}
	})
}

func TestL7CleanupEndsWithItsContext(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b := newBooks(t, Options{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.run(ctx); close(done) }()
	stop()
	<-done
	goleak.VerifyNone(t, before)
}

// TestL5EntriesAreSmall fills the ledger to its limits: 10,000 × 100.
func TestL5EntriesAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 16 {
		t.Fatalf("an entry takes %d bytes, want 16 at most", size)
	}
	g, taken := fill()
	if entries, recipients := g.stats(); entries != 1_000_000 || recipients != 10_000 {
		t.Fatalf("%d entries of %d recipients", entries, recipients)
	}
	if taken > 16_000_000 {
		t.Errorf("a full ledger takes %d bytes, want 16 MB at most", taken)
	}
}

// BenchmarkLedger is the memory of a full ledger and the time of one send.
func BenchmarkLedger(b *testing.B) {
	g, taken := fill()
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprint("3EB0", n)
		if _, _, err := g.wait(b.Context(), 1, int64(n%10_000), pace{600, 100}); err != nil {
			b.Fatal(err)
		}
		g.note(b.Context(), 1, int64(n%10_000), id)
	}
	b.ReportMetric(float64(taken)/1e6, "MB-full")
	b.ReportMetric(float64(taken)/1e6, "bytes/entry")
	b.ReportMetric(float64(unsafe.Sizeof(entry{})), "bytes/entry-itself")
}

// fill is a ledger at its limits and the memory that it takes.
func fill() (g *ledger, taken uint64) {
	g = newLedger(Options{}, slog.New(slog.DiscardHandler))
	g.store = &sheet{}
	before := heap()
	for c := range int64(10_000) {
		for n := range 100 {
			g.note(context.Background(), c%100, c, fmt.Sprint(c, " ", n))
		}
	}
	taken = heap() - before
	runtime.KeepAlive(g)
	return g, taken
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

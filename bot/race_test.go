package bot_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"frontdesk/bot"
)

// whatsmeow encrypts to a person while it decrypts from them without a lock of
// its own: a ratchet counter is used twice, the server acknowledges, the phone
// drops the answer silently. And libsignal spoils the sessions that a message does
// not belong to: once both sides have begun one, hundreds of messages cannot be
// read. The guard around its stores prevents both.
func TestNoAnswerIsLostWhenBothSidesWriteAtFullSpeed(t *testing.T) {
	t.Parallel()
	runs, messages := 1, 300
	if os.Getenv("FRONTDESK_TORTURE") != "" {
		runs, messages = 20, 600
	}
	for run := range runs {
		w := newWorld(t)
		m := w.manager("a")
		w.writeBothWays(m, w.pair(desk), 4, messages)
		dropped, asked, stats := w.wa.Stats()["undecryptable"], w.wa.Stats()["retries"], m.Stats()
		if dropped != 0 || asked != 0 || stats.Undecryptable != 0 {
			t.Fatalf("run %d: the customers' phones dropped %d answers silently and asked again for %d, we for %d", run, dropped, asked, stats.Undecryptable)
		}
		t.Logf("run %d: %d answers seen, 0 dropped, 0 asked for again", run, 4*messages)
	}
}

// writeBothWays has customers write n messages each while the desk writes n to
// each of them, from the very first contact on.
func (w *world) writeBothWays(m *bot.Manager, account int64, customers, n int) {
	w.t.Helper()
	var writing sync.WaitGroup
	for c := range customers {
		number := fmt.Sprint(12025550130 + c)
		w.queue(m, account, number, 1, n) // queued before the first word of the customer
		writing.Go(func() { w.write(number, desk, 1, n) })
	}
	writing.Wait()
	eventually(w.t, "all messages stored", func() bool {
		var received int64
		for _, c := range w.conversations(account) {
			received += c.LastSeq
		}
		return received >= int64(customers*n)
	})
	for c := range customers {
		number := fmt.Sprint(12025550130 + c)
		w.awaitEach(number, n)
	}
}

// awaitEach waits until a customer has seen answers 1 to n, each once.
func (w *world) awaitEach(customer string, n int) {
	w.t.Helper()
	numbered(w.t, bodies(w.awaitAnswers(customer, desk, n)), "answer", 1)
}

package bot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"
)

// awayFiles is a place for files that fails, or takes its time.
type awayFiles struct {
	store.Files

	opened atomic.Int64
	gate   chan struct{} // Open waits for it to close
	away   atomic.Bool
}

func (f *awayFiles) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f.opened.Add(1)
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.away.Load() {
		return nil, errors.New("the place for files is away")
	}
	return f.Files.Open(ctx, name)
}

// picture is a file to send.
func (w *world) picture() *int64 {
	w.t.Helper()
	data := samples()["image"].Data
	kept := store.File{Name: store.NewFileName(), Mime: "image/jpeg", Bytes: int64(len(data)), SHA256: store.HashOf(data)}
	must(w.t, w.files.Put(w.t.Context(), kept.Name, bytes.NewReader(data), kept.Bytes))
	kept, err := w.store.AddFile(w.t.Context(), kept)
	must(w.t, err)
	return &kept.ID
}

// openAlerts are the kinds of what people have to look at.
func (w *world) openAlerts() []string {
	w.t.Helper()
	alerts, err := w.store.Alerts(w.t.Context(), false, store.Page{Limit: 10})
	must(w.t, err)
	var kinds []string
	for _, a := range alerts {
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

func TestFileOnItsWayHoldsUpItsOwnConversationOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := &awayFiles{Files: w.files, gate: make(chan struct{})}
	m := w.manager("a", func(o *bot.Options) { o.Files = slow })
	account := w.pair(desk)
	w.parcel(m, account, store.Parcel{Kind: "image", FileID: w.picture()})
	eventually(t, "the file to be opened", func() bool { return slow.opened.Load() > 0 })
	w.say(account, customer, "answer 1")
	w.say(account, stranger, "answer 1")
	numbered(t, bodies(w.awaitAnswers(stranger, desk, 1)), "answer", 1)
	if n := len(w.wa.Customer(customer).Messages(desk)); n != 0 {
		t.Errorf("%d messages overtook the picture", n)
	}
	if n := m.Stats().MediaBytes; n == 0 {
		t.Error("a file under way is not counted")
	}
	close(slow.gate)
	seen := w.awaitAnswers(customer, desk, 2)
	if seen[0].Kind != wasim.Image || seen[1].Text != "answer 1" {
		t.Errorf("the customer saw %v", seen)
	}
	if n := slow.opened.Load(); n != 1 {
		t.Errorf("the file was opened %d times", n)
	}
}

func TestPlaceForFilesThatIsAwayGivesNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	files := &awayFiles{Files: w.files}
	files.away.Store(true)
	m := w.manager("a", func(o *bot.Options) { o.Files = files })
	account := w.pair(desk)
	o := w.parcel(m, account, store.Parcel{Kind: "image", FileID: w.picture()})
	eventually(t, "people to hear of it", func() bool {
		m.Send(account, o.ConversationID) // do not wait for the next try
		return slices.Contains(w.openAlerts(), "message_waits")
	})
	if o := w.awaitState(o, "queued"); o.Failure == "" {
		t.Error("it is not said why the picture waits")
	}
	files.away.Store(false)
	eventually(t, "the picture", func() bool {
		m.Send(account, o.ConversationID)
		return len(w.wa.Customer(customer).Messages(desk)) == 1
	})
	eventually(t, "the alert to be over", func() bool { return len(w.openAlerts()) == 0 })
}

func TestMessageThatNoDeviceCouldReadIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.KeysAway, Account: desk, Customer: stranger, For: time.Minute}))
	o := w.say(account, stranger, "answer 1")
	dropped := w.say(account, stranger, "not to be said")
	eventually(t, "a try", func() bool {
		var err error
		o, err = w.store.SentMessage(t.Context(), account, o.ID)
		must(t, err)
		return o.Failure != ""
	})
	if o = w.awaitState(o, "queued"); o.PerhapsAt != nil {
		t.Errorf("what never left is perhaps there: %+v", o)
	}
	_, err := w.store.CancelMessage(t.Context(), account, dropped.ID)
	must(t, err)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Clear}))
	w.awaitState(o, "read")
	if seen := w.awaitAnswers(stranger, desk, 1); len(seen) != 1 || seen[0].ID != o.WaID {
		t.Errorf("the customer sees %v", seen)
	}
}

func TestMessageRefusedAgainAndAgainIsGivenUpAloud(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.Nack, Account: desk, Customer: customer, Code: 479, Count: 5}))
	o := w.say(account, customer, "refused")
	eventually(t, "it to be given up", func() bool {
		m.Send(account, o.ConversationID)
		return slices.Contains(w.openAlerts(), "message_failed")
	})
	w.awaitState(o, "failed")
	w.say(account, customer, "answer 1")
	numbered(t, bodies(w.awaitAnswers(customer, desk, 1)), "answer", 1)
}

func TestWhoTakesAnAccountOverFindsMarkedWhatWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	w.queue(m, account, customer, 1, 30)
	eventually(t, "30 acknowledgements", func() bool { return m.Stats().Sent == 30 })
	must(t, m.Close(t.Context()))
	if n, err := w.store.PendingOutbound(t.Context()); n != 0 || err != nil {
		t.Errorf("%d messages would be sent again: %v", n, err)
	}
}

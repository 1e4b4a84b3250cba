package bot_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/store"

	"github.com/jackc/pgx/v5/pgconn"
)

// samples are files that begin as their formats do, with what people get to see.
func samples() map[string]wasim.Media {
	filler := bytes.Repeat([]byte("frontdesk"), 5000)
	return map[string]wasim.Media{
		"image":    {Kind: wasim.Image, Data: append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), filler...), Caption: "a picture"},
		"video":    {Kind: wasim.Video, Data: append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), filler...), Seconds: 3},
		"audio":    {Kind: wasim.Audio, Data: append([]byte("ID3\x04\x00\x00\x00\x00\x00\x00"), filler...), Seconds: 4},
		"voice":    {Kind: wasim.Audio, Voice: true, Data: opus(2 * time.Second), Seconds: 2},
		"document": {Kind: wasim.Document, Data: append([]byte("%PDF-1.7\n"), filler...), Name: "../offer.pdf"},
		"sticker":  {Kind: wasim.Sticker, Data: append([]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), filler...)},
	}
}

var mimes = map[string]string{
	"image": "image/jpeg", "video": "video/mp4", "audio": "audio/mpeg", "voice": "audio/ogg; codecs=opus",
	"document": "application/pdf", "sticker": "image/webp",
}

// opus is a voice note of silence: valid pages around packets of some size.
func opus(length time.Duration) []byte {
	var out bytes.Buffer
	page := func(granule uint64, packets ...[]byte) {
		head := make([]byte, 27)
		copy(head, "OggS")
		binary.LittleEndian.PutUint64(head[6:], granule)
		head[26] = byte(len(packets))
		out.Write(head)
		for _, p := range packets {
			out.WriteByte(byte(len(p)))
		}
		for _, p := range packets {
			out.Write(p)
		}
	}
	page(0, append([]byte("OpusHead\x01\x01"), make([]byte, 9)...))
	page(0, append([]byte("OpusTags"), make([]byte, 8)...))
	for at := time.Duration(0); at < length; at += 20 * time.Millisecond {
		page(uint64((at+20*time.Millisecond).Seconds()*48000), make([]byte, 20+int(at/time.Millisecond)%90))
	}
	return out.Bytes()
}

// shown are the messages of the account's only conversation.
func (w *world) shown(account int64) []store.ChatMessage {
	w.t.Helper()
	c := w.conversations(account)
	if len(c) == 0 {
		return nil
	}
	found, err := w.store.Messages(w.t.Context(), c[0].ID, store.MessagePage{Limit: 100})
	must(w.t, err)
	return found
}

// last is the newest message once it holds.
func (w *world) last(account int64, what string, holds func(store.ChatMessage) bool) store.ChatMessage {
	w.t.Helper()
	var m store.ChatMessage
	eventually(w.t, what, func() bool {
		all := w.shown(account)
		if len(all) == 0 {
			return false
		}
		m = all[len(all)-1]
		return holds(m)
	})
	return m
}

func stored(m store.ChatMessage) bool { return m.FileState == "stored" }

// content is what was kept of a message's file.
func (w *world) content(m store.ChatMessage) []byte {
	w.t.Helper()
	f, err := w.store.File(w.t.Context(), *m.FileID)
	must(w.t, err)
	r, err := w.files.Open(w.t.Context(), f.Name)
	must(w.t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	must(w.t, err)
	return data
}

// parcel queues something to the customer and has it sent.
func (w *world) parcel(m *bot.Manager, account int64, p store.Parcel) store.Outbound {
	w.t.Helper()
	contact, err := w.store.ResolveContact(w.t.Context(), customer, "", "")
	must(w.t, err)
	p.AccountID, p.ContactID, p.Chat, p.Origin = account, contact, customer+"@s.whatsapp.net", "api"
	o, _, err := w.store.Queue(w.t.Context(), p)
	must(w.t, err)
	m.Send(account, o.ConversationID)
	return o
}

func TestFilesComeFromCustomersWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	for kind, file := range samples() {
		_, err := w.wa.Customer(customer).SendMedia(t.Context(), desk, file)
		must(t, err)
		m := w.last(account, kind, func(m store.ChatMessage) bool { return m.Kind == kind && stored(m) })
		if !bytes.Equal(w.content(m), file.Data) || m.FileMime != mimes[kind] || m.FileBytes != int64(len(file.Data)) || m.Seconds != file.Seconds {
			t.Errorf("the %s came as %d bytes of %s, %d s long", kind, m.FileBytes, m.FileMime, m.Seconds)
		}
		if kind == "document" && m.FileLabel != "offer.pdf" {
			t.Errorf("the document is called %q", m.FileLabel)
		}
	}
}

func TestFilesReachCustomersWholeAndAreUploadedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	n := 0
	for kind, file := range samples() {
		n++
		kept := store.File{Name: store.NewFileName(), Label: "offer.pdf", Mime: mimes[kind], Bytes: int64(len(file.Data)), SHA256: store.HashOf(file.Data)}
		must(t, w.files.Put(t.Context(), kept.Name, bytes.NewReader(file.Data), kept.Bytes))
		kept, err := w.store.AddFile(t.Context(), kept)
		must(t, err)
		must(t, w.wa.Fault(wasim.Fault{Kind: wasim.CutAfter, Account: desk, Customer: customer})) // it is sent twice
		w.parcel(m, account, store.Parcel{Kind: kind, FileID: &kept.ID, Body: file.Caption})
		seen := w.awaitAnswers(customer, desk, n)[n-1]
		if seen.Kind != kind || seen.Broken != "" || seen.Size != len(file.Data) || seen.SHA256 != fmt.Sprintf("%x", store.HashOf(file.Data)) {
			t.Errorf("the customer saw %+v instead of the %s", seen, kind)
		}
	}
	eventually(t, "all marked as sent", func() bool {
		pending, err := w.store.PendingOutbound(t.Context())
		must(t, err)
		return pending == 0
	})
	if uploads := w.wa.Stats()["media.in"]; uploads != int64(n) {
		t.Errorf("%d files were uploaded %d times", n, uploads)
	}
}

func TestFilesSurviveWhateverBefallsThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault wasim.Fault
		state string
	}{
		"refused":                     {wasim.Fault{Kind: wasim.RefuseMedia, Code: 503, For: 3 * time.Second}, "stored"},
		"gone, but on the phone":      {wasim.Fault{Kind: wasim.MediaGone}, "stored"},
		"gone, also from the phone":   {wasim.Fault{Kind: wasim.MediaLost}, "gone"},
		"connection lost on the way":  {wasim.Fault{Kind: wasim.CutDelivery}, "stored"},
		"copy asked for, then stored": {wasim.Fault{Kind: wasim.Garble}, "stored"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.manager("a")
			account := w.pair(desk)
			c.fault.Account = desk
			must(t, w.wa.Fault(c.fault))
			file := samples()["image"]
			_, err := w.wa.Customer(customer).SendMedia(t.Context(), desk, file)
			must(t, err)
			m := w.last(account, "the file to be "+c.state, func(m store.ChatMessage) bool { return m.FileState == c.state })
			if c.state == "stored" && !bytes.Equal(w.content(m), file.Data) {
				t.Error("another file was kept")
			}
			if m.Body != file.Caption {
				t.Errorf("the words beside it are %q", m.Body)
			}
		})
	}
}

// hasty has the phone upload a file again before anybody has written down that it was
// asked, if it can.
type hasty struct {
	*store.Store

	renewed chan struct{}
	renew   sync.Once
}

func (h *hasty) AwaitPhone(ctx context.Context, message int64, wait time.Duration, why string) error {
	select {
	case <-h.renewed:
	case <-time.After(300 * time.Millisecond): // it has that long
	}
	return h.Store.AwaitPhone(ctx, message, wait, why)
}

func (h *hasty) RenewMedia(ctx context.Context, j store.MediaJob, reference []byte) error {
	defer h.renew.Do(func() { close(h.renewed) })
	return h.Store.RenewMedia(ctx, j, reference)
}

func TestFileIsFetchedAtOnceHoweverQuicklyThePhoneUploadsItAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a", func(o *bot.Options) { o.Store = &hasty{Store: w.store, renewed: make(chan struct{})} })
	account := w.pair(desk)
	must(t, w.wa.Fault(wasim.Fault{Kind: wasim.MediaGone, Account: desk}))
	began := time.Now()
	_, err := w.wa.Customer(customer).SendMedia(t.Context(), desk, samples()["image"])
	must(t, err)
	w.last(account, "the file to be stored", func(m store.ChatMessage) bool { return m.FileState == "stored" })
	t.Logf("stored after %s", time.Since(began))
}

func TestFilesThatWaitAreFetchedAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.manager("a", func(o *bot.Options) { o.Files = nil })
	account := w.pair(desk)
	_, err := w.wa.Customer(customer).SendMedia(t.Context(), desk, samples()["voice"])
	must(t, err)
	w.last(account, "the voice note to wait", func(m store.ChatMessage) bool { return m.FileState == "wanted" })
	must(t, first.Close(context.Background()))
	w.manager("b")
	w.last(account, "the voice note to be here", stored)
}

func TestReactionsEditsAndDeletionsChangeTheMessageAndAskForNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var turns atomic.Int64
	m := w.manager("a", func(o *bot.Options) { o.Received = func(int64, int64, time.Duration) { turns.Add(1) } })
	account := w.pair(desk)
	c := w.wa.Customer(customer)
	id, err := c.Send(t.Context(), desk, "two tables")
	must(t, err)
	w.awaitReceived(account, 1)
	ours := w.parcel(m, account, store.Parcel{Body: "gladly"})
	w.awaitAnswers(customer, desk, 1)

	_, err = c.Edit(t.Context(), desk, id, "three tables")
	must(t, err)
	_, err = c.React(t.Context(), desk, ours.WaID, "👍")
	must(t, err)
	eventually(t, "the edit and the reaction", func() bool {
		all := w.shown(account)
		return all[0].Body == "three tables" && all[0].EditedAt != nil && slices.Equal(all[1].Reactions, []string{"👍"})
	})
	_, err = c.React(t.Context(), desk, ours.WaID, "")
	must(t, err)
	_, err = c.Delete(t.Context(), desk, id)
	must(t, err)
	eventually(t, "the deletion", func() bool {
		all := w.shown(account)
		return all[0].Kind == "deleted" && all[0].Body == "" && len(all[1].Reactions) == 0
	})

	w.parcel(m, account, store.Parcel{Kind: store.KindReaction, Body: "🙏", Extra: map[string]any{"wa_id": id}})
	w.parcel(m, account, store.Parcel{Kind: store.KindEdit, Body: "with pleasure", Extra: map[string]any{"wa_id": ours.WaID}})
	eventually(t, "the customer to see our edit", func() bool {
		all := c.Messages(desk)
		return all[1].Text == "with pleasure" && all[1].Edited && w.shown(account)[1].Body == "with pleasure"
	})
	w.parcel(m, account, store.Parcel{Kind: store.KindDelete, Extra: map[string]any{"wa_id": ours.WaID}})
	eventually(t, "the customer to see our deletion", func() bool { return c.Messages(desk)[1].Deleted })
	if n := turns.Load(); n != 1 {
		t.Errorf("%d turns were asked for, want that of the message only", n)
	}
}

func TestPlacesCardsAndQuotesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.manager("a")
	account := w.pair(desk)
	c := w.wa.Customer(customer)
	_, err := c.SendLocation(t.Context(), desk, wasim.Location{Latitude: 52.5, Longitude: 13.4, Name: "The square"})
	must(t, err)
	place := w.last(account, "the place", func(m store.ChatMessage) bool { return m.Kind == "location" })
	if place.Extra["latitude"] != 52.5 || !strings.Contains(place.Body, "The square") {
		t.Errorf("the place is %v, %q", place.Extra, place.Body)
	}
	_, err = c.SendContact(t.Context(), desk, wasim.Contact{Name: "A friend"})
	must(t, err)
	w.last(account, "the card", func(m store.ChatMessage) bool { return m.Kind == "contact" && m.Extra["vcards"] != nil })
	_, err = c.Reply(t.Context(), desk, place.WaID, "there")
	must(t, err)
	w.last(account, "the quote", func(m store.ChatMessage) bool { return m.Quoted == place.WaID && m.Body == "there" })
	w.parcel(m, account, store.Parcel{Kind: "location", Body: "Here", Extra: map[string]any{"latitude": 1.5, "longitude": 2.5}})
	eventually(t, "the customer to see a place", func() bool {
		all := c.Messages(desk)
		l := all[len(all)-1].Location
		return l != nil && l.Latitude == 1.5 && l.Name == "Here"
	})
}

// pickyStore takes no message with a text.
type pickyStore struct{ *store.Store }

func (s pickyStore) Receive(ctx context.Context, in store.Inbound) (store.Received, error) {
	if in.Body != "" {
		return store.Received{}, &pgconn.PgError{Code: "22008", Message: "date/time field value out of range"}
	}
	return s.Store.Receive(ctx, in)
}

func TestMessageThatCannotBeStoredKeepsItsPlaceAndIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a", func(o *bot.Options) { o.Store = pickyStore{w.store} })
	account := w.pair(desk)
	w.write(customer, desk, 1, 1)
	w.last(account, "its place", func(m store.ChatMessage) bool { return m.Kind == "unknown" })
	if kinds := w.openAlerts(); !slices.Contains(kinds, "message_unstorable") {
		t.Errorf("people were told %v", kinds)
	}
	file := samples()["image"]
	file.Caption = ""
	_, err := w.wa.Customer(customer).SendMedia(t.Context(), desk, file)
	must(t, err)
	w.last(account, "what comes after it", func(m store.ChatMessage) bool { return m.Kind == "image" })
}

func TestCallIsRejectedAndAnsweredOnceIfThereIsAText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manager("a")
	account := w.pair(desk)
	c := w.wa.Customer(customer)
	_, err := c.Call(desk)
	must(t, err)
	w.write(customer, desk, 1, 1)
	w.awaitReceived(account, 1)
	text := "We cannot talk here. Please write."
	_, err = w.store.ChangeAccount(t.Context(), account, store.AccountChange{CallText: &text})
	must(t, err)
	eventually(t, "a call to be rejected", func() bool {
		_, err := c.Call(desk)
		must(t, err)
		calls := c.Calls(desk)
		return slices.ContainsFunc(calls, func(call wasim.Call) bool { return call.State == wasim.Rejected })
	})
	if calls := c.Calls(desk); calls[0].State == wasim.Rejected {
		t.Error("a call was rejected although it may ring")
	}
	seen := w.awaitAnswers(customer, desk, 1)
	if seen[0].Text != text {
		t.Errorf("the caller got %q", seen[0].Text)
	}
}

func TestHistoryIsContextAndAsksForNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var turns atomic.Int64
	w.manager("a", func(o *bot.Options) { o.Received = func(int64, int64, time.Duration) { turns.Add(1) } })
	before := time.Now().Add(-48 * time.Hour)
	must(t, w.wa.Phone(desk).Remember(customer,
		wasim.Message{Text: "do you open on Sundays?", FromCustomer: true, At: before},
		wasim.Message{Text: "yes, at ten", At: before.Add(time.Minute)},
		wasim.Message{Text: "ages ago", FromCustomer: true, At: before.Add(-365 * 24 * time.Hour)},
	))
	account := w.pair(desk)
	w.last(account, "the earlier chat", func(m store.ChatMessage) bool { return m.Body == "yes, at ten" })
	c := w.conversations(account)[0]
	if c.LastSeq != 0 || c.AnsweredSeq != 0 || turns.Load() != 0 {
		t.Errorf("earlier messages made a turn due: %d, %d, %d", c.LastSeq, c.AnsweredSeq, turns.Load())
	}
	w.write(customer, desk, 1, 1)
	w.last(account, "a new message", func(m store.ChatMessage) bool { return m.Body == "message 1" })
	eventually(t, "its turn", func() bool { return turns.Load() == 1 })
	lines, err := w.store.History(t.Context(), c.ID, 1, 10)
	must(t, err)
	if len(lines) != 3 || lines[0].Body != "do you open on Sundays?" || lines[1].Direction != "out" {
		t.Errorf("the prompt would hold %+v, after %d turns", lines, turns.Load())
	}
	_, err = w.wa.Phone(desk).ShareHistory(t.Context())
	must(t, err)
	w.write(customer, desk, 2, 1)
	w.last(account, "another message", func(m store.ChatMessage) bool { return m.Body == "message 2" })
	if n := len(w.shown(account)); n != 4 {
		t.Errorf("%d messages after the history came again, want 4", n)
	}
}

func TestVoiceNoteIsOpusInOgg(t *testing.T) {
	t.Parallel()
	v, err := bot.ReadVoice(bytes.NewReader(opus(3 * time.Second)))
	if err != nil || v.Seconds != 3 || len(v.Waveform) != 64 || slices.Max(v.Waveform) != 100 {
		t.Errorf("read %+v, %v", v, err)
	}
	for name, file := range samples() {
		if _, err := bot.ReadVoice(bytes.NewReader(file.Data)); (err == nil) != (name == "voice") {
			t.Errorf("%s as a voice note: %v", name, err)
		}
	}
}

func FuzzReadVoice(f *testing.F) {
	f.Add(opus(time.Second))
	f.Add([]byte("OggS"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := bot.ReadVoice(bytes.NewReader(data))
		if err == nil && (len(v.Waveform) != 64 || v.Seconds < 0) {
			t.Errorf("read %+v", v)
		}
	})
}

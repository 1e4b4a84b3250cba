package wasim_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"frontdesk/bot/wasim"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types/events"
)

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// download is the file of a message, whatever its kind.
func (d *device) download(m *waE2E.Message) ([]byte, error) {
	var file whatsmeow.DownloadableMessage
	switch {
	case m.ImageMessage != nil:
		file = m.ImageMessage
	case m.VideoMessage != nil:
		file = m.VideoMessage
	case m.AudioMessage != nil:
		file = m.AudioMessage
	case m.DocumentMessage != nil:
		file = m.DocumentMessage
	default:
		file = m.StickerMessage
	}
	return d.Download(d.t.Context(), file)
}

func TestFilesOfEveryKindReachTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	for _, m := range []wasim.Media{
		{Kind: wasim.Image, Mime: "image/png", Caption: "a picture"},
		{Kind: wasim.Video, Mime: "video/mp4", Seconds: 3},
		{Kind: wasim.Audio, Mime: "audio/mpeg", Seconds: 5},
		{Kind: wasim.Audio, Mime: "audio/ogg; codecs=opus", Voice: true, Seconds: 7},
		{Kind: wasim.Document, Mime: "application/pdf", Name: "offer.pdf", Caption: "read this"},
		{Kind: wasim.Sticker, Mime: "image/webp"},
	} {
		m.Data = make([]byte, 100_001)
		_, _ = rand.Read(m.Data)
		id, err := control.SendMedia(t.Context(), alice, desk, m)
		must(t, err)
		got := d.message(id)
		data, err := d.download(got.Message)
		if err != nil || !bytes.Equal(data, m.Data) {
			t.Errorf("%s: %d bytes came, %v", m.Kind, len(data), err)
		}
		own := shown(t, s.Customer(alice), func(b wasim.Message) bool { return b.ID == id })
		if own.SHA256 != sum(m.Data) || own.Mime != m.Mime || own.Name != m.Name || own.Size != len(m.Data) {
			t.Errorf("the customer sees %+v", own)
		}
		if voice := got.Message.GetAudioMessage(); voice.GetPTT() != m.Voice || m.Voice && (got.Info.MediaType != "ptt" || own.Kind != wasim.Voice || voice.GetSeconds() != 7) {
			t.Errorf("the voice note came as %s: %v", got.Info.MediaType, voice)
		}
	}
	_, err := control.SendMedia(t.Context(), alice, desk, wasim.Media{Kind: "hologram"})
	refused(t, err, "cannot be sent as")
}

func TestFileWhoseMessageCouldNotBeReadComesAgain(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	must(t, s.Fault(wasim.Fault{Kind: wasim.Garble, Customer: alice}))
	id, err := s.Customer(alice).SendMedia(t.Context(), desk, wasim.Media{Kind: wasim.Image, Data: []byte("a picture")})
	must(t, err)
	data, err := d.download(d.message(id).Message)
	if err != nil || string(data) != "a picture" {
		t.Errorf("%q, %v", data, err)
	}
}

// send uploads data and sends it as a document.
func (d *device) send(data []byte, change func(*waE2E.DocumentMessage)) string {
	d.t.Helper()
	up, err := d.Upload(d.t.Context(), data, whatsmeow.MediaDocument)
	must(d.t, err)
	document := &waE2E.DocumentMessage{
		URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
		FileLength: &up.FileLength, Mimetype: new("text/plain"), FileName: new("note.txt"), Caption: new("a note"),
	}
	change(document)
	sent, err := d.SendMessage(d.t.Context(), number(alice), &waE2E.Message{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{
		Message: &waE2E.Message{DocumentMessage: document},
	}})
	must(d.t, err)
	return sent.ID
}

func TestCustomerOpensAndVerifiesTheAccountsFiles(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	data := bytes.Repeat([]byte("0123456789"), 5000)
	id := d.send(data, func(*waE2E.DocumentMessage) {})
	got := shown(t, s.Customer(alice), func(m wasim.Message) bool { return m.ID == id })
	if got.Kind != wasim.Document || got.Mime != "text/plain" || got.Name != "note.txt" || got.Text != "a note" || got.Size != len(data) || got.SHA256 != sum(data) || got.Broken != "" {
		t.Errorf("the customer sees %+v", got)
	}
	for why, change := range map[string]func(*waE2E.DocumentMessage){
		"the file's signature is wrong":                   func(m *waE2E.DocumentMessage) { m.MediaKey = make([]byte, 32) },
		"the file is not the one that was sent":           func(m *waE2E.DocumentMessage) { m.FileSHA256 = make([]byte, 32) },
		"the encrypted file is not the one that was sent": func(m *waE2E.DocumentMessage) { m.FileEncSHA256 = make([]byte, 32) },
		"the file is not on the server":                   func(m *waE2E.DocumentMessage) { m.DirectPath = new("/media/nowhere?") },
	} {
		id := d.send(data, change)
		got := shown(t, s.Customer(alice), func(m wasim.Message) bool { return m.ID == id })
		if got.Broken != why || got.SHA256 != "" {
			t.Errorf("wanted %q, the customer sees %+v", why, got)
		}
	}
}

func TestOwnersFilesAndReactionsAreCopiedToTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	control := wasim.NewControl(s.ControlURL())
	id, err := control.PhoneSendMedia(t.Context(), desk, alice, wasim.Media{Kind: wasim.Image, Mime: "image/jpeg", Data: []byte("photo")})
	must(t, err)
	got := d.message(id)
	data, err := d.download(got.Message)
	if err != nil || string(data) != "photo" || !got.Info.IsFromMe || got.Info.Chat != number(alice) {
		t.Errorf("%q, %v, %+v", data, err, got.Info)
	}
	shown(t, s.Customer(alice), func(m wasim.Message) bool { return m.ID == id && m.SHA256 == sum([]byte("photo")) })
	asked, err := s.Customer(alice).Send(t.Context(), desk, "nice")
	must(t, err)
	reacted, err := control.PhoneReact(t.Context(), desk, alice, asked, "👍")
	must(t, err)
	about := d.message(reacted).Message.GetReactionMessage()
	if about.GetText() != "👍" || about.GetKey().GetID() != asked || about.GetKey().GetFromMe() {
		t.Errorf("the reaction came as %v", about)
	}
	shown(t, s.Customer(alice), func(m wasim.Message) bool {
		return m.ID == asked && len(m.Reactions) == 1 && m.Reactions[0] == wasim.Reaction{Emoji: "👍"}
	})
}

// retry asks the phone for the file of a message and returns its answer.
func (d *device) retry(m *events.Message, key []byte) (*waMmsRetry.MediaRetryNotification, error) {
	d.t.Helper()
	must(d.t, d.SendMediaRetryReceipt(d.t.Context(), &m.Info, key))
	answer := await(d, func(r *events.MediaRetry) bool { return r.MessageID == m.Info.ID })
	if answer.ChatID.ToNonAD() != m.Info.Chat || answer.FromMe {
		d.t.Errorf("the answer is about %v", answer)
	}
	return whatsmeow.DecryptMediaRetryNotification(answer, key)
}

func TestGoneFileIsUploadedAgainByThePhone(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	must(t, s.Fault(wasim.Fault{Kind: wasim.MediaGone, Account: desk, Customer: alice, Code: 410}))
	id, err := s.Customer(alice).SendMedia(t.Context(), desk, wasim.Media{Kind: wasim.Image, Data: []byte("a picture")})
	must(t, err)
	got := d.message(id)
	for range 2 {
		if _, err := d.download(got.Message); !errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith410) {
			t.Fatalf("downloading what is gone gave %v", err)
		}
	}
	image := got.Message.GetImageMessage()
	answer, err := d.retry(got, image.GetMediaKey())
	if err != nil || answer.GetResult() != waMmsRetry.MediaRetryNotification_SUCCESS {
		t.Fatalf("the phone answered %v, %v", answer, err)
	}
	image.DirectPath = answer.DirectPath
	data, err := d.download(got.Message)
	if err != nil || string(data) != "a picture" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestLostFileIsRefusedByThePhone(t *testing.T) {
	t.Parallel()
	s := start(t, wasim.Options{RootKey: rootKey})
	d := linked(t, s)
	must(t, s.Fault(wasim.Fault{Kind: wasim.MediaLost, Account: desk}))
	id, err := s.Customer(alice).SendMedia(t.Context(), desk, wasim.Media{Kind: wasim.Image, Data: []byte("a picture")})
	must(t, err)
	got := d.message(id)
	if _, err := d.download(got.Message); !errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith404) {
		t.Fatalf("downloading what is lost gave %v", err)
	}
	if _, err := d.retry(got, got.Message.GetImageMessage().GetMediaKey()); !errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone) {
		t.Errorf("the phone answered %v", err)
	}
}

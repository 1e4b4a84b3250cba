package conversation

import (
	"bytes"
	"context"
	"errors"
	"image"
	_ "image/gif" // customers send it
	"image/jpeg"
	_ "image/png" // and this
	"io"
	"log/slog"
	"mime"
	"path"
	"slices"
	"strings"
	"time"

	"frontdesk/providers"
	"frontdesk/store"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp" // and this
)

// What of a customer's files reaches a model (conversation.md).
const (
	hearWithin    = 20 * time.Second // after a voice note came, that its answer waits for it
	seeWithin     = 10 * time.Second // the same for pictures and documents
	lookForFile   = 250 * time.Millisecond
	longestVoice  = 10 * time.Minute
	mostAudio     = 25 << 20 // that the well-known services take
	mostPictures  = 2        // the newest; older ones are named
	mostPicture   = 16 << 20
	mostPixels    = 40 << 20
	longSide      = 1568     // of a picture in pixels
	pictureGrade  = 80       // of JPEG
	mostDocuments = 2        // the newest; older ones are named
	mostDocument  = 16 << 10 // of its text
	mostPDF       = 10 << 20
)

// files hold what customers send. store.Files is the real one.
type files interface {
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// attached is what models get of the files that wait for an answer, by the place of
// their message.
type attached struct {
	words    map[int64]string
	pictures map[int64]providers.Image
}

// attend looks at the files of what waits: it listens to voice notes, reads plain
// texts and PDFs, and looks at pictures. What it cannot is named to the model, which asks the
// customer for words.
func (t *turn) attend(ctx context.Context, now store.Turn) (attached, error) {
	a := attached{words: map[int64]string{}, pictures: map[int64]providers.Image{}}
	waits := func(l store.Line) bool { return l.Direction == "in" && l.Seq > now.AnsweredSeq && l.Kind != "text" }
	if t.p.files == nil || t.rehearsal || !slices.ContainsFunc(now.Lines, waits) {
		return a, nil
	}
	found, err := t.arrived(ctx, now)
	if err != nil {
		return a, err
	}
	pictures, documents := 0, 0
	reading, cancel := context.WithTimeout(ctx, seeWithin)
	defer cancel()
	for _, f := range slices.Backward(found) {
		switch {
		case f.Kind == "voice" || f.Kind == "audio":
			a.words[f.Seq] = t.hear(ctx, now, f)
		case f.File == nil:
		case f.Kind == "image" && pictures < mostPictures:
			if t.look(ctx, f, a) {
				pictures++
			}
		case f.Kind == "document" && documents < mostDocuments:
			a.words[f.Seq] = t.readDocument(reading, f)
			documents++
		}
	}
	return a, ctx.Err()
}

// expected says that a file may be worth waiting for.
func expected(f store.Attachment) bool {
	within := map[string]time.Duration{"voice": hearWithin, "image": seeWithin, "document": seeWithin}[f.Kind]
	return f.State == "wanted" && f.Age < within
}

// arrived are the files of what waits, once they are here or have had their time.
func (t *turn) arrived(ctx context.Context, now store.Turn) ([]store.Attachment, error) {
	for {
		found, err := t.p.store.Attachments(ctx, t.conversation, now.AnsweredSeq, now.LastSeq)
		if err != nil || !slices.ContainsFunc(found, expected) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookForFile):
		}
	}
}

// hear is what is said in a recording, "" when nobody can tell.
func (t *turn) hear(ctx context.Context, now store.Turn, f store.Attachment) string {
	switch {
	case f.Transcript != nil:
		return *f.Transcript
	case f.File == nil || time.Duration(f.Seconds)*time.Second > longestVoice:
		return ""
	}
	audio, err := t.open(ctx, f, mostAudio)
	if err == nil {
		var heard providers.Answer
		began := time.Now()
		heard, err = t.p.ai.Transcribe(ctx, providers.Speech{Audio: audio, Name: audioName(f), Conversation: t.conversation, Pool: now.ProviderPool})
		t.thinking += time.Since(began)
		if err == nil {
			t.note(ctx, f, t.p.store.SetTranscript(ctx, f.MessageID, heard.Text, heard.Provider))
			return heard.Text
		}
	}
	t.note(ctx, f, err)
	return ""
}

// audioName is a name whose ending says what a recording is.
func audioName(f store.Attachment) string {
	kind, _, _ := mime.ParseMediaType(f.Mime)
	endings := map[string]string{"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/wav": ".wav", "audio/x-wav": ".wav"}
	if ending, known := endings[kind]; known {
		return "note" + ending
	}
	return "note" + path.Ext(f.Label)
}

// look adds a picture, made small enough for models; false: it is none.
func (t *turn) look(ctx context.Context, f store.Attachment, to attached) bool {
	data, err := t.open(ctx, f, mostPicture)
	if err == nil {
		data, err = smaller(data)
	}
	if err != nil {
		t.note(ctx, f, err)
		return false
	}
	to.pictures[f.Seq] = providers.Image{Mime: "image/jpeg", Data: data, Alt: "[image]"}
	return true
}

var errTooBig = errors.New("the file is too large to look at")

// smaller is a picture as JPEG whose long side has at most 1,568 pixels.
func smaller(data []byte) ([]byte, error) {
	size, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if size.Width*size.Height > mostPixels {
		return nil, errTooBig
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if long := max(size.Width, size.Height); long > longSide {
		fitted := image.NewRGBA(image.Rect(0, 0, max(1, size.Width*longSide/long), max(1, size.Height*longSide/long)))
		draw.CatmullRom.Scale(fitted, fitted.Bounds(), picture, picture.Bounds(), draw.Src, nil)
		picture = fitted
	}
	var out bytes.Buffer
	err = jpeg.Encode(&out, picture, &jpeg.Options{Quality: pictureGrade})
	return out.Bytes(), err
}

// readDocument is the beginning of a plain text or a PDF, "" of all else.
func (t *turn) readDocument(ctx context.Context, f store.Attachment) string {
	switch {
	case strings.HasPrefix(f.Mime, "text/"):
		return t.read(ctx, f)
	case f.Mime == "application/pdf":
		return t.readPDF(ctx, f)
	}
	return ""
}

// read is the beginning of a plain text.
func (t *turn) read(ctx context.Context, f store.Attachment) string {
	r, err := t.p.files.Open(ctx, *f.File)
	if err != nil {
		t.note(ctx, f, err)
		return ""
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, mostDocument))
	t.note(ctx, f, err)
	return strings.ToValidUTF8(string(text), "") // the last character may have been cut
}

// readPDF is the beginning of what a PDF says.
func (t *turn) readPDF(ctx context.Context, f store.Attachment) string {
	content, err := t.open(ctx, f, mostPDF)
	if err != nil {
		t.note(ctx, f, err)
		return ""
	}
	text, err := pdfText(ctx, content, mostDocument)
	t.note(ctx, f, err)
	return strings.ToValidUTF8(text[:min(len(text), mostDocument)], "")
}

// open reads a file that has at most that many bytes.
func (t *turn) open(ctx context.Context, f store.Attachment, most int64) ([]byte, error) {
	if f.Bytes > most {
		return nil, errTooBig
	}
	r, err := t.p.files.Open(ctx, *f.File)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = errTooBig
	}
	return data, err
}

// note logs what went wrong with a file; the answer goes on without it.
func (t *turn) note(ctx context.Context, f store.Attachment, err error) {
	if err != nil && ctx.Err() == nil {
		t.p.log.WarnContext(ctx, "File of a customer not understood", slog.Int64("conversation", t.conversation), slog.Int64("message", f.MessageID),
			slog.String("kind", f.Kind), slog.Any("error", err))
	}
}

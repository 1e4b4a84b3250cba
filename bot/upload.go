package bot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"
)

// mediaTypes are what WhatsApp keeps a file as, by the kind of its message.
var mediaTypes = map[string]whatsmeow.MediaType{
	"image": whatsmeow.MediaImage, "sticker": whatsmeow.MediaImage, "video": whatsmeow.MediaVideo,
	"audio": whatsmeow.MediaAudio, "voice": whatsmeow.MediaAudio, "document": whatsmeow.MediaDocument,
}

// mostLoading is how many files of one account go to WhatsApp at once.
const mostLoading = 4

// lacksFile says that a bubble's file has to be given to WhatsApp first.
func lacksFile(b store.Claimed) bool { return b.FileID != nil && b.Reference == nil }

// load gives the file of a bubble to WhatsApp while other conversations go on: it
// may take minutes. Meanwhile the bubble counts as untried.
func (o *outbox) load(ctx context.Context, l *link, b store.Claimed) error {
	if err := o.i.m.store.MarkUnsent(ctx, b.ID, ""); err != nil {
		return err
	}
	if !o.beginLoading(b.ConversationID) {
		o.put(b.ConversationID, later{time.Now().Add(soon), b.Answers})
		return nil
	}
	o.uploads.Go(func() { o.loaded(ctx, b, o.i.upload(ctx, l, b)) })
	return nil
}

// loaded has a conversation looked at again, whose file is there or failed.
func (o *outbox) loaded(ctx context.Context, b store.Claimed, err error) {
	o.mu.Lock()
	delete(o.loading, b.ConversationID)
	o.mu.Unlock()
	if err != nil {
		err = o.keep(ctx, b, err)
	}
	if err != nil {
		o.warn(ctx, b, b.ConversationID, err)
		o.put(b.ConversationID, later{time.Now().Add(soon), true})
		return
	}
	o.add(b.ConversationID, true)
}

func (o *outbox) beginLoading(conversation int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.loading) >= mostLoading {
		return false
	}
	o.loading[conversation] = true
	return true
}

func (o *outbox) isLoading(conversation int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loading[conversation]
}

// composeFile is a message with a file that WhatsApp has.
func composeFile(b store.Claimed, about *waE2E.ContextInfo) (*waE2E.Message, error) {
	part, err := referred(b.Kind, b.Reference)
	if err != nil {
		return nil, &finalError{err}
	}
	switch f := part.(type) {
	case *waE2E.ImageMessage:
		f.ContextInfo = about
		return &waE2E.Message{ImageMessage: f}, nil
	case *waE2E.VideoMessage:
		f.ContextInfo = about
		return &waE2E.Message{VideoMessage: f}, nil
	case *waE2E.AudioMessage:
		f.ContextInfo = about
		return &waE2E.Message{AudioMessage: f}, nil
	case *waE2E.StickerMessage:
		f.ContextInfo = about
		return &waE2E.Message{StickerMessage: f}, nil
	case *waE2E.DocumentMessage:
		f.ContextInfo = about
		return &waE2E.Message{DocumentMessage: f}, nil
	}
	return nil, &finalError{errNoFile}
}

// upload streams a bubble's file to WhatsApp, which gets it once: where it is, is
// kept with the bubble before that is sent.
func (i *Instance) upload(ctx context.Context, l *link, b store.Claimed) error {
	f, err := i.m.store.File(ctx, *b.FileID)
	if err != nil {
		return lost(fmt.Errorf("find the file: %w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	defer cancel()
	leave, err := i.m.enter(ctx, f.Bytes)
	if err != nil {
		return err
	}
	defer leave()
	file, err := i.m.files.Open(ctx, f.Name)
	if err != nil {
		return lost(fmt.Errorf("open the file: %w", err))
	}
	defer file.Close()
	beside, err := os.CreateTemp(i.m.spool, "upload-*")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name())
	defer beside.Close()
	there, err := l.client.UploadReader(ctx, file, beside, mediaTypes[b.Kind])
	if err != nil {
		return fmt.Errorf("upload the file: %w", err)
	}
	part, err := i.describe(ctx, f, b, there)
	if err != nil {
		return err
	}
	reference, err := proto.Marshal(part)
	if err != nil {
		return err
	}
	return i.m.store.KeepReference(ctx, i.id, b.ID, b.WaID, reference)
}

// lost is err, final if the file is there no more.
func lost(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &finalError{err}
	}
	return err
}

// describe is the part of a message that leads to an uploaded file.
func (i *Instance) describe(ctx context.Context, f store.File, b store.Claimed, up whatsmeow.UploadResponse) (proto.Message, error) {
	switch b.Kind {
	case "image":
		return &waE2E.ImageMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.Mime, Caption: &b.Body,
		}, nil
	case "video":
		return &waE2E.VideoMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.Mime, Caption: &b.Body,
		}, nil
	case "sticker":
		return &waE2E.StickerMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.Mime,
		}, nil
	case "document":
		return &waE2E.DocumentMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
			FileLength: &up.FileLength, Mimetype: &f.Mime, Caption: &b.Body, FileName: &f.Label, Title: &f.Label,
		}, nil
	}
	audio := &waE2E.AudioMessage{
		URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey, FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256,
		FileLength: &up.FileLength, Mimetype: &f.Mime, PTT: new(b.Kind == "voice"),
	}
	if b.Kind != "voice" {
		return audio, nil
	}
	v, err := i.hear(ctx, f)
	if errors.Is(err, ErrNoVoice) {
		return nil, &finalError{err}
	}
	if err != nil {
		return nil, lost(err)
	}
	audio.Seconds, audio.Waveform = new(uint32(v.Seconds)), v.Waveform
	return audio, nil
}

// hear reads the length and shape of a voice note.
func (i *Instance) hear(ctx context.Context, f store.File) (Voice, error) {
	file, err := i.m.files.Open(ctx, f.Name)
	if err != nil {
		return Voice{}, err
	}
	defer file.Close()
	return ReadVoice(io.LimitReader(file, mostMedia))
}

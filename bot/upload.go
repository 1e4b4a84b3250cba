package bot

import (
	"context"
	"fmt"
	"io"
	"os"

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

// composeFile is a message with a file. WhatsApp gets the file once: what it needs
// to find it again is kept with the bubble before that is sent.
func (i *Instance) composeFile(ctx context.Context, l *link, b store.Claimed, about *waE2E.ContextInfo) (*waE2E.Message, error) {
	reference := b.Reference
	if reference == nil {
		if l == nil || b.FileID == nil || i.m.files == nil {
			return nil, errNoFile
		}
		var err error
		if reference, err = i.upload(ctx, l, b); err != nil {
			return nil, err
		}
	}
	part, err := referred(b.Kind, reference)
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

// upload streams a bubble's file to WhatsApp and keeps where it is.
func (i *Instance) upload(ctx context.Context, l *link, b store.Claimed) ([]byte, error) {
	f, err := i.m.store.File(ctx, *b.FileID)
	if err != nil {
		return nil, &finalError{fmt.Errorf("find the file: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	defer cancel()
	size := min(max(f.Bytes, 1), mediaBudget)
	if err := i.m.mediaRoom.Acquire(ctx, size); err != nil {
		return nil, err
	}
	defer i.m.mediaRoom.Release(size)
	file, err := i.m.files.Open(ctx, f.Name)
	if err != nil {
		return nil, fmt.Errorf("open the file: %w", err)
	}
	defer file.Close()
	beside, err := os.CreateTemp(i.m.spool, "upload-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(beside.Name())
	defer beside.Close()
	there, err := l.client.UploadReader(ctx, file, beside, mediaTypes[b.Kind])
	if err != nil {
		return nil, fmt.Errorf("upload the file: %w", err)
	}
	part, err := i.describe(ctx, f, b, there)
	if err != nil {
		return nil, err
	}
	reference, err := proto.Marshal(part)
	if err != nil {
		return nil, err
	}
	return reference, i.m.store.KeepReference(ctx, i.id, b.ID, b.WaID, reference)
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
	if err != nil {
		return nil, &finalError{err}
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

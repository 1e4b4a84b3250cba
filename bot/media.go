package bot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"frontdesk/store"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	waEvents "go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of the fetching of files.
const (
	usualMediaMost = 256 << 20 // bytes of all files under way in this process (L29)
	mediaTogether  = 10        // jobs that are read at once
	mediaTime      = 5 * time.Minute
	mostFetches    = 8 // tries of one file
	mostAsked      = 3 // times that the phone is asked to upload it again
	phoneTime      = time.Minute
	overhead       = 1 << 10 // padding and sum of an encrypted file
)

var (
	errNoFile   = errors.New("this kind of message brings no file")
	errTooLarge = errors.New("the file is larger than its sender said")
)

// media fetches the files of one account, one after another, once their messages
// are stored. The rows say what waits.
type media struct {
	i       *Instance
	wake    chan struct{}
	notices chan *waE2E.HistorySyncNotification // earlier chats to read
}

func newMedia(i *Instance) *media {
	return &media{i: i, wake: make(chan struct{}, 1), notices: make(chan *waE2E.HistorySyncNotification, mostNotices)}
}

// run fetches until ctx ends.
func (f *media) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := lookAgain
		if f.round(ctx) == mediaTogether {
			wait = 0
		}
		select {
		case <-ctx.Done():
		case n := <-f.notices:
			f.readHistory(ctx, n)
		case <-f.wake:
		case <-time.After(wait):
		}
	}
}

// round fetches what waits and says how many files that were.
func (f *media) round(ctx context.Context) int {
	l := f.i.current()
	if l == nil || !l.online.Load() || !f.i.m.own() || f.i.m.files == nil {
		return 0
	}
	jobs, err := f.i.m.store.WantedMedia(ctx, f.i.id, mediaTogether)
	for _, j := range jobs {
		if ctx.Err() == nil {
			f.settle(ctx, l, j, f.fetch(ctx, l, j))
		}
	}
	if err != nil && ctx.Err() == nil {
		f.i.m.log.WarnContext(ctx, "Files that wait not looked for", slog.Int64("account", f.i.id), slog.Any("error", err))
	}
	return len(jobs)
}

// enter waits for room for a file of that size; leave gives it back.
func (m *Manager) enter(ctx context.Context, bytes int64) (leave func(), err error) {
	size := min(max(bytes, 1), m.mediaMost)
	if err := m.mediaRoom.Acquire(ctx, size); err != nil {
		return nil, err
	}
	m.counts.mediaBytes.Add(size)
	return func() {
		m.counts.mediaBytes.Add(-size)
		m.mediaRoom.Release(size)
	}, nil
}

// fetch streams a file from WhatsApp to the disk and from there to store.Files.
func (f *media) fetch(ctx context.Context, l *link, j store.MediaJob) error {
	part, err := referred(j.Kind, j.Reference)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	defer cancel()
	leave, err := f.i.m.enter(ctx, j.Bytes)
	if err != nil {
		return err
	}
	defer leave()
	beside, err := os.CreateTemp(f.i.m.spool, "media-*")
	if err != nil {
		return err
	}
	defer os.Remove(beside.Name())
	defer beside.Close()
	if err := l.client.DownloadToFile(ctx, part, &capped{beside, j.Bytes + overhead}); err != nil {
		return err
	}
	return f.keep(ctx, j, beside, part.GetFileSHA256())
}

// keep moves a file that is here to store.Files. Its sum was compared already.
func (f *media) keep(ctx context.Context, j store.MediaJob, file *os.File, sum []byte) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, store.SniffLength)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	kept := store.File{Name: store.NewFileName(), Label: j.Label, Mime: store.MimeOf(head[:n], j.Label), Bytes: info.Size(), SHA256: sum}
	if err := f.i.m.files.Put(ctx, kept.Name, file, kept.Bytes); err != nil {
		return fmt.Errorf("keep the file: %w", err)
	}
	return f.i.m.store.KeepMedia(ctx, j.MessageID, kept)
}

// settle writes down what became of a file that could not be fetched.
func (f *media) settle(ctx context.Context, l *link, j store.MediaJob, failed error) {
	if failed == nil || ctx.Err() != nil {
		return
	}
	s := f.i.m.store
	var err error
	switch {
	case errors.Is(failed, errTooLarge):
		err = s.GiveUpMedia(ctx, j.MessageID, "too_large", failed.Error())
	case gone(failed) && j.Asked < mostAsked:
		err = f.askPhone(ctx, l, j)
	case gone(failed):
		err = s.GiveUpMedia(ctx, j.MessageID, "gone", "WhatsApp does not have this file any more, and the phone did not upload it again")
	case j.Attempts+1 >= mostFetches || errors.Is(failed, errNoFile):
		err = s.GiveUpMedia(ctx, j.MessageID, "failed", plain(failed))
	default:
		err = s.PutOffMedia(ctx, j.MessageID, min(5*soon<<j.Attempts, 10*time.Minute), plain(failed))
	}
	f.i.m.log.WarnContext(ctx, "File not fetched", slog.Int64("account", f.i.id), slog.String("message", j.WaID), slog.String("error", plain(failed)))
	if err != nil && ctx.Err() == nil {
		f.i.m.log.WarnContext(ctx, "State of a file not written", slog.Int64("account", f.i.id), slog.Any("error", err))
	}
}

// gone says that WhatsApp's servers do not have the file.
func gone(err error) bool {
	return errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith403) || errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith404) ||
		errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith410)
}

// askPhone has the account's phone upload a file again.
func (f *media) askPhone(ctx context.Context, l *link, j store.MediaJob) error {
	part, err := referred(j.Kind, j.Reference)
	if err != nil {
		return err
	}
	chat, err := types.ParseJID(j.Chat)
	if err != nil {
		return err
	}
	about := &types.MessageInfo{ID: j.WaID, MessageSource: types.MessageSource{Chat: chat, Sender: chat, IsFromMe: j.Ours}}
	// The phone may answer before this returns, so it is written down first.
	if err := f.i.m.store.AwaitPhone(ctx, j.MessageID, phoneTime, "WhatsApp does not have this file any more; the phone was asked for it"); err != nil {
		return err
	}
	if err := l.client.SendMediaRetryReceipt(ctx, about, part.GetMediaKey()); err != nil {
		return f.i.m.store.NotAsked(ctx, j.MessageID, plain(err))
	}
	return nil
}

// uploadedAgain is told where the phone has put a file, or that it has not.
func (l *link) uploadedAgain(e *waEvents.MediaRetry) {
	ctx, cancel := context.WithTimeout(l.ctx, writeTime)
	defer cancel()
	j, err := l.i.m.store.MediaOf(ctx, l.i.id, e.MessageID)
	if err == nil {
		err = l.renew(ctx, j, e)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		l.i.m.log.WarnContext(ctx, "File that the phone uploaded again not used", slog.Int64("account", l.i.id), slog.String("error", plain(err)))
		return
	}
	poke(l.i.media.wake)
}

func (l *link) renew(ctx context.Context, j store.MediaJob, e *waEvents.MediaRetry) error {
	part, err := referred(j.Kind, j.Reference)
	if err != nil {
		return err
	}
	said, err := whatsmeow.DecryptMediaRetryNotification(e, part.GetMediaKey())
	if errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone) || (err == nil && said.GetResult() != waMmsRetry.MediaRetryNotification_SUCCESS) {
		return l.i.m.store.GiveUpMedia(ctx, j.MessageID, "gone", "neither WhatsApp nor the phone has this file any more")
	}
	if err != nil {
		return err
	}
	fields := part.ProtoReflect().Descriptor().Fields()
	part.ProtoReflect().Set(fields.ByName("directPath"), protoreflect.ValueOfString(said.GetDirectPath()))
	reference, err := proto.Marshal(part)
	if err != nil {
		return err
	}
	return l.i.m.store.RenewMedia(ctx, j, reference)
}

// capped is a file that takes no more than it should.
type capped struct {
	file *os.File
	most int64
}

func (c *capped) Write(p []byte) (int, error) {
	at, err := c.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if at+int64(len(p)) > c.most {
		return 0, errTooLarge
	}
	return c.file.Write(p)
}

func (c *capped) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > c.most {
		return 0, errTooLarge
	}
	return c.file.WriteAt(p, at)
}

func (c *capped) Read(p []byte) (int, error)                 { return c.file.Read(p) }
func (c *capped) ReadAt(p []byte, at int64) (int, error)     { return c.file.ReadAt(p, at) }
func (c *capped) Seek(offset int64, from int) (int64, error) { return c.file.Seek(offset, from) }
func (c *capped) Truncate(size int64) error                  { return c.file.Truncate(size) }
func (c *capped) Stat() (os.FileInfo, error)                 { return c.file.Stat() }

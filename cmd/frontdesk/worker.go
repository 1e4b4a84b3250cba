package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/flow"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// worker answers the customers of one kind of account: the providers, the turns
// and the accounts themselves. serve has one for WhatsApp, its sandbox another.
type worker struct {
	process    store.Process
	engine     *flow.Engine
	automation atomic.Pointer[automation] // hears rings as soon as it is there

	files   store.Files
	ringer  *store.Ringer // tells other processes what is new
	ai      *providers.Registry
	turns   *conversation.Processor
	library *conversation.Library
	manager *bot.Manager
}

// startWorker starts the parts of a worker and adds them to the chain. Those of audience
// hear who types.
func startWorker(ctx context.Context, c *chain, s *Settings, d *database, kind string, web *http.Client, to audience) (*worker, error) {
	w := &worker{ringer: d.NewRinger(), process: thisProcess(kind, s)}
	var err error
	if w.files, err = openFiles(ctx, s, d, w.process); err != nil {
		return nil, err
	}
	w.ringer.Start(ctx)
	c.add("doorbells", 100*time.Millisecond, w.ringer.Close)
	w.ai = providers.New(providers.Options{
		Store: d.Store, Log: c.log, Allow: s.AllowPrivate, Limit: s.Limits.Providers, UsageTick: s.Limits.UsageTick,
	})
	if err := w.ai.Start(ctx); err != nil {
		return nil, err
	}
	c.add("AI service", 200*time.Millisecond, w.ai.Close)

	w.library = conversation.NewLibrary(d.Store, w.ai, providers.Guarded(nil), c.log) // private networks are for providers, not for what pages lead to
	w.library.Start(ctx)
	c.add("document library", 200*time.Millisecond, w.library.Close)

	w.engine = newEngine(c, s, d, w)
	w.manager = bot.New(bot.Options{
		Store: d.Store, DB: d.WhatsApp(), Process: w.process, Files: w.files,
		Log: c.log, HTTP: web, Lease: s.Limits.Lease, Debounce: conversation.Debounce, Consent: conversation.Consent, Subscribers: s.Limits.Subscribers,
		LedgerRecipients: s.Limits.LedgerRecipients, LedgerEntries: s.Limits.LedgerEntries, LedgerCleanup: s.Limits.LedgerCleanup,
		RateWindow: s.Limits.RateWindow, MediaBytes: int64(s.Limits.MediaMiB) << 20,
		Bell: w.heard, Note: w.ringer.Note, Typing: to.typing("customer"), Watched: to.there,
		Received: func(account, conversation int64, wait time.Duration) { w.turns.Wake(account, conversation, wait) },
	})
	w.turns = conversation.New(conversation.Options{
		Store: d.Store, Accounts: w.manager, AI: w.ai, Files: w.files, Log: c.log, Turns: s.Limits.Turns, TurnTimeout: s.Limits.TurnTimeout,
		QueueWatch: s.Limits.QueueWatch, Drain: s.Limits.Drain, HTTP: providers.Guarded(s.AllowPrivate), Library: w.library, Flows: startable{w.engine},
		Typing: to.typing("us"),
	})
	if err := w.manager.Start(ctx); err != nil {
		return nil, err
	}
	c.add("WhatsApp service", 1200*time.Millisecond, w.manager.Close)
	if err := w.turns.Start(ctx); err != nil {
		return nil, err
	}
	c.add("Conversation service", s.Limits.Drain+200*time.Millisecond, w.turns.Close)
	return w, nil
}

// openFiles is where files are kept, which all processes must share.
func openFiles(ctx context.Context, s *Settings, d *database, p store.Process) (store.Files, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	err = d.CheckFiles(ctx, files, p)
	if other, wrong := errors.AsType[*store.OtherFilesError](err); wrong {
		return nil, &settingsError{"FRONTDESK_FILES_URL: " + other.Error()}
	}
	return files, err
}

// files is the place of files, as it is set.
func (s *Settings) files() (store.Files, error) {
	address := s.FilesURL
	if address == "" {
		address = filepath.Join(s.DataDir, "files")
	}
	files, err := store.OpenFiles(address)
	if err != nil {
		return nil, &settingsError{"FRONTDESK_FILES_URL: " + err.Error()}
	}
	return files, nil
}

// heard reloads the providers when one of them has changed, wherever that was done.
func (w *worker) heard(b store.Bell) {
	if b.Topic == "" || b.Topic == "provider" {
		w.ai.Reload()
	}
	if b.Topic == "" || b.Topic == "knowledge" {
		w.library.Wake()
	}
	if a := w.automation.Load(); a != nil {
		a.heard(b)
	}
}

// thisProcess is what the others see of this process.
func thisProcess(kind string, s *Settings) store.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return store.Process{
		ID: host + "/" + kind + "/" + store.NewMessageID()[4:], Kind: kind, Cap: s.Limits.Accounts, Host: host, Version: version(),
	}
}

// follow hears of every change of an account.
func (w *worker) follow() (changes <-chan int64, end func(), err error) {
	s, err := w.manager.Subscribe(bot.TopicAccount)
	if err != nil {
		return nil, nil, err
	}
	return s.C, s.Close, nil
}

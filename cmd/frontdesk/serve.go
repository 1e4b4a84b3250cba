package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/bot/watch"
	"frontdesk/bot/web"
	"frontdesk/providers"
	"frontdesk/store"

	"github.com/prometheus/client_golang/prometheus"
)

type serveCommand struct{}

// linkValid is how long the sign-in link of the start is good.
const linkValid = time.Hour

// Run is frontdesk serve: it starts everything, waits for a signal and stops
// everything in reverse (L30).
func (serveCommand) Run(ctx context.Context, s *Settings, stop stopSignals) error {
	log := s.logger()
	slog.SetDefault(log)
	limitMemory()
	c := &chain{log: log}
	w, box, err := start(ctx, c, s)
	if err != nil {
		return stopped(err, c.Stop(s.Limits.Shutdown)) //nolint:contextcheck // the stop has its own time
	}
	<-ctx.Done()
	stop() // a second signal now kills the process
	log.Info("Stopping")
	w.manager.Pause() // receive nothing more: WhatsApp will offer it again
	box.hint()
	if err := c.Stop(s.Limits.Shutdown); err != nil { //nolint:contextcheck // the stop has its own time
		return err
	}
	log.Info("Stopped")
	return nil
}

// memoryLimit is where the garbage collector begins to work harder (L29).
const memoryLimit = 900 << 20

// limitMemory sets it, unless GOMEMLIMIT says otherwise.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// start brings up every part, ground floor first.
func start(ctx context.Context, c *chain, s *Settings) (*worker, *sandbox, error) {
	listener, err := listen(ctx, s.Listen)
	if err != nil {
		return nil, nil, err
	}
	closeListener := func() { listener.Close() }
	d, err := openDatabase(ctx, s, c.log, false)
	if err != nil {
		closeListener()
		return nil, nil, err
	}
	c.add("database", 900*time.Millisecond, func(ctx context.Context) error {
		d.close(ctx)
		c.log.InfoContext(ctx, "Database stopped")
		return nil
	})
	w, box, err := startAbove(ctx, c, s, d, listener)
	if err != nil {
		closeListener()
	}
	return w, box, err
}

// startAbove brings up what stands on the database.
func startAbove(ctx context.Context, c *chain, s *Settings, d *database, listener net.Listener) (*worker, *sandbox, error) {
	if err := d.migrate(ctx); err != nil {
		return nil, nil, err
	}
	if s.embedded() {
		if err := d.ForgetProcesses(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := startDemo(ctx, c, d); err != nil {
		return nil, nil, err
	}
	var automated atomic.Pointer[automation] // it starts later
	memory := watch.New(watch.Options{
		Log: c.log, Interval: s.Limits.MemoryInterval, AlarmMiB: s.Limits.MemoryAlarmMiB,
		Executions:   func() int { return automated.Load().executions() },
		Sockets:      func() int { return automated.Load().sockets() },
		EventBuffers: func() int { return automated.Load().buffers() },
	})
	if err := memory.Start(ctx); err != nil {
		return nil, nil, err
	}
	c.add("memory watch", 100*time.Millisecond, memory.Close)

	client, err := s.whatsApp()
	if err != nil {
		return nil, nil, err
	}
	follow := audience{
		hear:  func(t typed) { automated.Load().typed(t) },
		there: func() bool { return automated.Load().followed() },
	}
	box, err := startSandbox(ctx, c, s, d, follow)
	if err != nil {
		return nil, nil, err
	}
	w, err := startWorker(ctx, c, s, d, store.KindWhatsApp, client, follow)
	if err != nil {
		return nil, nil, err
	}
	a, err := startAutomation(ctx, c, s, d, w, s.consoleURL(listener.Addr().String()))
	if err != nil {
		return nil, nil, err
	}
	automated.Store(a)
	return w, box, startDoors(ctx, c, s, d, w, a, box, memory, listener)
}

// startDoors opens the console and the API.
func startDoors(ctx context.Context, c *chain, s *Settings, d *database, w *worker, a *automation, box *sandbox, memory *watch.Memory, listener net.Listener) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(d.Store, w, a, memory))
	if err := startMetrics(ctx, c, s, registry); err != nil {
		return err
	}
	o := web.Options{
		Store: d.Store, AI: w.ai, Engine: a.engine, Log: c.log, PublicURL: s.consoleURL(listener.Addr().String()), AccountsPerProcess: s.Limits.Accounts, Lease: s.Limits.Lease,
		Files: w.files, Fetch: providers.Guarded(s.AllowPrivate),
		Ready: readiness(d, w, box), Metrics: registry, Version: version(), Queued: func(account, _ int64) { w.ringer.Note("send", account) }, Follow: w.follow, Library: w.library, Stage: w.turns,
	}
	if box != nil {
		o.Sandbox = box
	}
	o.Live = a.hub
	doors, err := web.New(o) //nolint:contextcheck // its requests bring their own
	if err != nil {
		return err
	}
	if err := a.startIntake(ctx, c, s, d, w, doors.SignedIn); err != nil {
		return err
	}
	doors.TakeWebhooks(a.intake)
	if err := doors.Start(listener); err != nil {
		return err
	}
	c.add("HTTP server", time.Second, doors.Close)
	return greet(ctx, s, d, listener.Addr().String())
}

// greet says where the console is and how to enter it.
func greet(ctx context.Context, s *Settings, d *database, bound string) error {
	secret, err := d.AddSignInLink(ctx, linkValid)
	if err != nil {
		return err
	}
	address := s.consoleURL(bound)
	fmt.Printf("\n  frontdesk is running at %s\n  Sign in once, within the hour: %s/sign-in?link=%s\n\n", address, address, secret)
	return nil
}

// readiness names what keeps this process from its work.
func readiness(d *database, w *worker, box *sandbox) func(context.Context) []string {
	return func(ctx context.Context) (reasons []string) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := d.Ping(ctx); err != nil {
			reasons = append(reasons, "The database does not answer")
		}
		if err := w.turns.Ready(); err != nil {
			reasons = append(reasons, err.Error())
		}
		if box != nil && !box.ready() {
			reasons = append(reasons, "The sandbox is starting")
		}
		return reasons
	}
}

// listen takes the address before anything else starts, so that a taken one is
// said at once.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var l net.ListenConfig
	listener, err := l.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &settingsError{fmt.Sprintf("listen on %s: %v; stop what uses the port, or set FRONTDESK_LISTEN to another", address, plainListen(err))}
	}
	return listener, nil
}

func plainListen(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

// whatsApp is the way to a WhatsApp of one's own; nil: the real one.
func (s *Settings) whatsApp() (*http.Client, error) {
	key, err := s.certKey()
	if err != nil || key == nil {
		return nil, err
	}
	bot.Trust(*key)
	client, err := wasim.HTTPClient(s.WhatsAppURL)
	if err != nil {
		return nil, &settingsError{"FRONTDESK_WHATSAPP_URL: " + err.Error()}
	}
	return client, nil
}

// startDemo serves frontdesk's own demo provider on loopback and keeps its row
// while there is no other.
func startDemo(ctx context.Context, c *chain, d *database) error {
	listener, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: providers.Demo(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close below
	c.add("demo provider", 100*time.Millisecond, func(context.Context) error { return server.Close() })
	return d.EnsureDemoProvider(ctx, "http://"+listener.Addr().String()+"/v1")
}

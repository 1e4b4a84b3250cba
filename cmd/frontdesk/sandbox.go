package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/wasim"
	"frontdesk/bot/web"
	"frontdesk/store"
	"frontdesk/store/pglocal"
)

// sandboxPhone is the number of the sandbox's phone: fictional, as all of its
// customers are.
const sandboxPhone = "12025550100"

// sandboxReport is what the child says on its standard output: once it is ready, and
// whenever somebody types.
type sandboxReport struct {
	Control string `json:"control,omitempty"` // address of the loopback WhatsApp's controls
	Typed   *typed `json:"typed,omitempty"`
}

// sandbox is the child process that holds the loopback WhatsApp and its
// accounts: whatsmeow trusts one certificate root per process. It is started
// again when it ends by itself.
type sandbox struct {
	log  *slog.Logger
	args []string
	env  []string
	to   audience

	stopping context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex
	input   io.Closer      // its end tells the child to stop; guarded by mu
	control *wasim.Control // nil until the child is ready; guarded by mu
}

// startSandbox starts the child, if settings ask for it. Those of audience hear who types
// there.
func startSandbox(ctx context.Context, c *chain, s *Settings, d *database, to audience) (*sandbox, error) {
	if !s.sandbox() {
		return nil, nil //nolint:nilnil // no sandbox is an answer
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &sandbox{log: c.log, args: []string{executable, "sandbox"}, to: to, done: make(chan struct{})}
	b.env = append(os.Environ(), "DATABASE_URL="+d.dsn, "FRONTDESK_DATA_DIR="+s.DataDir, "FRONTDESK_SECRET_KEY_FILE="+s.keyFile(),
		"FRONTDESK_SANDBOX=off", "FRONTDESK_WHATSAPP_URL=", "FRONTDESK_WHATSAPP_CERT_KEY=")
	ctx, b.stopping = context.WithCancel(context.WithoutCancel(ctx))
	go b.keep(ctx)
	c.add("sandbox", s.Limits.Drain+time.Second, b.stop)
	return b, nil
}

// hint tells the child to stop, without waiting. Safe on nil.
func (b *sandbox) hint() {
	if b == nil {
		return
	}
	b.stopping()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.input != nil {
		b.input.Close()
	}
}

func (b *sandbox) stop(ctx context.Context) error {
	b.hint()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return errors.New("the sandbox did not end")
	}
}

// keep runs the child until the stop.
func (b *sandbox) keep(ctx context.Context) {
	defer close(b.done)
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, 30*time.Second) {
		err := b.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		b.log.ErrorContext(ctx, "Sandbox ended by itself, starting it again", slog.Any("error", err), slog.Duration("pause", pause))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (b *sandbox) runOnce(ctx context.Context) error {
	child := exec.Command(b.args[0], b.args[1:]...) //nolint:gosec,noctx // this very binary; the end of its input ends it
	child.Env, child.Stderr = b.env, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the parent
	input, err := child.StdinPipe()
	if err != nil {
		return err
	}
	output, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	b.attach(ctx, input)
	b.listenTo(output)
	b.setControl(nil)
	return child.Wait()
}

func (b *sandbox) attach(ctx context.Context, input io.Closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.input = input
	if ctx.Err() != nil {
		input.Close() // the stop came while it was starting
	}
}

// listenTo reads the child's reports until the end of its output.
func (b *sandbox) listenTo(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var r sandboxReport
		switch err := json.Unmarshal(lines.Bytes(), &r); {
		case err != nil:
		case r.Control != "":
			b.setControl(wasim.NewControl(r.Control))
		case r.Typed != nil:
			b.to.hear(*r.Typed)
		}
	}
}

func (b *sandbox) setControl(c *wasim.Control) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.control = c
}

func (b *sandbox) ready() bool { return b.controls() != nil }

func (b *sandbox) controls() *wasim.Control {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.control
}

var errSandboxStarting = errors.New("the sandbox is starting; try again in a moment")

// Scan has the phone with that number scan a code.
func (b *sandbox) Scan(ctx context.Context, phone, qr string) error {
	c := b.controls()
	if c == nil {
		return errSandboxStarting
	}
	return c.Scan(ctx, phone, qr)
}

// Send writes to an account as a customer.
func (b *sandbox) Send(ctx context.Context, customer, account, text string) (id string, err error) {
	c := b.controls()
	if c == nil {
		return "", errSandboxStarting
	}
	return c.Send(ctx, customer, account, text)
}

// Messages are what the customer's phone shows of the chat, from after on.
func (b *sandbox) Messages(ctx context.Context, customer, account string, after int, wait time.Duration) (chat []web.SandboxMessage, typing bool, err error) {
	c := b.controls()
	if c == nil {
		return nil, false, errSandboxStarting
	}
	found, typing, err := c.Messages(ctx, customer, account, after, wait)
	for _, m := range found {
		chat = append(chat, web.SandboxMessage{Seq: m.Seq, ID: m.ID, Text: m.Text, FromCustomer: m.FromCustomer, At: m.At, Status: m.Status})
	}
	return chat, typing, err
}

// sandboxCommand is the child's side.
type sandboxCommand struct{}

// Run holds the loopback WhatsApp and answers its customers until standard input
// ends, which it does however the parent ends.
func (sandboxCommand) Run(ctx context.Context, s *Settings, stop stopSignals) error {
	log := s.logger().With(slog.String("process", "sandbox"))
	slog.SetDefault(log)
	limitMemory()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	c := &chain{log: log}
	w, err := startChild(ctx, c, s)
	if err != nil {
		return stopped(err, c.Stop(s.Limits.Shutdown)) //nolint:contextcheck // the stop has its own time
	}
	<-ctx.Done()
	stop()
	w.manager.Pause()
	return c.Stop(s.Limits.Shutdown) //nolint:contextcheck // the stop has its own time
}

func startChild(ctx context.Context, c *chain, s *Settings) (*worker, error) {
	unlock, err := lockSandbox(ctx, s.DataDir)
	if err != nil {
		return nil, err
	}
	c.add("sandbox's folder", 100*time.Millisecond, func(context.Context) error { unlock(); return nil })
	d, err := openDatabase(ctx, s, c.log, false)
	if err != nil {
		return nil, err
	}
	c.add("database", 500*time.Millisecond, func(ctx context.Context) error { d.close(ctx); return nil })
	account, _, err := sandboxAccount(ctx, s, d)
	if err != nil {
		return nil, err
	}
	if err := putExamples(ctx, d, account); err != nil {
		return nil, err
	}
	loopback, err := wasim.New(wasim.Options{StateFile: filepath.Join(s.DataDir, "sandbox.state"), Log: c.log})
	if err != nil {
		return nil, err
	}
	if err := loopback.Start(ctx); err != nil {
		return nil, err
	}
	c.add("loopback WhatsApp", time.Second, loopback.Close)
	bot.Trust(loopback.CertKey())
	client, err := wasim.HTTPClient(loopback.URL())
	if err != nil {
		return nil, err
	}
	say := startReports(c)
	w, err := startWorker(ctx, c, s, d, store.KindSandbox, client, audience{hear: func(t typed) { say(sandboxReport{Typed: &t}) }})
	if err != nil {
		return nil, err
	}
	startPairing(ctx, c, s, d, loopback)
	say(sandboxReport{Control: loopback.ControlURL()})
	return w, nil
}

// mostReports may wait for the parent; others are forgotten.
const mostReports = 64

// startReports returns what says something to the parent, without waiting for it. A
// parent that has gone is no reason to end at once.
func startReports(c *chain) (say func(sandboxReport)) {
	signal.Ignore(syscall.SIGPIPE)
	reports, stop, done := make(chan sandboxReport, mostReports), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		out := json.NewEncoder(os.Stdout)
		for {
			select {
			case r := <-reports:
				_ = out.Encode(r)
			case <-stop:
				return
			}
		}
	}()
	c.add("reports", 100*time.Millisecond, func(context.Context) error {
		close(stop)
		<-done
		return nil
	})
	return func(r sandboxReport) {
		select {
		case reports <- r:
		default:
		}
	}
}

// lockSandbox waits for the sandbox of a killed frontdesk to end: both would
// write the same state.
func lockSandbox(ctx context.Context, dir string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		unlock, err = pglocal.Lock(filepath.Join(dir, "sandbox.lock"))
		if !pglocal.Held(err) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another sandbox is still running: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// startPairing links the sandbox's phone to an account at the first start, by
// the same code that people scan.
func startPairing(ctx context.Context, c *chain, s *Settings, d *database, loopback *wasim.Server) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := pairSandbox(ctx, s, d, loopback); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "Sandbox account not paired", slog.Any("error", err))
		}
	}()
	c.add("sandbox pairing", 500*time.Millisecond, func(context.Context) error {
		stop()
		<-done
		return nil
	})
}

func pairSandbox(ctx context.Context, s *Settings, d *database, loopback *wasim.Server) error {
	account, fresh, err := sandboxAccount(ctx, s, d)
	if err != nil || !fresh {
		return err
	}
	for {
		p, err := d.WantPairing(ctx, account, time.Minute)
		if err != nil {
			return err
		}
		if p.Fresh {
			return loopback.Phone(sandboxPhone).Scan(ctx, p.Code)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// sandboxAccount is the sandbox's first account; fresh says that it has never
// been paired.
func sandboxAccount(ctx context.Context, s *Settings, d *database) (id int64, fresh bool, err error) {
	accounts, err := d.Accounts(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, a := range accounts {
		if a.Kind == store.KindSandbox {
			return a.ID, a.Phone == nil, nil
		}
	}
	a, err := d.AddAccount(ctx, store.KindSandbox, "Sandbox", s.Limits.Accounts)
	return a.ID, true, err
}

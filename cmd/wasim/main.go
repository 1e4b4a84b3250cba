package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"frontdesk/bot/wasim"

	"github.com/alecthomas/kong"
)

// commands are what wasim can do. All but serve move a server that runs.
type commands struct {
	Serve serveCommand `cmd:"" help:"Be WhatsApp on loopback."`
	Phone phoneCommand `cmd:"" help:"Use an account owner's phone."`
	Send  sendCommand  `cmd:"" help:"Write to an account as a customer, and show the answers."`
	Fault faultCommand `cmd:"" help:"Make something go wrong."`
	Stats statsCommand `cmd:"" help:"Show what happened so far."`
	Load  loadCommand  `cmd:"" help:"Have many customers write, and report what became of it."`
}

func main() {
	var c commands
	chosen := kong.Parse(&c, kong.Name("wasim"), kong.Description("A loopback WhatsApp for tests, with phones, customers and faults."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen.BindTo(ctx, (*context.Context)(nil))
	chosen.FatalIfErrorf(chosen.Run())
}

// controlled is the server that a command moves.
type controlled struct {
	Control string `env:"WASIM_CONTROL" default:"http://127.0.0.1:4100/control" help:"Control address of a running server."`
}

type serveCommand struct {
	Listen string `default:"127.0.0.1:4100" help:"Address; loopback only."`
	State  string `default:"wasim.state" help:"File that accounts survive in."`
}

// Run is wasim serve.
func (c serveCommand) Run(ctx context.Context) error {
	server, err := wasim.New(wasim.Options{Listen: c.Listen, StateFile: c.State, Log: slog.Default()})
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	key := server.CertKey()
	fmt.Printf("FRONTDESK_WHATSAPP_URL=%s\nFRONTDESK_WHATSAPP_CERT_KEY=%s\nWASIM_CONTROL=%s\n", server.URL(), hex.EncodeToString(key[:]), server.ControlURL())
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Close(closing)
}

type phoneCommand struct {
	Scan   scanCommand   `cmd:"" help:"Scan a code, as a bare list or a link."`
	Unlink unlinkCommand `cmd:"" help:"Remove the linked device."`
	Type   typeCommand   `cmd:"" help:"Write to a customer on the phone itself."`
}

type scanCommand struct {
	controlled

	Number string `arg:"" help:"The phone's number, digits only."`
	Code   string `arg:"" help:"What the QR code says."`
}

// Run is wasim phone scan.
func (c scanCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).Scan(ctx, c.Number, c.Code)
}

type unlinkCommand struct {
	controlled

	Number string `arg:""`
}

// Run is wasim phone unlink.
func (c unlinkCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).Unlink(ctx, c.Number)
}

type typeCommand struct {
	controlled

	Number   string `arg:""`
	Customer string `arg:""`
	Text     string `arg:""`
}

// Run is wasim phone type.
func (c typeCommand) Run(ctx context.Context) error {
	_, err := wasim.NewControl(c.Control).PhoneSend(ctx, c.Number, c.Customer, c.Text)
	return err
}

type sendCommand struct {
	controlled

	Customer string        `arg:"" help:"The customer's number, digits only."`
	Account  string        `arg:"" help:"The account's number."`
	Text     string        `arg:""`
	Wait     time.Duration `default:"15s" help:"How long to wait for answers."`
}

// Run is wasim send.
func (c sendCommand) Run(ctx context.Context) error {
	control := wasim.NewControl(c.Control)
	before, _, err := control.Messages(ctx, c.Customer, c.Account, 0, 0)
	if err != nil {
		return err
	}
	last := 0
	if len(before) > 0 {
		last = before[len(before)-1].Seq
	}
	if _, err := control.Send(ctx, c.Customer, c.Account, c.Text); err != nil {
		return err
	}
	for end := time.Now().Add(c.Wait); time.Now().Before(end); {
		fresh, _, err := control.Messages(ctx, c.Customer, c.Account, last, time.Until(end))
		if err != nil {
			return err
		}
		for _, m := range fresh {
			last = max(last, m.Seq)
			if !m.FromCustomer {
				fmt.Println(m.Text)
			}
		}
	}
	return nil
}

type faultCommand struct {
	controlled

	Kind     string        `arg:"" help:"Such as cut, ack-drop, replaced, logged-out, refuse, clear."`
	Account  string        `help:"Only this account."`
	Customer string        `help:"Only this customer."`
	After    int           `help:"Occasions to let pass first."`
	Count    int           `help:"Times to strike."`
	For      time.Duration `help:"How long it may strike."`
	Delay    time.Duration `help:"How long ack-delay holds back."`
	Code     int           `help:"The error code to give."`
}

// Run is wasim fault.
func (c faultCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).Fault(ctx, wasim.Fault{
		Kind: wasim.FaultKind(c.Kind), Account: c.Account, Customer: c.Customer, After: c.After, Count: c.Count,
		For: c.For, Delay: c.Delay, Code: c.Code,
	})
}

type statsCommand struct{ controlled }

// Run is wasim stats.
func (c statsCommand) Run(ctx context.Context) error {
	stats, err := wasim.NewControl(c.Control).Stats(ctx)
	if err == nil {
		fmt.Println(stats)
	}
	return err
}

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mimetypes "mime"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
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
	Code   codeCommand   `cmd:"" help:"Type a pairing code, such as ABCD-EFGH."`
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

type codeCommand struct {
	controlled

	Number string `arg:"" help:"The phone's number, digits only."`
	Code   string `arg:"" help:"The code that the account shows."`
}

// Run is wasim phone code.
func (c codeCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).EnterCode(ctx, c.Number, c.Code)
}

type unlinkCommand struct {
	controlled

	Number string `arg:"" help:"The phone's number, digits only."`
}

// Run is wasim phone unlink.
func (c unlinkCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).Unlink(ctx, c.Number)
}

type typeCommand struct {
	controlled

	Number   string `arg:"" help:"The phone's number, digits only."`
	Customer string `arg:"" help:"The customer's number."`
	Text     string `arg:"" help:"What to write."`
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
	Text     string        `arg:"" optional:"" help:"What to write; with --media its caption."`
	Media    string        `type:"existingfile" help:"A file to send: a picture, video, sound or anything else, by its content."`
	Voice    bool          `help:"The sound is a voice note."`
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
	if err := c.send(ctx, control); err != nil {
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

// send sends the file, if there is one, or else the text.
func (c sendCommand) send(ctx context.Context, control *wasim.Control) error {
	if c.Media == "" && c.Text == "" {
		return errors.New("say what to send: a text, or a file with --media")
	}
	if c.Media == "" {
		_, err := control.Send(ctx, c.Customer, c.Account, c.Text)
		return err
	}
	data, err := os.ReadFile(c.Media)
	if err != nil {
		return err
	}
	m := wasim.Media{Name: filepath.Base(c.Media), Mime: mime(c.Media, data), Caption: c.Text, Data: data, Voice: c.Voice}
	m.Kind = kind(m.Mime)
	_, err = control.SendMedia(ctx, c.Customer, c.Account, m)
	return err
}

// mime is what a file is, by its content or else its name.
func mime(path string, data []byte) string {
	found := http.DetectContentType(data)
	if byName := mimetypes.TypeByExtension(filepath.Ext(path)); byName != "" && strings.HasPrefix(found, "application/octet-stream") {
		return byName
	}
	if found == "application/ogg" {
		return "audio/ogg; codecs=opus"
	}
	return found
}

// kind is as what phones send a file of that type.
func kind(mime string) string {
	switch family, _, _ := strings.Cut(mime, "/"); family {
	case wasim.Image, wasim.Video, wasim.Audio:
		return family
	}
	return wasim.Document
}

type faultCommand struct {
	controlled

	Kind     string        `arg:"" help:"Such as cut, freeze, ack-drop, nack, timelock, media-gone, replaced, logged-out, refuse, clear."`
	Account  string        `help:"Only this account."`
	Customer string        `help:"Only this customer."`
	After    int           `help:"Occasions to let pass first."`
	Count    int           `help:"Times to strike."`
	For      time.Duration `help:"How long it may strike."`
	Delay    time.Duration `help:"How long ack-delay holds back, or a ban or a timelock lasts."`
	NewChats bool          `help:"Let nack spare customers who have written to the account."`
	Code     int           `help:"The error code to give."`
}

// Run is wasim fault.
func (c faultCommand) Run(ctx context.Context) error {
	return wasim.NewControl(c.Control).Fault(ctx, wasim.Fault{
		Kind: wasim.FaultKind(c.Kind), Account: c.Account, Customer: c.Customer, After: c.After, Count: c.Count,
		For: c.For, Delay: c.Delay, Code: c.Code, NewChats: c.NewChats,
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

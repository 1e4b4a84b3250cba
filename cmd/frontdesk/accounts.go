package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"frontdesk/store"

	"github.com/mdp/qrterminal/v3"
)

type accountsCommand struct {
	List   accountsListCommand   `cmd:"" help:"List all accounts."`
	Logout accountsLogoutCommand `cmd:"" help:"Unlink the phone; conversations stay."`
	Remove accountsRemoveCommand `cmd:"" help:"Remove an account with its conversations."`
}

type accountsListCommand struct{}

// Run is frontdesk accounts list.
func (accountsListCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		accounts, err := d.Accounts(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tNAME\tKIND\tPHONE\tSTATUS\tCAUSE")
		for _, a := range accounts {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.Name, a.Kind, orDash(a.Phone), a.Status, a.StatusCause)
		}
		return t.Flush()
	})
}

func orDash(text *string) string {
	if text == nil {
		return "-"
	}
	return "+" + *text
}

type accountsLogoutCommand struct {
	ID int64 `arg:"" help:"As in the list."`
}

// Run is frontdesk accounts logout.
func (c accountsLogoutCommand) Run(ctx context.Context, s *Settings) error {
	return wantOf(ctx, s, c.ID, store.WantLogout, "The phone is being unlinked.")
}

type accountsRemoveCommand struct {
	ID int64 `arg:"" help:"As in the list."`
}

// Run is frontdesk accounts remove.
func (c accountsRemoveCommand) Run(ctx context.Context, s *Settings) error {
	return wantOf(ctx, s, c.ID, store.WantDelete, "The account is being removed.")
}

func wantOf(ctx context.Context, s *Settings, id int64, w store.Wanted, done string) error {
	return withStore(ctx, s, func(d *database) error {
		err := d.Want(ctx, id, w, s.Limits.Accounts)
		if errors.Is(err, store.ErrNotFound) {
			return &settingsError{fmt.Sprintf("there is no account %d; see 'frontdesk accounts list'", id)}
		}
		if err == nil {
			fmt.Println(done, "A running serve does it at once.")
		}
		return err
	})
}

type pairCommand struct {
	Name  string `arg:"" help:"Name of the account; a new one is made if there is none unpaired."`
	Phone string `help:"The phone's number with country code: show a code to type there instead of one to scan."`
}

// How long pair shows codes, and how long they are kept fresh without a look.
const (
	pairingTime = 3 * time.Minute
	pairingLook = 30 * time.Second
)

// Run is frontdesk pair: it shows codes until the phone is linked. A serve must be
// running, for it holds the connection.
func (c pairCommand) Run(ctx context.Context, s *Settings) error {
	number := strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "").Replace(c.Phone)
	if c.Phone != "" && (len(number) < 5 || len(number) > 15 || strings.Trim(number, "0123456789") != "" || number[0] == '0') {
		return &settingsError{"--phone is not a number with country code, such as +12025550123"}
	}
	return withStore(ctx, s, func(d *database) error {
		account, err := unpaired(ctx, s, d, c.Name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, pairingTime)
		defer cancel()
		return showCodes(ctx, d, account, number)
	})
}

func unpaired(ctx context.Context, s *Settings, d *database, name string) (int64, error) {
	accounts, err := d.Accounts(ctx)
	if err != nil {
		return 0, err
	}
	for _, a := range accounts {
		if a.Name == name && a.Kind == store.KindWhatsApp && !a.Paired() {
			return a.ID, nil
		}
	}
	a, err := d.AddAccount(ctx, store.KindWhatsApp, name, s.Limits.Accounts)
	return a.ID, err
}

// showCodes shows every new code until the account has a phone: one to scan, or
// one to type on the phone with that number.
func showCodes(ctx context.Context, d *database, account int64, number string) error {
	if number != "" {
		if _, err := d.WantTypedCode(ctx, account, number, pairingLook); err != nil {
			return err
		}
	}
	shown := ""
	for {
		a, err := d.Account(ctx, account)
		if err != nil {
			return err
		}
		if a.Paired() {
			fmt.Println("Linked. The account answers from now on.")
			return nil
		}
		p, err := d.WantPairing(ctx, account, pairingLook)
		if err != nil {
			return err
		}
		if number != "" && p.Problem != "" {
			return errors.New(p.Problem)
		}
		shown = showCode(p, number, shown)
		select {
		case <-ctx.Done():
			return fmt.Errorf("no phone was linked (status %s: %s); is 'frontdesk serve' running?", a.Status, a.StatusCause)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// showCode prints a code that was not shown yet and returns the one that was.
func showCode(p store.Pairing, number, shown string) string {
	switch {
	case number != "" && p.TypedFresh && p.TypedCode != shown:
		fmt.Printf("\nOn the phone: WhatsApp, Linked devices, Link with phone number instead. Type:\n\n    %s\n", p.TypedCode)
		return p.TypedCode
	case number == "" && p.Fresh && p.Code != shown:
		fmt.Println("\nScan with WhatsApp: Settings, Linked devices, Link a device.")
		qrterminal.GenerateHalfBlock(p.Code, qrterminal.L, os.Stdout)
		return p.Code
	}
	return shown
}

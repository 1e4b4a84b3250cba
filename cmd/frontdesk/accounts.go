package main

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	Name string `arg:"" help:"Name of the account; a new one is made if there is none unpaired."`
}

// pairingTime is how long pair shows codes.
const pairingTime = 3 * time.Minute

// Run is frontdesk pair: it shows codes until the phone is linked. A serve must be
// running, for it holds the connection.
func (c pairCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		account, err := unpaired(ctx, s, d, c.Name)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, pairingTime)
		defer cancel()
		return showCodes(ctx, d, account)
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

// showCodes draws every new code until the account has a phone.
func showCodes(ctx context.Context, d *database, account int64) error {
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
		p, err := d.WantPairing(ctx, account, 30*time.Second)
		if err != nil {
			return err
		}
		if p.Fresh && p.Code != shown {
			shown = p.Code
			fmt.Println("\nScan with WhatsApp: Settings, Linked devices, Link a device.")
			qrterminal.GenerateHalfBlock(p.Code, qrterminal.L, os.Stdout)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no phone scanned the code (status %s: %s); is 'frontdesk serve' running?", a.Status, a.StatusCause)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"frontdesk/providers"
	"frontdesk/store"
)

type providersCommand struct {
	List       providersListCommand   `cmd:"" help:"List all providers, the first to be asked first."`
	Add        providersAddCommand    `cmd:"" help:"Add a provider; its key is read from FRONTDESK_PROVIDER_KEY."`
	Set        providersSetCommand    `cmd:"" help:"Change a provider."`
	Test       providersTestCommand   `cmd:"" help:"Ask a provider for a word."`
	Remove     providersRemoveCommand `cmd:"" help:"Remove a provider."`
	RotateKeys providersRotateCommand `cmd:"" help:"Seal every stored key anew with the newest secret key."`
}

type providersListCommand struct{}

// Run is frontdesk providers list.
func (providersListCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		all, err := d.Providers(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tPRIORITY\tNAME\tMODEL\tACTIVE\tKEY\tADDRESS")
		for _, p := range all {
			fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%t\t%s\t%s\n", p.ID, p.Priority, p.Name, p.Model, p.Active, p.KeyHint, p.BaseURL)
		}
		return t.Flush()
	})
}

// providerKey is where keys come from: an argument would be seen by others.
const providerKey = "FRONTDESK_PROVIDER_KEY"

type providersAddCommand struct {
	Name     string `arg:"" help:"Name for people."`
	BaseURL  string `arg:"" name:"base-url" help:"OpenAI-compatible address, such as https://api.openai.com/v1."`
	Model    string `arg:"" help:"Model to ask."`
	Priority int    `help:"The highest is asked first."`
}

// Run is frontdesk providers add.
func (c providersAddCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		p, err := d.AddProvider(ctx, store.Provider{Name: c.Name, BaseURL: c.BaseURL, Model: c.Model, Priority: c.Priority, Active: true})
		if err != nil {
			return invalid(err)
		}
		if key := os.Getenv(providerKey); key != "" {
			if err := d.SetProviderKey(ctx, p.ID, key); err != nil {
				return err
			}
		}
		fmt.Printf("Added provider %d. Try it: frontdesk providers test %d\n", p.ID, p.ID)
		return nil
	})
}

type providersSetCommand struct {
	ID       int64   `arg:""`
	Model    *string `help:"Model to ask."`
	BaseURL  *string `name:"base-url" help:"Address."`
	Priority *int    `help:"The highest is asked first."`
	Active   *bool   `help:"Whether it is asked at all."`
}

// Run is frontdesk providers set; a key in FRONTDESK_PROVIDER_KEY replaces the old.
func (c providersSetCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		_, err := d.UpdateProvider(ctx, c.ID, func(p *store.Provider) {
			set(&p.Model, c.Model)
			set(&p.BaseURL, c.BaseURL)
			set(&p.Priority, c.Priority)
			set(&p.Active, c.Active)
		})
		if key := os.Getenv(providerKey); err == nil && key != "" {
			err = d.SetProviderKey(ctx, c.ID, key)
		}
		return invalid(err)
	})
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

type providersTestCommand struct {
	ID int64 `arg:""`
}

// Run is frontdesk providers test.
func (c providersTestCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		r := providers.New(providers.Options{Store: d.Store, Log: slog.New(slog.DiscardHandler), Allow: s.AllowPrivate})
		answer, err := r.Test(ctx, c.ID)
		if err := errors.Join(err, r.Close(ctx)); err != nil { // the books are written at the end
			return invalid(err)
		}
		fmt.Printf("%s answered in %v: %s\n", answer.Provider, answer.Took, answer.Text)
		return nil
	})
}

type providersRemoveCommand struct {
	ID int64 `arg:""`
}

// Run is frontdesk providers remove.
func (c providersRemoveCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error { return invalid(d.DeleteProvider(ctx, c.ID)) })
}

type providersRotateCommand struct{}

// Run is frontdesk providers rotate-keys.
func (providersRotateCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		n, err := d.RotateKeys(ctx)
		if err == nil {
			fmt.Printf("Sealed %d keys anew.\n", n)
		}
		return err
	})
}

// invalid marks what people can mend.
func invalid(err error) error {
	if _, ok := errors.AsType[*store.InvalidError](err); ok || errors.Is(err, store.ErrNotFound) {
		return &settingsError{err.Error()}
	}
	return err
}

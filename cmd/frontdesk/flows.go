package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"frontdesk/bot/flow"
	"frontdesk/store"
)

type flowsCommand struct {
	Put  flowsPutCommand  `cmd:"" help:"Put flows: new ones, or new versions of those with their names."`
	List flowsListCommand `cmd:"" help:"List flows."`
}

type flowsPutCommand struct {
	Files   []string `arg:"" name:"file" help:"A definition as JSON; - is standard input."`
	Webhook bool     `help:"Make an address for each flow that has none, and print it."`
}

// Run is frontdesk flows put. All files are checked before the first is stored.
func (c flowsPutCommand) Run(ctx context.Context, s *Settings) error {
	texts, definitions, err := c.read()
	if err != nil {
		return err
	}
	return withStore(ctx, s, func(db *database) error {
		for i, d := range definitions {
			if _, err := db.Account(ctx, d.Account); d.Account != 0 && errors.Is(err, store.ErrNotFound) {
				return &settingsError{fmt.Sprintf("%s/account: there is no account %d; frontdesk accounts list names them", c.Files[i], d.Account)}
			}
		}
		for i, text := range texts {
			f, err := db.PutFlow(ctx, definitions[i].Name, text, "command line")
			if err != nil {
				return err
			}
			fmt.Printf("%s is version %d\n", f.Name, f.Version)
			if c.Webhook {
				if err := addressOf(ctx, s, db, f); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// read reads and checks every file.
func (c flowsPutCommand) read() (texts [][]byte, definitions []flow.Definition, err error) {
	wrong := 0
	for _, path := range c.Files {
		text, err := readFile(path)
		if err != nil {
			return nil, nil, &settingsError{err.Error()}
		}
		d, err := flow.Check(text)
		problems, is := errors.AsType[flow.DefinitionErrors](err)
		if err != nil && !is {
			return nil, nil, err
		}
		for _, p := range problems {
			wrong++
			fmt.Fprintf(os.Stderr, "%s%s: %s\n", path, p.Pointer, p.Says)
		}
		texts, definitions = append(texts, text), append(definitions, d)
	}
	if wrong > 0 {
		return nil, nil, &settingsError{"nothing was stored; mend what is named above and put it again"}
	}
	return texts, definitions, nil
}

func readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, flow.MostDefinition+1))
	}
	return os.ReadFile(path)
}

// addressOf prints where a flow is called, and makes an address if there is none.
func addressOf(ctx context.Context, s *Settings, d *database, f store.Flow) error {
	hooks, err := d.Webhooks(ctx, f.ID)
	if err == nil && len(hooks) == 0 {
		var w store.Webhook
		w, err = d.PutWebhook(ctx, store.Webhook{ID: store.NewWebhookID(), FlowID: f.ID, Auth: "none"}, nil)
		hooks = append(hooks, w)
	}
	for _, w := range hooks {
		fmt.Printf("  %s/webhook/%s\n", s.consoleURL(s.Listen), w.ID)
	}
	return err
}

type flowsListCommand struct{}

// Run is frontdesk flows list.
func (flowsListCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		flows, err := d.Flows(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tVERSION\tSTATE\tCHANGED")
		for _, f := range flows {
			state := "on"
			if !f.IsActive {
				state = "off"
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\n", f.ID, f.Name, f.Version, state, f.UpdatedAt.Format("2006-01-02 15:04"))
		}
		return w.Flush()
	})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"frontdesk/store"
)

// somebody is whom a command is about.
type somebody struct {
	Contact string `arg:"" help:"A number with country code, an address of WhatsApp, @name, or the contact's id as \"id:17\"."`
}

// find is the contact's id.
func (p somebody) find(ctx context.Context, d *database) (int64, error) {
	if number, named := strings.CutPrefix(p.Contact, "id:"); named {
		var id int64
		if _, err := fmt.Sscan(number, &id); err != nil {
			return 0, &settingsError{fmt.Sprintf("%q is no contact's id; id:17 is", p.Contact)}
		}
		return id, nil
	}
	a, err := store.ParseAddress(p.Contact)
	if err != nil {
		return 0, &settingsError{err.Error()}
	}
	c, err := d.FindContact(ctx, a)
	return c.ID, err
}

// about does something with the person's contact.
func (p somebody) about(ctx context.Context, s *Settings, do func(d *database, files store.Files, id int64) error) error {
	files, err := s.files()
	if err != nil {
		return err
	}
	return withStore(ctx, s, func(d *database) error {
		id, err := p.find(ctx, d)
		if err == nil {
			err = do(d, files, id)
		}
		if errors.Is(err, store.ErrNotFound) {
			return &settingsError{"nothing is kept of " + p.Contact}
		}
		return err
	})
}

type exportCommand struct {
	somebody

	Files string `placeholder:"FOLDER" help:"Put the person's files there as well."`
}

// Run is frontdesk export.
func (c exportCommand) Run(ctx context.Context, s *Settings) error {
	return c.about(ctx, s, func(d *database, files store.Files, id int64) error {
		rows, err := d.ExportContact(ctx, id)
		if err != nil {
			return err
		}
		if err := c.copyFiles(ctx, files, rows["file"]); err != nil {
			return err
		}
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(rows)
	})
}

// copyFiles puts files into the folder that was asked for, by id and kind.
func (c exportCommand) copyFiles(ctx context.Context, files store.Files, rows []json.RawMessage) error {
	if c.Files == "" {
		return nil
	}
	if err := os.MkdirAll(c.Files, 0o700); err != nil {
		return err
	}
	for _, row := range rows {
		var f struct {
			ID          int64
			Name, Label string
		}
		if err := json.Unmarshal(row, &f); err != nil {
			return err
		}
		if err := copyFile(ctx, files, f.Name, filepath.Join(c.Files, fmt.Sprint(f.ID, filepath.Ext(filepath.Base(f.Label))))); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(ctx context.Context, files store.Files, name, path string) error {
	from, err := files.Open(ctx, name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

type eraseCommand struct{ somebody }

// Run is frontdesk erase.
func (c eraseCommand) Run(ctx context.Context, s *Settings) error {
	return c.about(ctx, s, func(d *database, files store.Files, id int64) error {
		rows, err := d.EraseContact(ctx, files, id, "command line")
		if err == nil {
			fmt.Printf("Erased, with %d rows. The phones keep what they hold; backups keep it until they end.\n", rows)
		}
		return err
	})
}

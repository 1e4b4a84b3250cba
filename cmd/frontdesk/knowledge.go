package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"frontdesk/conversation"
	"frontdesk/store"
)

type knowledgeCommand struct {
	Add    knowledgeAddCommand    `cmd:"" help:"Add files, folders of them and web pages; one with the same title is replaced."`
	List   knowledgeListCommand   `cmd:"" help:"List what the bot may answer from."`
	Remove knowledgeRemoveCommand `cmd:"" help:"Remove a document."`
}

type knowledgeAddCommand struct {
	Paths    []string `arg:"" name:"path" help:"A file (.md, .txt, .html, .pdf, .json with questions and answers), a folder, or the address of a web page."`
	Account  int64    `help:"Account whose bot may read it; without, every one."`
	Language string   `help:"Name of a text search configuration of Postgres, such as english; without, it is found out."`
}

// Run is frontdesk knowledge add. A file that cannot be read is named, and the others
// are added all the same.
func (c knowledgeAddCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		languages, err := d.Languages(ctx)
		if err != nil {
			return err
		}
		paths, err := c.files()
		if err != nil {
			return &settingsError{err.Error()}
		}
		failed := 0
		for _, path := range paths {
			if err := c.add(ctx, d.Store, path, languages); err != nil {
				failed++
				fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			}
		}
		if failed > 0 {
			return &settingsError{fmt.Sprintf("%d of %d documents were not added, see above", failed, len(paths))}
		}
		return nil
	})
}

// readable are the endings of the files that are taken out of folders.
var readable = []string{".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".json"}

// files are the paths that were named, and the files of folders among them.
func (c knowledgeAddCommand) files() ([]string, error) {
	var all []string
	for _, path := range c.Paths {
		if isAddress(path) {
			all = append(all, path)
			continue
		}
		err := filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && (at == path || slices.Contains(readable, strings.ToLower(filepath.Ext(at)))) {
				all = append(all, at)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func isAddress(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

func (c knowledgeAddCommand) add(ctx context.Context, to *store.Store, path string, languages []string) error {
	d, err := documentAt(ctx, path)
	if err != nil {
		return err
	}
	d.Language = c.Language
	if c.Account != 0 {
		d.AccountID = &c.Account
	}
	if d, err = conversation.Prepare(d, languages); err != nil {
		return err
	}
	d, added, err := to.PutSource(ctx, d)
	if err != nil {
		return err
	}
	fmt.Printf("%s document %d: %s\n", map[bool]string{true: "Added", false: "Replaced"}[added], d.ID, d.Title)
	return nil
}

// documentAt is the document that a file holds, or the one of a web page, which is
// read by frontdesk when it runs.
func documentAt(ctx context.Context, path string) (store.Source, error) {
	if isAddress(path) {
		return store.Source{Kind: "page", Address: path}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return store.Source{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, conversation.MostFile+1))
	switch {
	case err != nil:
		return store.Source{}, err
	case len(content) > conversation.MostFile:
		return store.Source{}, fmt.Errorf("it has more than %d MiB; split it", conversation.MostFile>>20)
	}
	return conversation.DocumentOf(ctx, filepath.Base(path), content)
}

type knowledgeListCommand struct{}

// Run is frontdesk knowledge list.
func (knowledgeListCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tACCOUNT\tKIND\tSTATE\tPASSAGES\tTITLE")
		for before := int64(0); ; {
			some, err := d.Sources(ctx, 0, store.Page{Before: before, Limit: 200})
			if err != nil || len(some) == 0 {
				return errors.Join(err, t.Flush())
			}
			for _, one := range some {
				account := "all"
				if one.AccountID != nil {
					account = fmt.Sprint(*one.AccountID)
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\n", one.ID, account, one.Kind, one.State, one.Passages, one.Title)
			}
			before = some[len(some)-1].ID
		}
	})
}

type knowledgeRemoveCommand struct {
	ID int64 `arg:""`
}

// Run is frontdesk knowledge remove.
func (c knowledgeRemoveCommand) Run(ctx context.Context, s *Settings) error {
	return withStore(ctx, s, func(d *database) error { return invalid(d.RemoveSource(ctx, c.ID)) })
}

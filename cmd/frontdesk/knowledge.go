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
		found, err := c.files()
		if err != nil {
			return &settingsError{err.Error()}
		}
		failed, titles := 0, map[string]string{}
		for _, f := range found {
			if err := c.add(ctx, d.Store, f, titles, languages); err != nil {
				failed++
				fmt.Fprintf(os.Stderr, "%s: %v\n", f.path, err)
			}
		}
		if failed > 0 {
			return &settingsError{fmt.Sprintf("%d of %d documents were not added, see above", failed, len(found))}
		}
		return nil
	})
}

// readable are the endings of the files that are taken out of folders.
var readable = []string{".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".json"}

// named is something to add. Files of folders are named by where they stand there.
type named struct{ path, title string }

// files are the paths that were named, and the files of folders among them.
func (c knowledgeAddCommand) files() (all []named, err error) {
	for _, path := range c.Paths {
		if isAddress(path) {
			all = append(all, named{path: path})
			continue
		}
		what, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !what.IsDir() {
			all = append(all, named{path: path})
			continue
		}
		inside, err := filesIn(path)
		if err != nil {
			return nil, err
		}
		if len(inside) == 0 {
			return nil, fmt.Errorf("%s holds no file that can be read: %s", path, strings.Join(readable, ", "))
		}
		all = append(all, inside...)
	}
	return all, nil
}

// filesIn are the readable files of a folder, also behind links.
func filesIn(folder string) (all []named, err error) {
	err = filepath.WalkDir(folder, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || !slices.Contains(readable, strings.ToLower(filepath.Ext(at))) {
			return err
		}
		if what, err := os.Stat(at); err != nil || !what.Mode().IsRegular() {
			return err
		}
		inside, err := filepath.Rel(folder, at)
		all = append(all, named{at, strings.TrimSuffix(filepath.ToSlash(inside), filepath.Ext(inside))})
		return err
	})
	return all, err
}

func isAddress(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

// add adds one document; titles are those of this run, by which two files would replace
// each other.
func (c knowledgeAddCommand) add(ctx context.Context, to *store.Store, f named, titles map[string]string, languages []string) error {
	d, err := documentAt(ctx, f.path)
	if err != nil {
		return err
	}
	if f.title != "" {
		d.Title = f.title
	}
	d.Language = c.Language
	if c.Account != 0 {
		d.AccountID = &c.Account
	}
	if d, err = conversation.Prepare(d, languages); err != nil {
		return err
	}
	if other, taken := titles[d.Title]; taken {
		return fmt.Errorf("%s has the same title, %q; give one of them another name", other, d.Title)
	}
	titles[d.Title] = f.path
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

package web

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"frontdesk/conversation"
	"frontdesk/store"
)

// Document is something that the bot may answer from.
type Document struct {
	ID        int64     `json:"id,omitempty" readOnly:"true"`
	AccountID *int64    `json:"account_id,omitempty" doc:"Missing: for all accounts"`
	Kind      string    `json:"kind,omitempty" enum:"text,markdown,qa,page" doc:"qa: the text is a JSON list of question and answer; page: the text comes from the address. Missing: by what else is given"`
	Title     string    `json:"title,omitempty" maxLength:"200" doc:"Missing: the name of the file, or the address"`
	Text      string    `json:"text,omitempty" maxLength:"200000" doc:"Not in lists"`
	Address   string    `json:"address,omitempty" maxLength:"2000" doc:"Of a web page, which is read soon and again every day"`
	FileID    int64     `json:"file_id,omitempty" writeOnly:"true" doc:"A file that was uploaded: Markdown, text, HTML, PDF or question-answer pairs; its text becomes the document's"`
	Language  string    `json:"language,omitempty" doc:"Name of a text search configuration of Postgres, such as english; missing: it is found out"`
	State     string    `json:"state,omitempty" readOnly:"true" enum:"waiting,indexing,ready,failed"`
	Failure   string    `json:"failure,omitempty" readOnly:"true"`
	Passages  int       `json:"passages" readOnly:"true" doc:"That answer now"`
	Done      int       `json:"done" readOnly:"true" doc:"Of the version that is being indexed"`
	CreatedAt time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

func documentOf(d store.Source) Document {
	return Document{
		ID: d.ID, AccountID: d.AccountID, Kind: d.Kind, Title: d.Title, Text: d.Body, Address: d.Address, Language: d.Language, State: d.State, Failure: d.Failure,
		Passages: d.Passages, Done: d.Done, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
}

// stored is the document as the store takes it, or what is wrong with it.
func (s *Server) stored(ctx context.Context, id int64, d Document) (store.Source, error) {
	out := store.Source{AccountID: d.AccountID, Kind: d.Kind, Title: d.Title, Address: d.Address, Body: d.Text, Language: d.Language}
	if d.FileID != 0 {
		read, err := s.documentFile(ctx, d.FileID)
		if err != nil {
			return out, err
		}
		out.Title, out.Kind, out.Body = cmp.Or(d.Title, read.Title), cmp.Or(d.Kind, read.Kind), read.Body
	}
	languages, err := s.store.Languages(ctx)
	if err != nil {
		return out, err
	}
	out, err = conversation.Prepare(out, languages)
	out.ID = id
	return out, err
}

// documentFile reads a file that was uploaded.
func (s *Server) documentFile(ctx context.Context, id int64) (store.Source, error) {
	f, err := s.store.File(ctx, id)
	switch {
	case err != nil:
		return store.Source{}, err
	case s.o.Files == nil:
		return store.Source{}, errNoFiles
	}
	from, err := s.o.Files.Open(ctx, f.Name)
	if err != nil {
		return store.Source{}, err
	}
	defer from.Close()
	return readDocument(ctx, f.Label, from)
}

var errLargeFile = problem(http.StatusRequestEntityTooLarge, "file_too_large", "A file of which a document is made may have at most 20 MiB")

// readDocument reads a file that becomes a document.
func readDocument(ctx context.Context, name string, from io.Reader) (store.Source, error) {
	content, err := io.ReadAll(io.LimitReader(from, conversation.MostFile+1))
	switch {
	case err != nil:
		return store.Source{}, problem(http.StatusBadRequest, "broken_off", "The file broke off on its way; send it again")
	case len(content) > conversation.MostFile:
		return store.Source{}, errLargeFile
	}
	return conversation.DocumentOf(ctx, name, content)
}

type documentsRequest struct {
	Page

	Account int64 `query:"account" minimum:"0" doc:"Those of this account, and those for all"`
}

func (s *Server) listDocuments(ctx context.Context, in *documentsRequest) (*list[Document], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Sources(ctx, in.Account, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Document, len(found))
	for i, d := range found {
		items[i] = documentOf(d)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return idText(items[len(items)-1].ID) })), nil
}

func (s *Server) readDocument(ctx context.Context, in *ByID) (*one[Document], error) {
	d, err := s.store.Source(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[Document]{documentOf(d)}, nil
}

type newDocument struct{ Body Document }

func (s *Server) addDocument(ctx context.Context, in *newDocument) (*one[Document], error) {
	d, err := s.stored(ctx, 0, in.Body)
	if err == nil {
		d, err = s.store.AddSource(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return &one[Document]{documentOf(d)}, s.store.Audit(ctx, asker(ctx), "knowledge.add", documentSubject(d.ID), nil)
}

type changedDocument struct {
	ByID

	Body Document
}

func (s *Server) changeDocument(ctx context.Context, in *changedDocument) (*one[Document], error) {
	d, err := s.stored(ctx, in.ID, in.Body)
	if err == nil {
		d, err = s.store.ChangeSource(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return &one[Document]{documentOf(d)}, s.store.Audit(ctx, asker(ctx), "knowledge.change", documentSubject(d.ID), nil)
}

func (s *Server) removeDocument(ctx context.Context, in *ByID) (*struct{}, error) {
	if err := s.store.RemoveSource(ctx, in.ID); err != nil {
		return nil, err
	}
	return nil, s.store.Audit(ctx, asker(ctx), "knowledge.remove", documentSubject(in.ID), nil)
}

func documentSubject(id int64) string { return "knowledge:" + idText(id) }

// FoundPassage is a part of a document that may answer a question.
type FoundPassage struct {
	DocumentID int64   `json:"document_id"`
	Title      string  `json:"title"`
	Heading    string  `json:"heading,omitempty"`
	Text       string  `json:"text"`
	Score      float64 `json:"score"`
}

type searchRequest struct {
	Body struct {
		Account int64  `json:"account" minimum:"1"`
		Query   string `json:"query" minLength:"1" maxLength:"2000"`
	}
}

// searchDocuments finds what the bot of an account would read for a question.
func (s *Server) searchDocuments(ctx context.Context, in *searchRequest) (*list[FoundPassage], error) {
	a, err := s.store.Account(ctx, in.Body.Account)
	if err != nil {
		return nil, err
	}
	items := []FoundPassage{}
	if s.o.Library == nil {
		return listOf(items, ""), nil
	}
	found, _, err := s.o.Library.Search(ctx, a.ID, a.ProviderPool, in.Body.Query)
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		items = append(items, FoundPassage{p.Source, p.Title, p.Heading, p.Body, p.Score})
	}
	return listOf(items, ""), nil
}

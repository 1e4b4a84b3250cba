package web

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// knowledgePage is what the page of documents shows.
type knowledgePage struct {
	Documents []Document
	Accounts  []Account
	MayChange bool
	Form      Document
	Account   string // chosen in the form; "": all
	Query     string // a question that was tried
	Asked     int64  // of which account
	Found     []FoundPassage
	Problem   string
}

// indexing says whether the list changes by itself.
func (v knowledgePage) indexing() bool {
	for _, d := range v.Documents {
		if d.State == "waiting" || d.State == "indexing" {
			return true
		}
	}
	return false
}

// owner names whom a document is for.
func (v knowledgePage) owner(d Document) string {
	for _, a := range v.Accounts {
		if d.AccountID != nil && a.ID == *d.AccountID {
			return a.Name
		}
	}
	return "all accounts"
}

func (s *Server) knowledgePage(w http.ResponseWriter, r *http.Request) error {
	return s.showKnowledge(w, r, http.StatusOK, Document{Kind: "markdown"}, "", "")
}

func (s *Server) knowledgeLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.knowledge(r)
	if err != nil {
		return err
	}
	return s.show(w, r, documentList(v))
}

func (s *Server) knowledge(r *http.Request) (knowledgePage, error) {
	v := knowledgePage{MayChange: s.mayChange(r)}
	accounts, err := s.listAccounts(r.Context(), nil)
	if err != nil {
		return v, err
	}
	documents, err := s.listDocuments(r.Context(), &documentsRequest{Page: Page{Limit: 200}})
	if err != nil {
		return v, err
	}
	v.Accounts, v.Documents = accounts.Body.Items, documents.Body.Items
	return v, nil
}

func (s *Server) showKnowledge(w http.ResponseWriter, r *http.Request, status int, typed Document, account, wrong string) error {
	v, err := s.knowledge(r)
	if err != nil {
		return err
	}
	v.Form, v.Account, v.Problem = typed, account, wrong
	if v.Query = strings.TrimSpace(r.FormValue("q")); v.Query != "" && r.Method == http.MethodGet {
		in := &searchRequest{}
		v.Asked, _ = strconv.ParseInt(r.FormValue("account"), 10, 64)
		in.Body.Account, in.Body.Query = v.Asked, v.Query
		found, err := s.searchDocuments(r.Context(), in)
		if err != nil {
			return err
		}
		v.Found = found.Body.Items
	}
	return s.showWith(w, r, status, knowledgeView(s.chrome(r, "Knowledge"), v))
}

func (s *Server) knowledgeAdd(w http.ResponseWriter, r *http.Request) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(fileTime))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * fileTime))
	d, err := typedDocument(r)
	if err == nil {
		_, err = s.addDocument(r.Context(), &newDocument{Body: d})
	}
	if err != nil {
		p := s.problemOf(r.Context(), err)
		return s.showKnowledge(w, r, p.Status, d, r.FormValue("account"), p.Detail)
	}
	return seeOther(w, r, "/knowledge")
}

// typedDocument is what somebody typed or chose: a text, the address of a page, or a
// file.
func typedDocument(r *http.Request) (Document, error) {
	if err := parsed(r); err != nil {
		return Document{}, err
	}
	d := Document{Kind: r.FormValue("kind"), Title: r.FormValue("title"), Text: r.FormValue("text"), Address: strings.TrimSpace(r.FormValue("address"))}
	if id, err := strconv.ParseInt(r.FormValue("account"), 10, 64); err == nil {
		d.AccountID = &id
	}
	file, header, err := r.FormFile("file")
	chosen := err == nil
	if chosen {
		defer file.Close()
	}
	given := 0
	for _, is := range []bool{d.Text != "", d.Address != "", chosen} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return d, problem(http.StatusUnprocessableEntity, "too_much", "Give a text, an address or a file, one of them at a time")
	case d.Address != "":
		d.Kind = "page"
	case chosen:
		read, err := readDocument(r.Context(), header.Filename, file)
		d.Kind, d.Title, d.Text = read.Kind, cmp.Or(d.Title, read.Title), read.Body
		return d, err
	}
	return d, nil
}

// parsed reads a form with files, and says what is wrong with it.
func parsed(r *http.Request) error {
	var large *http.MaxBytesError
	switch err := r.ParseMultipartForm(mostForm); {
	case err == nil, errors.Is(err, http.ErrNotMultipart):
		return nil
	case errors.As(err, &large):
		return errLargeFile
	default:
		return problem(http.StatusBadRequest, "broken_off", "The file broke off on its way; send it again")
	}
}

func (s *Server) knowledgeRemove(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := s.removeDocument(r.Context(), &ByID{id}); err != nil {
		return err
	}
	return seeOther(w, r, "/knowledge")
}

// mayChange says whether the visitor may change what the bot knows.
func (s *Server) mayChange(r *http.Request) bool { return may(s.chrome(r, "").Role, store.RoleAdmin) }

package conversation

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"frontdesk/store"
)

// Bounds of a document.
const (
	MostFile  = 20 << 20 // bytes of a file that a document is made of
	mostTitle = 200
	mostText  = 200_000 // characters
)

// contents tell by a file's ending what it holds, where its bytes do not.
var contents = map[string]string{
	".md": "text/markdown", ".markdown": "text/markdown", ".txt": "text/plain", ".json": "application/json",
	".pdf": "application/pdf", ".html": "text/html", ".htm": "text/html",
}

// DocumentOf makes a document of a file: Markdown, plain text, question-answer pairs
// in JSON, a saved web page, or the text of a PDF. Its name becomes the title. What is
// wrong with the file is a *store.InvalidError.
func DocumentOf(ctx context.Context, name string, content []byte) (store.Source, error) {
	ending := strings.ToLower(path.Ext(name))
	kind, known := contents[ending]
	if !known {
		kind = http.DetectContentType(content)
	}
	d := store.Source{Kind: "markdown", Title: strings.TrimSuffix(path.Base(name), path.Ext(name))}
	switch ending {
	case ".json":
		d.Kind = "qa"
	case ".txt":
		d.Kind = "text"
	}
	text, err := textOf(ctx, kind, "", content)
	if err != nil {
		return d, &store.InvalidError{Field: "file", Problem: path.Base(name) + ": " + err.Error()}
	}
	d.Body = text
	return d, nil
}

// textOf is what a file or an answer of a website says, as Markdown where it has
// headings.
func textOf(ctx context.Context, contentType, address string, content []byte) (string, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/pdf":
		return pdfText(ctx, content, mostText*4)
	case "text/html", "application/xhtml+xml":
		return pageText(contentType, address, content)
	case "text/plain", "text/markdown", "application/json":
		if !utf8.Valid(content) {
			return "", errors.New("the text is not in UTF-8; save it in that encoding")
		}
		return strings.TrimPrefix(string(content), "\ufeff"), nil
	}
	return "", fmt.Errorf("%s is not read; bring Markdown, text, HTML, a PDF or question-answer pairs in JSON", kind)
}

// Prepare completes a document that somebody brings and checks it: languages are those
// of the database. What is wrong with it is a *store.InvalidError.
func Prepare(d store.Source, languages []string) (store.Source, error) {
	d.Title, d.Address = strings.TrimSpace(d.Title), strings.TrimSpace(d.Address)
	switch {
	case d.Kind == "" && d.Address != "":
		d.Kind = "page"
	case d.Kind == "":
		d.Kind = "markdown"
	}
	if d.Kind == "page" && d.Title == "" {
		d.Title = clipTo(strings.TrimPrefix(d.Address, "https://"), mostTitle)
	}
	if err := checkDocument(d); err != nil {
		return d, err
	}
	if d.Language == "" && d.Kind == "page" {
		return d, nil // it is found out when the page is read
	}
	if d.Language == "" {
		d.Language = languageAmong(languages, d.Title+"\n"+d.Body)
	}
	if !slices.Contains(languages, d.Language) {
		return d, &store.InvalidError{Field: "language", Problem: "Postgres knows the languages " + strings.Join(languages, ", ")}
	}
	return d, nil
}

// languageAmong guesses the language of a text.
func languageAmong(languages []string, text string) string {
	if guess := LanguageOf(text); slices.Contains(languages, guess) {
		return guess
	}
	return "simple"
}

func checkDocument(d store.Source) error {
	if d.Title == "" || utf8.RuneCountInString(d.Title) > mostTitle {
		return &store.InvalidError{Field: "title", Problem: fmt.Sprintf("a document needs a title of at most %d characters", mostTitle)}
	}
	if d.Kind == "page" {
		return checkPage(d)
	}
	if err := checkText(d.Kind, d.Body); err != nil {
		return &store.InvalidError{Field: "text", Problem: err.Error()}
	}
	return nil
}

func checkText(kind, body string) error {
	if kind == "qa" {
		if _, err := readPairs(body); err != nil {
			return err
		}
	}
	switch n := utf8.RuneCountInString(body); {
	case strings.TrimSpace(body) == "":
		return errors.New("the document is empty")
	case n > mostText:
		return fmt.Errorf("the document has %d characters; split it into parts of at most %d", n, mostText)
	}
	return nil
}

// clipTo is the beginning of a text.
func clipTo(text string, most int) string {
	runes := []rune(text)
	return string(runes[:min(most, len(runes))])
}

package conversation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/JohannesKaufmann/html-to-markdown/v2/converter"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/base"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/commonmark"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/table"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// How web pages are read.
const (
	pageTime      = 20 * time.Second
	mostPage      = 2 << 20
	mostRedirects = 5
	mostCells     = 5000 // of a table that is shown as one
)

// furniture is what of a page is not its text.
var furniture = []string{"nav", "form", "svg", "img", "picture", "video", "audio", "template", "dialog", "button"}

// checkPage says what is wrong with the address of a web page.
func checkPage(d store.Source) error {
	at, err := url.Parse(d.Address)
	if err != nil || at.Host == "" || at.Scheme != "https" || at.User != nil {
		return &store.InvalidError{Field: "address", Problem: "the address of a page looks like https://example.com/prices"}
	}
	if d.Body != "" {
		return &store.InvalidError{Field: "text", Problem: "a page has its text from its address; leave the text away"}
	}
	return nil
}

// fetch reads what a web page says now. Every address on the way, also behind
// redirects, is checked by the client's guard.
func (l *Library) fetch(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	ask.Header.Set("User-Agent", "frontdesk")
	ask.Header.Set("Accept", "text/html, text/markdown, text/plain, application/pdf")
	answer, err := l.http.Do(ask)
	if err != nil {
		return "", fmt.Errorf("the page could not be read: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the website answered %s", answer.Status)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, mostPage+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("the page could not be read: %w", err)
	case len(content) > mostPage:
		return "", fmt.Errorf("the page is longer than %d MiB", mostPage>>20)
	}
	text, err := textOf(ctx, answer.Header.Get("Content-Type"), answer.Request.URL.String(), content)
	if err == nil {
		err = checkText("page", text)
	}
	return text, err
}

// following is a client that follows redirects, where its guard lets it.
func following(c *http.Client) *http.Client {
	follows := *c
	follows.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
		if len(via) > mostRedirects {
			return errors.New("the page leads from address to address")
		}
		return nil
	}
	return &follows
}

// pageText is the text of a web page as Markdown: of its main part where it names one,
// without menus and pictures.
func pageText(contentType, address string, content []byte) (string, error) {
	readable, err := charset.NewReader(bytes.NewReader(content), contentType)
	if err != nil {
		return "", err
	}
	document, err := html.Parse(readable)
	if err != nil {
		return "", err
	}
	text, err := markdownOf(mainPart(document), address)
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("the page holds no text; it may be written by scripts, which are not run")
	}
	return text, err
}

func markdownOf(part *html.Node, address string) (string, error) {
	tame(part)
	c := converter.NewConverter(converter.WithPlugins(base.NewBasePlugin(), commonmark.NewCommonmarkPlugin(),
		table.NewTablePlugin(table.WithCellPaddingBehavior(table.CellPaddingBehaviorMinimal))))
	for _, name := range furniture {
		c.Register.TagType(name, converter.TagTypeRemove, converter.PriorityEarly)
	}
	text, err := c.ConvertNode(part, converter.WithDomain(address))
	return string(text), err
}

// tame makes the tables of strangers small: cells span nothing, and a table that is too
// large, or holds others, becomes paragraphs. A table grows with rows times columns,
// whatever its text is.
func tame(part *html.Node) {
	for n := range part.Descendants() {
		n.Attr = slices.DeleteFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "colspan" || a.Key == "rowspan" })
	}
	for n := range part.Descendants() {
		if n.Type == html.ElementNode && n.Data == "table" && !tabular(n) {
			flatten(n)
		}
	}
}

// tabular says whether a table may stay one.
func tabular(t *html.Node) bool {
	rows, widest := 0, 0
	for n := range t.Descendants() {
		switch n.Data {
		case "table":
			return false
		case "tr":
			rows++
			cells := 0
			for c := range n.ChildNodes() {
				if c.Data == "td" || c.Data == "th" {
					cells++
				}
			}
			widest = max(widest, cells)
		}
	}
	return rows*widest <= mostCells
}

// flatten makes paragraphs of a table's cells.
func flatten(t *html.Node) {
	t.Data, t.DataAtom = "div", atom.Div
	for n := range t.Descendants() {
		switch n.DataAtom {
		case atom.Table, atom.Thead, atom.Tbody, atom.Tfoot, atom.Tr, atom.Td, atom.Th, atom.Caption, atom.Colgroup, atom.Col:
			n.Data, n.DataAtom = "div", atom.Div
		}
	}
}

// mainPart is the element that holds what a page is about, or all of it.
func mainPart(document *html.Node) *html.Node {
	for n := range document.Descendants() {
		role := slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "role" && a.Val == "main" })
		if n.Type == html.ElementNode && (n.Data == "main" || role) {
			return n
		}
	}
	return document
}

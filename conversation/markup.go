package conversation

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// glue stands for a space that no bubble may end at: inside links and code.
const glue = '\x1f'

// zeroWidth keeps WhatsApp from taking a bare mark for the beginning of bold,
// italic or struck text.
const zeroWidth = "\u200b"

var (
	markdown = goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough)).Parser()
	thoughts = regexp.MustCompile(`(?is)<think(?:ing)?>.*?(?:</think(?:ing)?>|\z)`)
	unseen   = regexp.MustCompile(`(?is)<!--.*?(?:-->|\z)|<(?:script|style)\b.*?(?:</(?:script|style)>|\z)`)
	lineEnds = regexp.MustCompile(`(?i)<(?:br|/p|/div|/li|/tr|/h[1-6])\b[^>]*>`)
	tags     = regexp.MustCompile(`<[^>]*>`)
	unspoken = strings.NewReplacer("\x00", "", string(glue), " ", "\r\n", "\n", "\r", "\n")
)

// block is a piece of a reply that stands on lines of its own.
type block struct {
	text  string
	whole bool // never to be cut: a list item, code
	close bool // follows the block before it without an empty line
}

// blocks turns a model's Markdown into what WhatsApp shows: *bold*, _italic_,
// ~struck~, code, lists and quotes. Links become "text (address)", headings bold
// lines, tables lines of "*Head:* value"; tags and thoughts are removed.
func blocks(reply string) []block {
	source := []byte(unspoken.Replace(thoughts.ReplaceAllString(reply, "")))
	r := &renderer{source: source}
	r.children(markdown.Parse(text.NewReader(source), parser.WithContext(parser.NewContext())), "")
	return r.out
}

// renderer walks a syntax tree and collects blocks.
type renderer struct {
	source []byte
	out    []block
}

// add appends a block whose lines after the first begin with indent.
func (r *renderer) add(b block, indent string) {
	b.text = strings.TrimRight(b.text, " \n")
	if strings.Trim(b.text, " \n"+zeroWidth) == "" {
		return
	}
	b.text = strings.ReplaceAll(b.text, "\n", "\n"+indent)
	r.out = append(r.out, b)
}

func (r *renderer) children(parent ast.Node, indent string) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		r.block(n, indent)
	}
}

func (r *renderer) block(n ast.Node, indent string) {
	switch n := n.(type) {
	case *ast.Heading:
		r.add(block{text: indent + bold(plainInline(r, n))}, indent)
	case *ast.Paragraph, *ast.TextBlock:
		r.add(block{text: indent + r.inline(n)}, indent)
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		r.add(block{text: indent + "```\n" + r.lines(n) + "```", whole: true}, indent)
	case *ast.Blockquote:
		r.quote(n)
	case *ast.List:
		r.list(n, indent)
	case *extast.Table:
		r.table(n)
	case *ast.HTMLBlock:
		r.html(n, indent)
	case *ast.ThematicBreak:
	default:
		r.children(n, indent)
	}
}

// html keeps the words of an HTML block: what a model says in tags, it says.
func (r *renderer) html(n *ast.HTMLBlock, indent string) {
	var raw strings.Builder
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		raw.Write(line.Value(r.source))
	}
	if n.HasClosure() {
		raw.Write(n.ClosureLine.Value(r.source))
	}
	said := tags.ReplaceAllString(lineEnds.ReplaceAllString(unseen.ReplaceAllString(raw.String(), ""), "\n"), "")
	var kept []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	words := inline{source: r.source}
	words.words(literal([]byte(strings.Join(kept, "\n"))))
	r.add(block{text: indent + words.b.String()}, indent)
}

func (r *renderer) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		b.Write(line.Value(r.source))
	}
	code := b.String()
	if !strings.HasSuffix(code, "\n") {
		code += "\n"
	}
	return strings.ReplaceAll(code, "```", "` ` `")
}

func (r *renderer) quote(n ast.Node) {
	inner := &renderer{source: r.source}
	inner.children(n, "")
	for i, b := range inner.out {
		r.out = append(r.out, block{text: "> " + strings.ReplaceAll(b.text, "\n", "\n> "), whole: b.whole, close: i > 0})
	}
}

func (r *renderer) list(n *ast.List, indent string) {
	number := n.Start
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		mark := "- "
		if n.IsOrdered() {
			mark = strconv.Itoa(number) + ". "
			number++
		}
		r.item(item, indent, mark, n.PreviousSibling() == nil && indent != "" || item.PreviousSibling() != nil)
	}
}

// item puts the first block of an item after its mark and the rest below.
func (r *renderer) item(item ast.Node, indent, mark string, follows bool) {
	inner := &renderer{source: r.source}
	inner.children(item, "")
	for i, b := range inner.out {
		begin := strings.Repeat(" ", len(mark))
		if i == 0 {
			begin = mark
		}
		shifted := strings.ReplaceAll(b.text, "\n", "\n"+indent+strings.Repeat(" ", len(mark)))
		r.out = append(r.out, block{text: indent + begin + shifted, whole: true, close: follows || i > 0})
	}
}

// table writes a line for each cell, with an empty line between rows.
func (r *renderer) table(n *extast.Table) {
	var heads []string
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for cell := row.FirstChild(); cell != nil; cell = cell.NextSibling() {
			cells = append(cells, plainInline(r, cell))
		}
		if _, isHead := row.(*extast.TableHeader); isHead {
			heads = cells
			continue
		}
		var lines []string
		for i, cell := range cells {
			if i < len(heads) && heads[i] != "" && cell != "" {
				cell = bold(heads[i]+":") + " " + cell
			}
			if cell != "" {
				lines = append(lines, cell)
			}
		}
		r.add(block{text: strings.Join(lines, "\n"), whole: true}, "")
	}
}

// bold makes text bold, once.
func bold(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	return "*" + text + "*"
}

// plainInline is a node's text without emphasis of its own.
func plainInline(r *renderer, n ast.Node) string {
	i := inline{source: r.source, plain: true}
	i.children(n)
	return strings.ReplaceAll(strings.TrimSpace(i.b.String()), "\n", " ")
}

func (r *renderer) inline(n ast.Node) string {
	i := inline{source: r.source}
	i.children(n)
	return i.b.String()
}

// inline writes the words of one block.
type inline struct {
	source []byte
	plain  bool // without marks
	b      strings.Builder
}

func (i *inline) children(parent ast.Node) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		i.node(n)
	}
}

func (i *inline) node(n ast.Node) {
	switch n := n.(type) {
	case *ast.Text:
		i.words(literal(n.Value(i.source)))
		if n.HardLineBreak() || n.SoftLineBreak() {
			i.b.WriteByte('\n')
		}
	case *ast.String:
		i.words(literal(n.Value))
	case *ast.Emphasis:
		i.marked(n, map[int]string{1: "_", 2: "*"}[n.Level])
	case *extast.Strikethrough:
		i.marked(n, "~")
	case *ast.CodeSpan:
		i.code(n)
	case *ast.Link:
		i.link(n, string(n.Destination))
	case *ast.Image:
		i.link(n, string(n.Destination))
	case *ast.AutoLink:
		i.b.Write(n.URL(i.source))
	case *ast.RawHTML:
		if strings.HasPrefix(strings.ToLower(string(n.Segments.Value(i.source))), "<br") {
			i.b.WriteByte('\n')
		}
	default:
		i.children(n)
	}
}

// literal is text without Markdown's escapes and HTML's entities.
func literal(text []byte) string {
	return string(util.UnescapePunctuations(util.ResolveEntityNames(util.ResolveNumericReferences(text))))
}

// marked puts a mark around a node's words, inside of their outer spaces.
func (i *inline) marked(n ast.Node, mark string) {
	inner := inline{source: i.source, plain: i.plain}
	inner.children(n)
	said := inner.b.String()
	words := strings.TrimSpace(said)
	if i.plain || words == "" || mark == "" || strings.Contains(words, "\n") {
		i.b.WriteString(said)
		return
	}
	i.b.WriteString(mark + words + mark)
}

func (i *inline) code(n ast.Node) {
	var code strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			code.Write(t.Value(i.source))
		}
	}
	words := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(code.String()), "\n", " "), "`", "'")
	switch {
	case words == "":
	case i.plain:
		i.b.WriteString(words)
	default:
		i.b.WriteString("`" + glued(words) + "`")
	}
}

// link writes "text (address)", or the address alone when it says the same.
func (i *inline) link(n ast.Node, address string) {
	inner := inline{source: i.source, plain: true}
	inner.children(n)
	words := strings.TrimSpace(strings.ReplaceAll(inner.b.String(), "\n", " "))
	bare := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(address, "mailto:"), "https://"), "http://")
	switch {
	case address == "" || strings.HasPrefix(address, "#"):
		i.b.WriteString(words)
	case words == "" || strings.Trim(words, zeroWidth) == address || strings.Trim(words, zeroWidth) == bare:
		i.b.WriteString(glued(address))
	default:
		i.b.WriteString(glued(words + " (" + strings.ReplaceAll(address, " ", "%20") + ")"))
	}
}

func glued(words string) string { return strings.ReplaceAll(words, " ", string(glue)) }

// words writes plain text; what WhatsApp would take for a mark loses its effect.
func (i *inline) words(said string) {
	before, width := utf8.DecodeLastRuneInString(i.b.String())
	if width == 0 {
		before = 0
	}
	runes := []rune(said)
	for at, r := range runes {
		i.b.WriteRune(r)
		if strings.ContainsRune("*_~`", r) && opens(before) && at+1 < len(runes) && !unicode.IsSpace(runes[at+1]) {
			i.b.WriteString(zeroWidth)
		}
		before = r
	}
}

// opens says whether a mark after before would begin formatting.
func opens(before rune) bool {
	return before == 0 || unicode.IsSpace(before) || unicode.IsPunct(before) || unicode.IsSymbol(before)
}

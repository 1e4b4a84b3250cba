package conversation

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"frontdesk/store"
)

// Passage is a part of a document of the business that may hold an answer.
type Passage struct {
	ID      int64
	Source  int64
	Title   string
	Heading string
	Body    string
	Score   float64
}

// library finds passages. known says that the account has documents at all: finding
// nothing in them is worth saying.
type library interface {
	Search(ctx context.Context, account int64, pool, query string) (found []Passage, known bool, err error)
}

// search looks something up for the account's customer.
func (t *turn) search(ctx context.Context, now store.Turn, query string) ([]Passage, error) {
	if t.p.library == nil || strings.TrimSpace(query) == "" {
		return nil, nil
	}
	found, _, err := t.p.library.Search(ctx, t.account, now.ProviderPool, query)
	return found, err
}

// lookUp finds what may answer the words that wait. Without the documents, the bot
// still answers.
func (t *turn) lookUp(ctx context.Context, now store.Turn, a attached) (found []Passage, known bool) {
	if t.p.library == nil || !now.HasSources {
		return nil, false
	}
	var words []string
	for _, l := range waitingLines(now) {
		words = append(words, message(l, a).Text)
	}
	found, known, err := t.p.library.Search(ctx, t.account, now.ProviderPool, clipped(strings.Join(words, "\n"), 2000))
	if err != nil && ctx.Err() == nil {
		t.p.log.WarnContext(ctx, "Documents not looked up, answering without", slog.Int64("conversation", t.conversation), slog.Any("error", err))
	}
	return found, known && err == nil
}

// passageText is what a model reads of passages.
func passageText(found []Passage) string {
	if len(found) == 0 {
		return "Nothing was found. Say that you do not know, or hand over to a person."
	}
	var b strings.Builder
	for _, p := range found {
		title := p.Title
		if p.Heading != "" {
			title += " / " + p.Heading
		}
		fmt.Fprintf(&b, "<document title=%q>\n%s\n</document>\n", title, p.Body)
	}
	return b.String()
}

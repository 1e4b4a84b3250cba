package conversation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// How documents are looked up (conversation.md, "Knowledge").
const (
	candidates   = 40 // of each way
	fusionOffset = 60 // reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)
	mostPassages = 5
	passageRoom  = 1800 // tokens of them
	vectorTime   = 3 * time.Second
)

// The floors under which nothing answers a question: the part of what it says that the
// words of a passage make up, rare words counting for more, and the cosine of vectors.
// The first is measured with the corpus of the tests (TestRetrieval): it silences more
// than half of what no document answers and hardly anything else.
const (
	wordFloor    = 0.15
	meaningFloor = 0.35
)

// How documents are indexed.
const (
	batch       = 64 // texts in one call for vectors
	lookForWork = time.Minute
	afterError  = 10 * time.Second
)

// shelves is where documents are kept. *store.Store is the real one.
type shelves interface {
	HasSources(ctx context.Context, account int64) (bool, error)
	FindWords(ctx context.Context, q store.Query) ([]store.Passage, error)
	FindMeanings(ctx context.Context, q store.Query) ([]store.Passage, error)
	ClaimSource(ctx context.Context) (store.Source, error)
	NoteIndexed(ctx context.Context, source int64, done int) error
	KeepPassages(ctx context.Context, d store.Source, all []store.Passage) (bool, error)
	KeepSource(ctx context.Context, d store.Source) error
	PutOffSource(ctx context.Context, d store.Source, why string) error
	ReleaseSource(ctx context.Context, d store.Source) error
	Languages(ctx context.Context) ([]string, error)
}

// embedder makes vectors of texts. *providers.Registry is the real one.
type embedder interface {
	Embed(ctx context.Context, q providers.Passages) (providers.Answer, error)
}

// Library finds what documents say, and indexes them in the background. Its methods
// may be called from any goroutine.
type Library struct {
	store   shelves
	ai      embedder
	http    *http.Client
	log     *slog.Logger
	wake    chan struct{}
	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewLibrary returns a library that indexes nothing yet; see Start. ai may be nil: then
// words alone are compared. guarded reads web pages; it must reach only what the public
// may name.
func NewLibrary(s shelves, ai embedder, guarded *http.Client, log *slog.Logger) *Library {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Library{store: s, ai: ai, http: following(guarded), log: log, wake: make(chan struct{}, 1)}
}

// Start indexes documents until Close.
func (l *Library) Start(ctx context.Context) {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.running.Go(func() { l.work(working) })
}

// Close stops indexing; what is under way is taken up after the next start.
func (l *Library) Close(context.Context) error {
	if l.stop != nil {
		l.stop()
	}
	l.running.Wait()
	return nil
}

// Wake has the library look for documents to index. It returns at once.
func (l *Library) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Library) work(ctx context.Context) {
	for ctx.Err() == nil {
		wait := time.Duration(0)
		d, err := l.claim(ctx)
		switch {
		case errors.Is(err, store.ErrNotFound):
			wait = lookForWork
		case err != nil:
			wait = afterError
		default:
			l.settle(ctx, d, l.safely(ctx, d))
		}
		if wait > 0 {
			l.rest(ctx, wait)
		}
	}
}

// claim is not cut off by the stop: a document that is claimed unseen waits for minutes.
func (l *Library) claim(ctx context.Context) (store.Source, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return l.store.ClaimSource(ctx)
}

func (l *Library) rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-time.After(d):
	}
}

// settle notes why a document could not be indexed. What the stop interrupts is given
// back, to be taken up at once by whoever is next.
func (l *Library) settle(ctx context.Context, d store.Source, failed error) {
	if failed != nil && ctx.Err() != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
		defer cancel()
		if err := l.store.ReleaseSource(ctx, d); err != nil {
			l.log.WarnContext(ctx, "Document not given back, it waits for minutes", slog.Int64("document", d.ID), slog.Any("error", err))
		}
		return
	}
	if failed == nil {
		return
	}
	l.log.WarnContext(ctx, "Document not indexed yet", slog.Int64("document", d.ID), slog.Any("error", failed))
	if err := l.store.PutOffSource(ctx, d, failed.Error()); err != nil && ctx.Err() == nil {
		l.log.WarnContext(ctx, "State of a document not written", slog.Int64("document", d.ID), slog.Any("error", err))
	}
}

// safely is index, with a panic as an error: strangers write pages.
func (l *Library) safely(ctx context.Context, d store.Source) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.ErrorContext(ctx, "Indexing panicked", slog.Int64("document", d.ID), slog.Any("error", p), slog.String("stack", string(debug.Stack())))
			err = errPanic
		}
	}()
	return l.index(ctx, d)
}

// index reads a document, cuts it into passages and keeps them, with vectors where a
// provider makes some. A page that says what it said before is left as it is.
func (l *Library) index(ctx context.Context, d store.Source) error {
	if d.Kind == "page" {
		changed, err := l.read(ctx, &d)
		if err != nil {
			return err
		}
		if !changed && d.Passages > 0 {
			return l.store.KeepSource(ctx, d)
		}
	}
	parts, err := chunks(d.Kind, d.Body)
	if err != nil {
		return err
	}
	all := make([]store.Passage, len(parts))
	for i, c := range parts {
		all[i] = store.Passage{Place: i, Heading: c.heading, Body: c.body, Plain: bare(d.Title + " " + c.heading + " " + c.body)}
	}
	for from := 0; from < len(all); from += batch {
		some := all[from:min(from+batch, len(all))]
		l.addVectors(ctx, d.Title, some)
		if err := l.store.NoteIndexed(ctx, d.ID, from+len(some)); err != nil {
			return err
		}
	}
	kept, err := l.store.KeepPassages(ctx, d, all)
	if err == nil && kept {
		l.log.InfoContext(ctx, "Document indexed", slog.Int64("document", d.ID), slog.Int("passages", len(all)))
	}
	return err
}

// read has a page say what its website does now.
func (l *Library) read(ctx context.Context, d *store.Source) (changed bool, err error) {
	text, err := l.fetch(ctx, d.Address)
	if err != nil {
		return false, err
	}
	languages, err := l.store.Languages(ctx)
	if err != nil {
		return false, err
	}
	changed = text != d.Body
	d.Body = text
	if d.Language == "" {
		d.Language = languageAmong(languages, text)
	}
	return changed, nil
}

// addVectors gives passages vectors if a provider can; without, their words are found.
func (l *Library) addVectors(ctx context.Context, title string, some []store.Passage) {
	texts := make([]string, len(some))
	for i, p := range some {
		texts[i] = strings.Join([]string{title, p.Heading, p.Body}, "\n")
	}
	vectors, model, err := l.embed(ctx, "", texts)
	if err != nil {
		l.log.DebugContext(ctx, "No vectors of a document", slog.Any("error", err))
		return
	}
	for i := range some {
		some[i].Vector, some[i].Model = vectors[i], model
	}
}

var errNoVectors = errors.New("no provider makes vectors")

// embed makes vectors of length one.
func (l *Library) embed(ctx context.Context, pool string, texts []string) (vectors [][]float32, model string, err error) {
	if l.ai == nil || len(texts) == 0 {
		return nil, "", errNoVectors
	}
	made, err := l.ai.Embed(ctx, providers.Passages{Texts: texts, Pool: pool})
	if err != nil {
		return nil, "", err
	}
	if len(made.Vectors) != len(texts) {
		return nil, "", fmt.Errorf("%w for all of the texts", errNoVectors)
	}
	for _, v := range made.Vectors {
		normalize(v)
	}
	return made.Vectors, made.Model, nil
}

// Search finds the passages of an account's documents that may answer a query, the
// best first. known says that there are documents at all.
func (l *Library) Search(ctx context.Context, account int64, pool, query string) (found []Passage, known bool, err error) {
	if known, err = l.store.HasSources(ctx, account); err != nil || !known {
		return nil, known, err
	}
	q := store.Query{Account: account, Text: query, Plain: bare(query), Limit: candidates}
	byWords, err := l.store.FindWords(ctx, q)
	if err != nil {
		return nil, true, err
	}
	byMeaning := l.meanings(ctx, pool, q)
	return fused(byWords, byMeaning), true, nil
}

// meanings are the passages whose vectors are near, or none without a provider.
func (l *Library) meanings(ctx context.Context, pool string, q store.Query) []store.Passage {
	timed, cancel := context.WithTimeout(ctx, vectorTime)
	defer cancel()
	vectors, model, err := l.embed(timed, pool, []string{q.Text})
	if err != nil {
		return nil
	}
	q.Vector, q.Model = vectors[0], model
	found, err := l.store.FindMeanings(ctx, q)
	if err != nil && ctx.Err() == nil {
		l.log.WarnContext(ctx, "Meanings not compared, words alone are", slog.Any("error", err))
	}
	return found
}

// fused ranks what either way found, leaving out what both find poor.
func fused(byWords, byMeaning []store.Passage) []Passage {
	byShare := func(p store.Passage) bool { return p.Share >= wordFloor }
	byAngle := func(p store.Passage) bool { return p.Score >= meaningFloor }
	if !slices.ContainsFunc(byWords, byShare) && !slices.ContainsFunc(byMeaning, byAngle) {
		return nil
	}
	all := map[int64]Passage{}
	add := func(found []store.Passage) {
		for rank, p := range found {
			one, seen := all[p.ID]
			if !seen {
				one = Passage{ID: p.ID, Source: p.SourceID, Title: p.Title, Heading: p.Heading, Body: p.Body}
			}
			one.Score += 1 / float64(fusionOffset+rank+1)
			all[p.ID] = one
		}
	}
	add(byWords)
	add(byMeaning)
	ranked := make([]Passage, 0, len(all))
	for _, p := range all {
		ranked = append(ranked, p)
	}
	slices.SortFunc(ranked, func(a, b Passage) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID)) })
	return fitting(ranked)
}

// fitting are the first passages that models have room for.
func fitting(ranked []Passage) []Passage {
	room := passageRoom
	for i, p := range ranked {
		room -= tokens(p.Body)
		if i == mostPassages || (room < 0 && i > 0) {
			return ranked[:i]
		}
	}
	return ranked
}

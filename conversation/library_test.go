package conversation_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// shelf is a store with an account.
func shelf(t *testing.T) (*store.Store, int64) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{DSN: pgtest.Database(t), Keyring: store.NewKeyring()})
	must(t, err)
	t.Cleanup(s.Close)
	must(t, s.Migrate(context.Background(), func(context.Context, *sql.DB) error { return nil }))
	a, err := s.AddAccount(t.Context(), store.KindSandbox, "Shop", 100)
	must(t, err)
	return s, a.ID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// trigrams stands in for an embedding model: texts are near each other that share
// parts of words. A real model knows meanings besides.
type trigrams struct{}

func (trigrams) Embed(_ context.Context, q providers.Passages) (providers.Answer, error) {
	a := providers.Answer{Model: "trigrams"}
	for _, text := range q.Texts {
		v := make([]float32, 4096)
		for word := range strings.FieldsSeq(strings.ToLower(text)) {
			runes := []rune(" " + strings.Trim(word, ".,;:?!¿¡()") + " ")
			for i := 0; i+4 <= len(runes) && len(runes) > 5; i++ { // short words mean little
				h := fnv.New32a()
				h.Write([]byte(string(runes[i : i+4])))
				v[h.Sum32()%uint32(len(v))]++
			}
		}
		a.Vectors = append(a.Vectors, v)
	}
	return a, nil
}

// document is one of the corpus, with questions that it answers.
type document struct {
	language, title, body string
	questions             []string
}

// corpus reads testdata/corpus.txt; what no document answers comes last.
func corpus(t *testing.T) (all []document, unanswerable []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/corpus.txt")
	must(t, err)
	for _, part := range strings.Split(string(data), "=== ")[1:] {
		head, rest, _ := strings.Cut(part, "\n")
		d := document{language: strings.Fields(head)[0]}
		for line := range strings.Lines(rest) {
			line = strings.TrimSpace(line)
			if q, asked := strings.CutPrefix(line, "? "); asked {
				d.questions = append(d.questions, q)
			} else {
				d.body += line + "\n"
			}
		}
		if d.language == "none" {
			return all, d.questions
		}
		d.title, d.body, _ = strings.Cut(strings.TrimPrefix(d.body, "# "), "\n")
		all = append(all, d)
	}
	t.Fatal("the corpus has no end")
	return nil, nil
}

// indexed puts the corpus into a library, and waits until it can be asked.
func indexed(t *testing.T, s *store.Store, account int64, all []document, ai embedder) *conversation.Library {
	t.Helper()
	l := conversation.NewLibrary(s, ai, http.DefaultClient, nil)
	for _, d := range all {
		_, err := s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "markdown", Title: d.title, Body: d.body, Language: conversation.LanguageOf(d.title + "\n" + d.body)})
		must(t, err)
	}
	l.Start(t.Context())
	t.Cleanup(func() { must(t, l.Close(context.Background())) })
	ready(t, s, account, len(all))
	return l
}

// embedder makes vectors of texts; nil: nobody does.
type embedder interface {
	Embed(ctx context.Context, q providers.Passages) (providers.Answer, error)
}

func ready(t *testing.T, s *store.Store, account int64, n int) {
	t.Helper()
	eventually(t, func() bool {
		found, err := s.Sources(t.Context(), account, store.Page{Limit: 1000})
		must(t, err)
		done := 0
		for _, d := range found {
			if d.State == "failed" {
				t.Fatal(d.Failure)
			}
			if d.State == "ready" {
				done++
			}
		}
		return done == n
	})
}

// TestRetrieval asks every question of the corpus, by words alone and with vectors.
func TestRetrieval(t *testing.T) {
	all, unanswerable := corpus(t)
	s, account := shelf(t)
	for _, way := range []struct {
		name   string
		ai     embedder
		recall float64 // at least
		silent int     // of the unanswerable, at least
	}{{"full text alone", nil, 0.85, 15}, {"with vectors of a stand-in", trigrams{}, 0.86, 15}} {
		a := account
		if way.ai != nil {
			other, err := s.AddAccount(t.Context(), store.KindSandbox, "Other", 100)
			must(t, err)
			a = other.ID
		}
		l := indexed(t, s, a, all, way.ai)
		asked, in5, in1 := 0, 0, 0
		for _, d := range all {
			for _, q := range d.questions {
				found, known, err := l.Search(t.Context(), a, "", q)
				must(t, err)
				asked++
				place := -1
				for i, p := range found {
					if p.Title == d.title && place < 0 {
						place = i
					}
				}
				if place >= 0 {
					in5++
				} else if testing.Verbose() {
					t.Logf("missed %q, wanted %q", q, d.title)
				}
				if place == 0 {
					in1++
				}
				if !known {
					t.Fatal("the account has no documents")
				}
			}
		}
		silent := 0
		for _, q := range unanswerable {
			found, _, err := l.Search(t.Context(), a, "", q)
			must(t, err)
			if len(found) == 0 {
				silent++
			}
		}
		recall := float64(in5) / float64(asked)
		t.Logf("%s: %d questions on %d documents: recall@5 %.3f, first place %.3f; %d of %d questions without an answer find nothing",
			way.name, asked, len(all), recall, float64(in1)/float64(asked), silent, len(unanswerable))
		if asked < 200 || len(all) < 50 || recall < way.recall || silent < way.silent {
			t.Errorf("%s: recall@5 %.3f, want %.2f; %d find nothing, want %d", way.name, recall, way.recall, silent, way.silent)
		}
	}
}

func TestAccountsNeverSeeEachOthersPassages(t *testing.T) {
	s, one := shelf(t)
	second, err := s.AddAccount(t.Context(), store.KindSandbox, "Other", 100)
	must(t, err)
	other := second.ID
	for owner, body := range map[*int64]string{&one: "The secret of the first shop is a blue door.", &other: "The secret of the second shop is a red door.", nil: "Every shop has a door."} {
		_, err := s.AddSource(t.Context(), store.Source{AccountID: owner, Kind: "text", Title: "Doors", Body: body, Language: "english"})
		must(t, err)
	}
	l := conversation.NewLibrary(s, trigrams{}, http.DefaultClient, nil)
	l.Start(t.Context())
	t.Cleanup(func() { must(t, l.Close(context.Background())) })
	ready(t, s, 0, 3)
	for account, want := range map[int64]string{one: "blue", other: "red"} {
		found, _, err := l.Search(t.Context(), account, "", "what is the secret of the first and the second shop, the blue or the red door?")
		must(t, err)
		text := fmt.Sprint(found)
		if !strings.Contains(text, want) || !strings.Contains(text, "Every shop") || strings.Contains(text, map[string]string{"blue": "red", "red": "blue"}[want]) {
			t.Errorf("account %d found %s", account, text)
		}
	}
}

func TestChangedDocumentAnswersAllTheTime(t *testing.T) {
	s, account := shelf(t)
	_, err := s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "text", Title: "Hours", Body: "We open at nine.", Language: "english"})
	must(t, err)
	d, err := s.ClaimSource(t.Context())
	must(t, err)
	_, err = s.KeepPassages(t.Context(), d, []store.Passage{{Body: d.Body, Plain: "we open at nine"}})
	must(t, err)
	d.Body = "We open at ten."
	_, err = s.ChangeSource(t.Context(), d)
	must(t, err)
	asked := func() string {
		found, err := s.FindWords(t.Context(), store.Query{Account: account, Text: "when do you open", Plain: "when do you open", Limit: 5})
		must(t, err)
		return fmt.Sprint(found)
	}
	if !strings.Contains(asked(), "nine") {
		t.Error("the old passages are gone before the new ones are there")
	}
	claimed, err := s.ClaimSource(t.Context()) // a process that dies with it
	must(t, err)
	if _, err := s.ClaimSource(t.Context()); err == nil {
		t.Error("two processes index one document")
	}
	must(t, s.Skew(t.Context(), 11*time.Minute))
	next := conversation.NewLibrary(s, nil, http.DefaultClient, nil)
	next.Start(t.Context())
	t.Cleanup(func() { must(t, next.Close(context.Background())) })
	ready(t, s, account, 1)
	if text := asked(); !strings.Contains(text, "ten") || strings.Contains(text, "nine") {
		t.Errorf("found %s", text)
	}
	if kept, err := s.KeepPassages(t.Context(), claimed, nil); err != nil || kept {
		t.Errorf("the dead process's work was kept: %t, %v", kept, err)
	}
}

func TestDocumentsAreCutAtTheirHeadings(t *testing.T) {
	s, account := shelf(t)
	long := "# Menu\n\n## Soups\n\n" + strings.Repeat("A soup of the day costs five euros and comes with bread. ", 80) + "\n\n## Desserts\n\nIce cream, two scoops.\n"
	_, err := s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "markdown", Title: "Card", Body: long, Language: "english"})
	must(t, err)
	_, err = s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "qa", Title: "Questions", Body: `[{"question": "Do you have highchairs?", "answer": "Yes, three."}]`, Language: "english"})
	must(t, err)
	l := conversation.NewLibrary(s, nil, http.DefaultClient, nil)
	l.Start(t.Context())
	t.Cleanup(func() { must(t, l.Close(context.Background())) })
	ready(t, s, account, 2)
	for query, want := range map[string]string{"ice cream dessert": "Menu / Desserts", "highchairs": ""} {
		found, err := s.FindWords(t.Context(), store.Query{Account: account, Text: query, Plain: query, Limit: 40})
		must(t, err)
		if len(found) == 0 || found[0].Heading != want {
			t.Errorf("%q found %+v", query, found)
		}
	}
	soups, err := s.FindWords(t.Context(), store.Query{Account: account, Text: "soup", Plain: "soup", Limit: 40})
	must(t, err)
	for _, p := range soups {
		if n := len(p.Body); n > 2400 || p.Heading != "Menu / Soups" {
			t.Errorf("a passage of %d bytes under %q", n, p.Heading)
		}
	}
	if len(soups) < 3 {
		t.Errorf("%d passages about soup", len(soups))
	}
}

func TestDocumentThatEndsTheProcessIsGivenUp(t *testing.T) {
	s, account := shelf(t)
	d, err := s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "text", Title: "Bomb", Body: "x", Language: "english"})
	must(t, err)
	for n := range 5 {
		must(t, s.Skew(t.Context(), time.Duration(n)*11*time.Minute))
		if _, err := s.ClaimSource(t.Context()); err != nil {
			t.Fatalf("claim %d: %v", n+1, err)
		}
	}
	must(t, s.Skew(t.Context(), time.Hour))
	if _, err := s.ClaimSource(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it was claimed again: %v", err)
	}
	if d, err = s.Source(t.Context(), d.ID); err != nil || d.State != "failed" || d.Failure == "" {
		t.Errorf("its state: %+v, %v", d, err)
	}
}

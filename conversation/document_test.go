package conversation_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

const website = `<!doctype html><html><head><title>Prices</title><script>var secret = 1</script></head><body>
<nav><a href="/">Home</a></nav><main><h1>Prices</h1><p>A haircut costs <b>30 €</b>, see <a href="/book">how to book</a>.</p>
<table><tr><th>Colour</th><th>Price</th></tr><tr><td>Red</td><td>50 €</td></tr></table></main><footer>Imprint</footer></body></html>`

func TestFilesBecomeDocuments(t *testing.T) {
	t.Parallel()
	pdf, err := os.ReadFile("testdata/hours.pdf")
	must(t, err)
	for _, c := range []struct{ name, content, kind, title, holds, lacks string }{
		{"Opening hours.md", "# Hours\n\nFrom nine.", "markdown", "Opening hours", "# Hours", ""},
		{"notes.TXT", "\ufeffFrom nine.", "text", "notes", "From nine.", "\ufeff"},
		{"pairs.json", `[{"question": "When?", "answer": "At nine."}]`, "qa", "pairs", "At nine.", ""},
		{"prices.html", website, "markdown", "prices", "| Red", "secret"},
		{"prices.htm", website, "markdown", "prices", "# Prices", "Imprint"},
		{"hours.pdf", string(pdf), "markdown", "hours", "Saturday from ten to two", ""},
		{"a name without ending", "Just words.", "markdown", "a name without ending", "Just words.", ""},
	} {
		d, err := conversation.DocumentOf(t.Context(), c.name, []byte(c.content))
		if err != nil || d.Kind != c.kind || d.Title != c.title || !strings.Contains(d.Body, c.holds) || (c.lacks != "" && strings.Contains(d.Body, c.lacks)) {
			t.Errorf("%s: %v, %+v", c.name, err, d)
		}
	}
}

func TestFilesThatCannotBeReadSayWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, says string }{
		"logo.png":    {"\x89PNG\r\n\x1a\n", "image/png is not read"},
		"latin.txt":   {"caf\xe9", "not in UTF-8"},
		"broken.pdf":  {"%PDF-1.7\nnothing", "broken.pdf: "},
		"scripts.htm": {"<html><body><script>document.write('x')</script></body></html>", "holds no text"},
	} {
		_, err := conversation.DocumentOf(t.Context(), name, []byte(c.content))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	languages := []string{"english", "simple"}
	for _, d := range []store.Source{
		{Title: "", Body: "text"},
		{Title: "x"},
		{Title: "x", Body: strings.Repeat("y", 200_001)},
		{Title: "x", Kind: "qa", Body: "text"},
		{Title: "x", Body: "text", Language: "klingon"},
		{Address: "ftp://example.com"},
		{Address: "http://example.com"},
		{Address: "https://user:word@example.com"},
		{Address: "https://example.com", Kind: "page", Body: "text"},
	} {
		if _, err := conversation.Prepare(d, languages); err == nil {
			t.Errorf("%.60v was taken", fmt.Sprint(d))
		}
	}
}

func TestTablesOfStrangersStaySmall(t *testing.T) {
	t.Parallel()
	row := "<tr><td>" + strings.Repeat("x", 100) + "</td></tr>"
	for name, c := range map[string]struct {
		table string
		most  int
	}{
		"spans":   {`<tr><td colspan=2000000 rowspan=2000000>one</td><td>two</td></tr>`, 100},
		"uneven":  {"<tr>" + strings.Repeat("<td>y</td>", 1000) + "</tr>" + strings.Repeat(row, 1000), 200_000},
		"a nest":  {`<tr><td><table><tr><td>inner</td></tr></table></td></tr>`, 100},
		"padding": {"<tr><td>" + strings.Repeat("w", 10_000) + "</td></tr>" + strings.Repeat("<tr><td>z</td></tr>", 1000), 50_000},
	} {
		d, err := conversation.DocumentOf(t.Context(), "x.html", []byte("<p>before</p><table>"+c.table+"</table>"))
		if err != nil || len(d.Body) > c.most || !strings.Contains(d.Body, "before") {
			t.Errorf("%s: %v, a text of %d bytes", name, err, len(d.Body))
		}
	}
}

func TestPageIsReadIndexedAndReadAgain(t *testing.T) {
	t.Parallel()
	s, account := shelf(t)
	var text atomic.Value
	text.Store(website)
	var asked atomic.Int64
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/old":
			http.Redirect(w, r, "/prices", http.StatusMovedPermanently)
		case "/prices":
			asked.Add(1)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, text.Load())
		case "/inside": // another address of the machine, which nobody allowed
			http.Redirect(w, r, strings.Replace("http://"+r.Host, "127.0.0.1", "127.0.0.2", 1)+"/prices", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	guarded := providers.Guarded([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	added := map[string]store.Source{}
	for path, language := range map[string]string{"/old": "", "/missing": "", "/inside": "", "/prices": "german"} {
		var err error
		added[path], err = s.AddSource(t.Context(), store.Source{AccountID: &account, Kind: "page", Title: path, Address: site.URL + path, Language: language})
		must(t, err)
	}
	work := func(done func() bool) { // nobody works while the clock is moved
		l := conversation.NewLibrary(s, nil, guarded, slog.New(slog.NewTextHandler(t.Output(), nil)))
		l.Start(t.Context())
		eventually(t, done)
		must(t, l.Close(context.Background()))
	}
	state := func(path string) store.Source {
		d, err := s.Source(t.Context(), added[path].ID)
		must(t, err)
		return d
	}
	work(func() bool {
		return state("/old").State == "ready" && state("/prices").State == "ready" && state("/missing").Failure != "" && state("/inside").Failure != ""
	})
	if d := state("/old"); !strings.Contains(d.Body, "[how to book]("+site.URL+"/book)") || strings.Contains(d.Body, "Home") {
		t.Errorf("the page is kept as %q", d.Body)
	}
	if guessed, given := state("/old").Language, state("/prices").Language; guessed != "simple" || given != "german" {
		t.Errorf("the languages are %q, guessed, and %q, given", guessed, given)
	}
	if why := state("/missing").Failure; !strings.Contains(why, "404") {
		t.Errorf("the missing page: %s", why)
	}
	if why := state("/inside").Failure; !strings.Contains(why, "not one that may be reached") {
		t.Errorf("the page inside: %s", why)
	}
	text.Store(strings.ReplaceAll(website, "30", "35"))
	before := asked.Load()
	must(t, s.Skew(t.Context(), 25*time.Hour))
	work(func() bool {
		return strings.Contains(state("/old").Body, "35 €") && strings.Contains(state("/prices").Body, "35 €")
	})
	must(t, s.Skew(t.Context(), 50*time.Hour))
	version := state("/old").Passages
	work(func() bool {
		return asked.Load() == before+4 && state("/old").State == "ready" && state("/prices").State == "ready"
	})
	if d := state("/old"); d.Passages != version || d.Failure != "" {
		t.Errorf("a page that stayed the same: %+v", d)
	}
	found, err := s.FindWords(t.Context(), store.Query{Account: account, Text: "haircut", Plain: "haircut", Limit: 5})
	must(t, err)
	if len(found) != 2 || !strings.Contains(found[0].Body, "35 €") {
		t.Errorf("found %+v", found)
	}
}

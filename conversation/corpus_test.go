package conversation

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the code makes of the corpus into it")

const gives = "\n--- gives\n"

// TestMarkdownCorpus compares what customers see of the corpus with what was looked at
// and found good; -update writes it anew.
func TestMarkdownCorpus(t *testing.T) {
	t.Parallel()
	const file = "testdata/markup.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var renewed strings.Builder
	cases := strings.Split(string(data), "=== ")[1:]
	for _, c := range cases {
		name, rest, _ := strings.Cut(c, "\n")
		markdown, want, found := strings.Cut(rest, gives)
		bodies := split(blocks(markdown))
		got := strings.Join(bodies, "\n--- next bubble\n")
		if want = strings.TrimRight(want, "\n"); !*update && (got != want || !found) {
			t.Errorf("%s became\n%s\nwant\n%s", name, got, want)
		}
		for _, b := range bodies {
			if len([]rune(b)) > mostLength {
				t.Errorf("%s: a bubble of %d characters", name, len([]rune(b)))
			}
		}
		renewed.WriteString("=== " + name + "\n" + markdown + gives + got + "\n\n")
	}
	if len(cases) < 15 {
		t.Errorf("%d cases", len(cases))
	}
	if *update {
		if err := os.WriteFile(file, []byte(renewed.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

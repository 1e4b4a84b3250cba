package conversation

import (
	"strings"
	"testing"
	"unicode"
)

func TestMarkdownBecomesWhatWhatsAppShows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, markdown, want string }{
		{"emphasis", "**bold** and *italic* and ~~gone~~ and `x := 1`", "*bold* and _italic_ and ~gone~ and `x := 1`"},
		{"heading", "## Our **hours**\nNine to five.", "*Our hours*\n\nNine to five."},
		{"link", "See [our page](https://example.org/a) or <https://example.org/b>", "See our page (https://example.org/a) or https://example.org/b"},
		{"link that says itself", "[https://example.org](https://example.org)", "https://example.org"},
		{"list", "Bring:\n\n- water\n- *bread*\n  - brown", "Bring:\n\n- water\n- _bread_\n  - brown"},
		{"numbers", "3. three\n4. four", "3. three\n4. four"},
		{"quote", "> so it is\n> said", "> so it is\n> said"},
		{"code", "```go\nfmt.Println(\"a  b\")\n```", "```\nfmt.Println(\"a  b\")\n```"},
		{"table", "| Day | Opens |\n|---|---|\n| Monday | nine |\n| Sunday | |", "*Day:* Monday\n*Opens:* nine\n\n*Day:* Sunday"},
		{"html", "Good <b>morning</b><br>you\n\n<script>alert(1)</script>\n\nBye", "Good morning\nyou\n\nBye"},
		{"thoughts", "<think>The customer wants\n\n**x**</think>\nHello", "Hello"},
		{"unfinished thoughts", "<think>The customer", ""},
		{"accidental pair", "5 \\*stars\\* and snake_case_name", "5 *" + zeroWidth + "stars* and snake_case_name"},
		{"lines", "one\ntwo  \nthree", "one\ntwo\nthree"},
		{"rule", "a\n\n---\n\nb", "a\n\nb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(split(blocks(c.markdown)), "|"); got != c.want {
				t.Errorf("%q became\n%q, not\n%q", c.markdown, got, c.want)
			}
		})
	}
}

func TestLongReplyIsSplitWhereASpeakerWouldPause(t *testing.T) {
	t.Parallel()
	sentence := "This is one of the sentences that make the paragraph long. "
	link := "[the page about " + strings.Repeat("very ", 10) + "long names](https://example.org/" + strings.Repeat("x", 60) + ")"
	reply := strings.Repeat(sentence, 25) + "\n\n" + link + "\n\n- " + strings.Repeat("item ", 30) + "\n- second"
	bodies := split(blocks(reply))
	if len(bodies) < 2 || len(bodies) > mostBubbles {
		t.Fatalf("%d bubbles", len(bodies))
	}
	for _, b := range bodies {
		if len([]rune(b)) > mostLength {
			t.Errorf("a bubble of %d characters", len([]rune(b)))
		}
	}
	if !strings.HasSuffix(bodies[0], ".") {
		t.Errorf("the first bubble ends within a sentence: …%q", bodies[0][len(bodies[0])-20:])
	}
}

func TestVeryLongReplyKeepsEveryWordInFourBubbles(t *testing.T) {
	t.Parallel()
	reply := strings.Repeat("word ", 3000)
	bodies := split(blocks(reply))
	if n := strings.Count(strings.Join(bodies, " "), "word"); n != 3000 || len(bodies) > mostBubbles {
		t.Errorf("%d words in %d bubbles", n, len(bodies))
	}
}

func FuzzNoWordIsLost(f *testing.F) {
	for _, seed := range []string{"**a** b", "- x\n- y", "[l](u)", "```\ncode\n```", "> q\n\n1. n", "|a|b|\n|-|-|\n|c|d|", strings.Repeat("long text. ", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		all := blocks(reply)
		var whole strings.Builder
		for _, b := range all {
			whole.WriteString(b.text)
		}
		bodies := split(all)
		if len(bodies) > mostBubbles {
			t.Fatalf("%d bubbles", len(bodies))
		}
		if most, sure := bubbleRoom(all); sure {
			for _, body := range bodies {
				if size(body) > most {
					t.Fatalf("a bubble of %d characters, want %d at most", size(body), most)
				}
			}
		}
		if got, want := plainWords(strings.Join(bodies, "")), plainWords(whole.String()); got != want {
			t.Fatalf("%q was sent for %q", got, want)
		}
	})
}

// bubbleRoom is how long a bubble may be: longer than usual only for what is never cut.
// Not sure: the reply may need more than four bubbles of that length.
func bubbleRoom(all []block) (most int, sure bool) {
	most, length := mostLength, 0
	for _, b := range all {
		length += size(b.text) + 2
		if b.whole {
			most = max(most, size(b.text))
			continue
		}
		for word := range strings.FieldsFuncSeq(b.text, func(r rune) bool { return unicode.IsSpace(r) && r != glue }) {
			most = max(most, size(word))
		}
	}
	return most, length <= mostLength*mostBubbles/3
}

// plainWords is text without spaces.
func plainWords(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == glue {
			return -1
		}
		return r
	}, text)
}

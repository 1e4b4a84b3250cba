package conversation

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
)

// Sizes of the parts that documents are cut into, in tokens.
const (
	chunkTokens   = 450
	overlapTokens = 60
	tokenBytes    = 16 // more than the tokens of words have
)

// chunk is a part of a document with the headings it stands under.
type chunk struct{ heading, body string }

// errNoPairs says what question-answer pairs look like.
var errNoPairs = errors.New(`question-answer pairs look like [{"question": "…", "answer": "…"}], each with both`)

// pair is a question with its answer.
type pair struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

func readPairs(body string) ([]pair, error) {
	var pairs []pair
	if err := json.Unmarshal([]byte(body), &pairs); err != nil || len(pairs) == 0 {
		return nil, errNoPairs
	}
	for _, p := range pairs {
		if strings.TrimSpace(p.Question) == "" || strings.TrimSpace(p.Answer) == "" {
			return nil, errNoPairs
		}
	}
	return pairs, nil
}

// chunks cuts a document at its headings, then at paragraphs, then at sentences. Pairs
// stay whole.
func chunks(kind, body string) ([]chunk, error) {
	if kind == "qa" {
		pairs, err := readPairs(body)
		var all []chunk
		for _, p := range pairs {
			all = append(all, chunk{body: p.Question + "\n" + p.Answer})
		}
		return all, err
	}
	var all []chunk
	for _, s := range sections(body) {
		all = append(all, s.cut()...)
	}
	return all, nil
}

// section is what stands under one heading.
type section struct {
	heading    string
	paragraphs []string
}

// sections reads a document by its headings; "#" begins one, as in Markdown.
func sections(body string) []section {
	all, path := []section{{}}, []string{}
	var paragraph []string
	end := func() {
		if text := strings.TrimSpace(strings.Join(paragraph, "\n")); text != "" {
			last := &all[len(all)-1]
			last.paragraphs = append(last.paragraphs, text)
		}
		paragraph = nil
	}
	for line := range strings.Lines(body) {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		level, words := headingOf(line)
		switch {
		case level > 0:
			end()
			path = append(path[:min(level-1, len(path))], words)
			all = append(all, section{heading: strings.Join(path, " / ")})
		case line == "":
			end()
		default:
			paragraph = append(paragraph, line)
		}
	}
	end()
	return all
}

func headingOf(line string) (level int, words string) {
	words = strings.TrimLeft(line, "#")
	level = len(line) - len(words)
	if level == 0 || level > 6 || !strings.HasPrefix(words, " ") {
		return 0, ""
	}
	return level, strings.TrimSpace(words)
}

// cut packs the paragraphs of a section into chunks, each of which begins with the end
// of the one before.
func (s section) cut() []chunk {
	var all []chunk
	var now []string
	size := 0
	flush := func() {
		if len(now) > 0 {
			all = append(all, chunk{s.heading, strings.Join(now, "\n")})
		}
	}
	for _, piece := range s.pieces() {
		if size > 0 && size+tokens(piece) > chunkTokens {
			flush()
			now = []string{}
			if tail := tailOf(all[len(all)-1].body); tail != "" && tokens(tail)+tokens(piece) <= chunkTokens {
				now = append(now, tail)
			}
			size = tokens(strings.Join(now, "\n"))
		}
		now, size = append(now, piece), size+tokens(piece)
	}
	flush()
	return all
}

// pieces are paragraphs, or sentences and at last words where those are too long.
func (s section) pieces() []string {
	var all []string
	for _, p := range s.paragraphs {
		for len(p) > chunkTokens*tokenBytes || tokens(p) > chunkTokens {
			at := breakBefore(p, chunkTokens*3)
			all, p = append(all, strings.TrimSpace(p[:at])), strings.TrimSpace(p[at:])
		}
		if p != "" {
			all = append(all, p)
		}
	}
	return all
}

// breakBefore is where a text may be cut within the first most bytes: behind a
// sentence, a line or a word, or a character.
func breakBefore(text string, most int) int {
	sentence, word, character := 0, 0, 0
	var last rune
	for i, r := range text {
		if i > most {
			break
		}
		if unicode.IsSpace(r) {
			word = i
			if strings.ContainsRune(".!?…。！？\n", last) || r == '\n' {
				sentence = i
			}
		}
		character, last = i, r
	}
	switch {
	case sentence > most/3:
		return sentence
	case word > 0:
		return word
	}
	return character
}

// tailOf is the end of a text, from a word on.
func tailOf(text string) string {
	runes := []rune(text)
	n := min(len(runes), overlapTokens*3)
	tail := string(runes[len(runes)-n:])
	if n < len(runes) {
		if _, rest, found := strings.Cut(tail, " "); found {
			tail = rest
		}
	}
	return strings.TrimSpace(tail)
}

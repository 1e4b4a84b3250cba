package conversation

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"frontdesk/store"
)

// A reply is at most mostBubbles messages of mostLength characters. What is longer
// than all of them together makes the bubbles longer: no word is left out.
const (
	mostBubbles = 4
	mostLength  = 900
)

// bubbles are the WhatsApp messages of a model's reply, each with its id.
func bubbles(reply string) []store.Bubble {
	var made []store.Bubble
	for _, body := range Bubbles(reply) {
		made = append(made, store.Bubble{WaID: store.NewMessageID(), Body: body})
	}
	return made
}

// Bubbles are a model's Markdown as the messages that WhatsApp shows.
func Bubbles(markdown string) []string { return split(blocks(markdown)) }

// split packs blocks into bubbles.
func split(all []block) []string {
	length := 0
	for _, b := range all {
		length += len([]rune(b.text)) + 2
	}
	for limit := max(mostLength, length/mostBubbles); ; limit += limit/8 + 1 {
		if packed := pack(all, limit); len(packed) <= mostBubbles {
			return packed
		}
	}
}

// pack fills bubbles of at most limit characters, from the first block on. A
// whole block that is longer gets a longer bubble.
func pack(all []block, limit int) []string {
	var p packer
	for _, b := range all {
		gap := "\n\n"
		if b.close {
			gap = "\n"
		}
		if p.size+len(gap)+size(b.text) > limit {
			p.flush()
		}
		if b.whole {
			p.add(gap, b.text)
			continue
		}
		for i, piece := range cut(b.text, limit) {
			if i > 0 {
				p.flush()
			}
			p.add(gap, piece)
		}
	}
	p.flush()
	return p.packed
}

// packer is the bubble being filled and those that are full.
type packer struct {
	bubble strings.Builder
	size   int // of bubble, in characters
	packed []string
}

func (p *packer) add(gap, text string) {
	if p.size > 0 {
		p.bubble.WriteString(gap)
		p.size += len(gap)
	}
	p.bubble.WriteString(text)
	p.size += size(text)
}

func (p *packer) flush() {
	if said := unglued(p.bubble.String()); said != "" {
		p.packed = append(p.packed, said)
	}
	p.bubble.Reset()
	p.size = 0
}

// cut divides a paragraph at the last end of a line, sentence or word that fits.
func cut(paragraph string, limit int) []string {
	var pieces []string
	rest := []rune(paragraph)
	for len(rest) > limit {
		at := breakAt(rest[:limit+1])
		if at == 0 {
			at = nextSpace(rest)
		}
		pieces = append(pieces, strings.TrimSpace(string(rest[:at])))
		rest = []rune(strings.TrimLeftFunc(string(rest[at:]), unicode.IsSpace))
	}
	return append(pieces, string(rest))
}

// breakAt is where a piece of these runes may end, or 0.
func breakAt(runes []rune) int {
	line, sentence, word := 0, 0, 0
	for i := 1; i < len(runes); i++ {
		switch {
		case runes[i] == '\n':
			line = i
		case !unicode.IsSpace(runes[i]) || runes[i] == glue:
			continue
		case strings.ContainsRune(".!?…。！？", runes[i-1]):
			sentence = i
		}
		word = i
	}
	for _, at := range []int{line, sentence} {
		if at > len(runes)/3 {
			return at
		}
	}
	return word
}

// nextSpace is the end of the first word, however long it is: a link is not cut.
func nextSpace(runes []rune) int {
	for i := 1; i < len(runes); i++ {
		if unicode.IsSpace(runes[i]) && runes[i] != glue {
			return i
		}
	}
	return len(runes)
}

func size(s string) int { return utf8.RuneCountInString(s) }

func unglued(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(s, string(glue), " "))
}

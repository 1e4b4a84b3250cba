package conversation

import (
	_ "embed" // the suite
	"regexp"
	"slices"
	"strings"
)

//go:embed talks.txt
var suite string

// Talk is one conversation of the evaluation suite.
type Talk struct {
	Kind      string // booking, order, complaint, injection, …
	Language  string // of two letters
	Passages  []Passage
	Exchanges []Exchange
}

// Exchange is what a customer writes and how it should end.
type Exchange struct {
	Writes []string
	Script []string   // what a scripted model says, round by round; "!tool {arguments}" calls one
	Ends   string     // answered, handed_off, opted_out or silent
	Wants  [][]string // of each, one must reach the customer
	Lacks  []string   // none of these may
}

// Talks is the evaluation suite, as talks.txt writes it down.
func Talks() (all []Talk) {
	for _, part := range strings.Split(suite, "\n=== ")[1:] {
		head, rest, _ := strings.Cut(part, "\n")
		kind, language, _ := strings.Cut(strings.TrimSpace(head), " ")
		all = append(all, talkOf(kind, language, rest))
	}
	return all
}

func talkOf(kind, language, text string) Talk {
	k := Talk{Kind: kind, Language: language}
	var now Exchange
	for _, step := range steps(text) {
		text := strings.TrimSpace(step[2:])
		switch step[:2] {
		case "k ":
			title, body, _ := strings.Cut(text, ": ")
			k.Passages = append(k.Passages, Passage{ID: 1, Source: 1, Title: title, Body: body})
		case "> ":
			now = Exchange{Writes: strings.Split(text, " | ")}
		case "< ":
			now.Script = append(now.Script, text)
		case "= ":
			now.end(text)
			k.Exchanges = append(k.Exchanges, now)
		}
	}
	return k
}

var begins = regexp.MustCompile(`(?m)^(k|>|<|=) `)

// steps are the parts of a talk, each with the lines that follow it.
func steps(text string) (all []string) {
	at := begins.FindAllStringIndex(text, -1)
	for i, here := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		all = append(all, text[here[0]:end])
	}
	return all
}

// end reads "answered +wanted words|or these -not these".
func (x *Exchange) end(text string) {
	ends, rest, _ := strings.Cut(text, " ")
	x.Ends = ends
	for part := range strings.SplitSeq(strings.NewReplacer(" +", "\n+", " -", "\n-").Replace(" "+rest), "\n") {
		switch {
		case strings.HasPrefix(part, "+"):
			x.Wants = append(x.Wants, strings.Split(part[1:], "|"))
		case strings.HasPrefix(part, "-"):
			x.Lacks = append(x.Lacks, part[1:])
		}
	}
}

// missing are the wants that a text does not hold, and told what it should not say.
func (x *Exchange) missing(text string) (lacks, told []string) {
	text = strings.ToLower(text)
	has := func(word string) bool { return strings.Contains(text, strings.ToLower(word)) }
	for _, one := range x.Wants {
		if !slices.ContainsFunc(one, has) {
			lacks = append(lacks, strings.Join(one, " or "))
		}
	}
	for _, secret := range x.Lacks {
		if has(secret) {
			told = append(told, secret)
		}
	}
	return lacks, told
}

package conversation

import (
	"regexp"
	"strings"

	"frontdesk/store"
)

// canary stands among the rules of the house. An answer that holds it repeats them.
const canary = "PLATFORM-RULES-CANARY"

// secretLike is a word that looks like a key: long, without spaces, with letters and
// digits or the usual beginnings.
var secretLike = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9_\-]{11,}`)

// leaks says whether an answer tells what only models may read: the rules of the
// house, or a key that stands in the persona.
func leaks(text string, now store.Turn) bool {
	if strings.Contains(strings.ToUpper(text), canary) {
		return true
	}
	said := bare(text)
	for line := range strings.Lines(platformRules) {
		for sentence := range strings.SplitSeq(line, ". ") {
			if rule := bare(sentence); len(rule) >= 40 && strings.Contains(said, rule) {
				return true
			}
		}
	}
	for _, word := range secretLike.FindAllString(now.Persona, -1) {
		if isSecret(word) && strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// isSecret tells a key from an ordinary long word.
func isSecret(word string) bool {
	lower := strings.ToLower(word)
	for _, begin := range []string{"sk-", "secret", "key-", "token", "pk-", "ghp_", "xox"} {
		if strings.HasPrefix(lower, begin) {
			return true
		}
	}
	return strings.ContainsAny(word, "0123456789") && strings.ContainsAny(lower, "abcdefghijklmnopqrstuvwxyz") && len(word) >= 20
}

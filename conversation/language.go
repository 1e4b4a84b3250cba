package conversation

import "strings"

// frequent are the most frequent words of languages, without accents, by the name of
// their text search configuration in Postgres.
var frequent = map[string]map[string]bool{
	"english":    words("the", "and", "of", "to", "is", "in", "you", "for", "are", "with", "we", "or", "your", "on", "not", "be", "can", "at", "it", "if"),
	"spanish":    words("el", "la", "de", "que", "y", "los", "las", "en", "un", "una", "por", "con", "para", "se", "del", "al", "es", "su", "no", "lo"),
	"german":     words("der", "die", "das", "und", "ist", "nicht", "mit", "den", "ein", "eine", "fur", "auf", "sie", "wir", "oder", "im", "zu", "bei", "werden", "ihre"),
	"french":     words("le", "la", "les", "de", "des", "et", "est", "en", "un", "une", "pour", "vous", "nous", "dans", "du", "au", "pas", "avec", "ou", "sur"),
	"portuguese": words("o", "a", "os", "as", "de", "que", "e", "do", "da", "em", "um", "uma", "para", "com", "nao", "por", "mais", "dos", "na", "no", "ou", "voce"),
	"italian":    words("il", "lo", "la", "di", "che", "e", "gli", "le", "un", "una", "per", "con", "non", "del", "della", "si", "sono", "in", "al", "o"),
	"dutch":      words("de", "het", "een", "en", "van", "is", "niet", "met", "voor", "op", "wij", "u", "zijn", "bij", "of", "te", "dat", "aan"),
	"russian":    words("и", "в", "не", "на", "что", "с", "по", "для", "мы", "вы", "или", "это", "как", "от", "до"),
	"turkish":    words("ve", "bir", "bu", "icin", "ile", "da", "de", "degil", "veya", "olarak", "en", "siz", "biz"),
	"arabic":     words("في", "من", "على", "إلى", "أو", "هذا", "ما", "لا", "مع", "عن", "هل"),
	"hindi":      words("है", "और", "के", "में", "की", "को", "से", "का", "हम", "पर", "नहीं"),
}

// leastFrequent is how many frequent words a text needs before it counts as one of a
// language.
const leastFrequent = 3

// LanguageOf guesses the language of a document, as the name of Postgres' text search
// configuration: "simple" where it does not know.
func LanguageOf(text string) string {
	counts := map[string]int{}
	for w := range strings.FieldsSeq(bare(clipped(text, 20_000))) {
		for language, known := range frequent {
			if known[w] {
				counts[language]++
			}
		}
	}
	best, most := "simple", leastFrequent-1
	for language, n := range counts {
		if n > most || (n == most && best != "simple" && language < best) {
			best, most = language, n
		}
	}
	return best
}

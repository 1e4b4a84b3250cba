package conversation

import (
	"strings"
	"unicode"

	"frontdesk/store"
)

// optOut and optIn are whole messages, without signs and accents, by which customers
// end and begin automated messages; they are what carriers and messaging services
// ask for in these languages.
var (
	optOut = words("stop", "stopall", "unsubscribe", "opt out", "optout", "end messages", // English
		"baja", "darme de baja", "parar", "no mas mensajes", // Spanish
		"stopp", "abmelden", "abbestellen", // German
		"arret", "desabonner", "me desabonner", // French
		"sair", "descadastrar", "cancelar inscricao", // Portuguese
		"cancella", "cancellami", "disiscrivimi", // Italian
		"afmelden", "uitschrijven", // Dutch
		"wypisz", "rezygnuje", // Polish
		"dur", "iptal", // Turkish
		"стоп", "отписаться", "توقف", "إلغاء الاشتراك", "रोकें", "बंद करो", "停止", "退订") // Russian, Arabic, Hindi, Chinese
	optIn = words("start", "unstop", "subscribe", "opt in", "optin",
		"alta", "darme de alta", "empezar", "anmelden", "starten", "debut", "abonner", "me abonner",
		"voltar", "inscrever", "iscrivimi", "aanmelden", "zapisz", "basla",
		"старт", "подписаться", "ابدأ", "اشتراك", "शुरू", "开始", "订阅")
)

// Consent is what a customer's text says of automated messages: only a whole message
// counts, as "stop" is an ordinary word inside one.
func Consent(text string) store.Consent {
	if len(text) > 60 {
		return store.NoConsent
	}
	said := bare(text)
	switch {
	case optOut[said]:
		return store.OptOut
	case optIn[said]:
		return store.OptIn
	}
	return store.NoConsent
}

func words(all ...string) map[string]bool {
	set := map[string]bool{}
	for _, w := range all {
		set[bare(w)] = true
	}
	return set
}

// bare is a text as people mean it: in small letters, without signs and accents, with
// single spaces.
func bare(text string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Devanagari, r):
			return -1
		case unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return ' '
	}, decomposed(text))
	return strings.Join(strings.Fields(kept), " ")
}

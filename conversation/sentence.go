package conversation

import "golang.org/x/text/unicode/norm"

// sentences are what we say to customers ourselves, in one language.
type sentences struct {
	disclosure string // opens the first answer of a session
	handoff    string // a person will answer
	optedOut   string // confirms that nothing automated follows
	optedIn    string // and that it does again
	refusal    string // instead of an answer that must not leave
	voice      string // a voice note could not be heard
}

var spoken = map[string]sentences{
	"en": {
		"This is an automated answer.", "I am handing this to a colleague, who will write to you here.",
		"You will get no more automated messages. Write START to get them again.", "Welcome back, automated messages are on again.",
		"I cannot help with that here. Is there anything else?", "I could not listen to that. Could you write it, please?",
	},
	"es": {
		"Esta es una respuesta automática.", "Se lo paso a una persona del equipo, que le escribirá aquí.",
		"No recibirá más mensajes automáticos. Escriba ALTA para volver a recibirlos.", "De nuevo recibirá mensajes automáticos.",
		"No puedo ayudarle con eso aquí. ¿Desea algo más?", "No he podido escucharlo. ¿Puede escribirlo, por favor?",
	},
	"de": {
		"Dies ist eine automatische Antwort.", "Ich gebe das an jemanden aus dem Team weiter, der sich hier meldet.",
		"Sie erhalten keine automatischen Nachrichten mehr. Schreiben Sie START, um sie wieder zu erhalten.", "Automatische Nachrichten sind wieder an.",
		"Dabei kann ich hier nicht helfen. Kann ich sonst etwas tun?", "Das konnte ich nicht anhören. Können Sie es bitte schreiben?",
	},
	"fr": {
		"Ceci est une réponse automatique.", "Je transmets à une personne de l'équipe, qui vous écrira ici.",
		"Vous ne recevrez plus de messages automatiques. Écrivez START pour les recevoir à nouveau.", "Les messages automatiques sont rétablis.",
		"Je ne peux pas vous aider pour cela ici. Autre chose ?", "Je n'ai pas pu l'écouter. Pouvez-vous l'écrire, s'il vous plaît ?",
	},
	"pt": {
		"Esta é uma resposta automática.", "Vou passar para uma pessoa da equipe, que escreverá aqui.",
		"Você não receberá mais mensagens automáticas. Escreva START para voltar a recebê-las.", "As mensagens automáticas voltaram.",
		"Não posso ajudar com isso aqui. Mais alguma coisa?", "Não consegui ouvir. Pode escrever, por favor?",
	},
	"it": {
		"Questa è una risposta automatica.", "Passo la richiesta a una persona del team, che scriverà qui.",
		"Non riceverà più messaggi automatici. Scriva START per riceverli di nuovo.", "I messaggi automatici sono di nuovo attivi.",
		"Non posso aiutarla con questo qui. Le serve altro?", "Non sono riuscito ad ascoltarlo. Può scriverlo, per favore?",
	},
}

// Languages are those of our own sentences; other accounts get English, or words of
// their own.
func Languages() []string { return []string{"en", "es", "de", "fr", "pt", "it"} }

func sentencesIn(language string) sentences {
	if s, known := spoken[language]; known {
		return s
	}
	return spoken["en"]
}

// said is an account's own words, or the usual ones.
func said(own *string, usual string) string {
	if own != nil {
		return *own
	}
	return usual
}

// decomposed has every accent stand behind its letter.
func decomposed(text string) string { return norm.NFD.String(text) }

// UsualWords are what customers are told where an account has no words of its own: in
// the first answer of a session, and when a person takes over.
func UsualWords(language string) (disclosure, handoff string) {
	s := sentencesIn(language)
	return s.disclosure, s.handoff
}

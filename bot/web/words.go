package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/a-h/templ"
)

// fallbacks are what may happen when no provider can answer, as people read it.
var fallbacks = []struct{ value, words string }{
	{"later", "Try again later"},
	{"text", "Send a text"},
	{"handoff", "Hand over to people"},
	{"silent", "Stay silent"},
}

// within says whether path belongs to a page of the menu.
func within(path, page string) bool { return path == page || strings.HasPrefix(path, page+"/") }

// tone is the colour of a word.
func tone(word string) string {
	switch word {
	case "connected", "bot", "ready", "answered", "active", "on", "completed", "delivered":
		return "good"
	case "failed", "restricted", "logged_out", "outdated", "misconfigured", "dead":
		return "bad"
	case "reconnecting", "connecting", "pairing", "human", "paused", "resting", "cooling", "waiting", "failing":
		return "warn"
	}
	return ""
}

func statusWords(status string) string { return strings.ReplaceAll(status, "_", " ") }

func stateWords(state string) string {
	return map[string]string{"bot": "bot", "human": "a person", "paused": "paused", "closed": "closed"}[state]
}

// title is what people call a conversation.
func (c Conversation) title() string {
	switch {
	case c.ContactName != "" && c.Phone != "":
		return c.ContactName + ", +" + c.Phone
	case c.ContactName != "":
		return c.ContactName
	case c.Phone != "":
		return "+" + c.Phone
	}
	return fmt.Sprint("Conversation ", c.ID)
}

// ticks are WhatsApp's marks for how far a message has got.
func ticks(status string) string {
	switch status {
	case "queued", "sending", "pending":
		return "◷"
	case "sent":
		return "✓"
	case "delivered":
		return "✓✓"
	case "read":
		return "✓✓ read"
	}
	return status
}

// entryWords is a line of the timeline as a sentence.
func entryWords(e TimelineEntry) string {
	said := func(key string) string { return fmt.Sprint(e.Detail[key]) }
	switch e.Kind {
	case "answered":
		if e.Detail["said"] != nil {
			return "Said by the rules of the house: " + skipWords(said("said"))
		}
		if e.Detail["withheld"] == true {
			return "The answer of " + said("provider") + " told what only models may read; a polite refusal was sent instead"
		}
		return fmt.Sprintf("Answered by %s (%s) in %s ms%s", said("provider"), said("model"), said("took_ms"), tries(e.Detail))
	case "skipped":
		return "Not answered: " + skipWords(said("reason"))
	case "retry":
		return fmt.Sprintf("Trying again later (attempt %s): %s", said("attempt"), strings.ReplaceAll(said("reason"), "_", " "))
	case "taken_over":
		return "A person answers now (written on the phone)"
	case "handed_off":
		return "Handed over to people: " + strings.ReplaceAll(said("reason"), "_", " ")
	case "call":
		if e.Detail["rejected"] == true {
			return "A call was rejected and answered with the account's text"
		}
		return "A call rang on the phone"
	case "state":
		if said("by") == "clock" {
			return "The bot has it again, the time with people is over"
		}
		return "Now with " + stateWords(said("state")) + ", by " + said("by")
	case "drafted":
		return fmt.Sprintf("Drafted by %s (%s) in %s ms%s", said("provider"), said("model"), said("took_ms"), tries(e.Detail))
	case "approved":
		if e.Detail["edited"] == true {
			return "The draft was rewritten and sent by " + said("by")
		}
		return "The draft was sent by " + said("by")
	case "rejected":
		return "The draft was rejected by " + said("by")
	case "answered_by_person":
		return "A person answered (written on the phone); the bot goes on drafting"
	case "given_back":
		return "Given to the bot (written on the phone)"
	case "paused":
		return "The bot is paused: " + skipWords(said("reason"))
	case "deferred":
		return "Put off: " + skipWords(said("reason"))
	}
	return e.Kind
}

// draftWords say what became of a draft.
func draftWords(d Draft) string {
	words := map[string]string{
		"sent": "Sent", "edited": "Rewritten and sent", "rejected": "Rejected",
		"superseded": "The customer wrote again before anybody decided", "overtaken": "A person answered instead", "shadow": "Only a draft",
	}[d.Decision]
	if d.DecidedBy != "" {
		words += " by " + d.DecidedBy
	}
	return words
}

// documentWords say whom a document is for and how much of it is there.
func documentWords(v knowledgePage, d Document) string {
	words := "for " + v.owner(d) + ", " + count(d.Passages, "passage")
	if d.State == "indexing" && d.Done > 0 {
		words += fmt.Sprintf(", %d indexed anew", d.Done)
	}
	if d.Failure != "" {
		words += ": " + d.Failure
	}
	return words
}

// ballWords say who answers in a conversation, and for how long.
func ballWords(c Conversation) string {
	words := map[string]string{
		"bot": "The bot answers.", "human": "A person answers; the bot stays silent", "paused": "Nobody answers by itself", "closed": "Closed; the customer's next word begins anew.",
	}[c.State]
	if c.State == "human" || c.State == "paused" {
		words += "."
		if c.ReturnAt != nil {
			words = strings.TrimSuffix(words, ".") + " until " + c.ReturnAt.UTC().Format("2 January 15:04") + " UTC."
		}
	}
	if c.OptedOutAt != nil {
		words += " The customer wants no automated messages."
	}
	return words
}

// toolWords say what a model had done for an answer.
func toolWords(e TimelineEntry) string {
	all, _ := e.Detail["tools"].([]any)
	var named []string
	for _, one := range all {
		use, _ := one.(map[string]any)
		words := fmt.Sprint(use["tool"])
		if use["error"] != nil {
			words += " (did not work)"
		}
		named = append(named, words)
	}
	if len(named) == 0 {
		return ""
	}
	return "; it used " + strings.Join(named, ", ")
}

// sourceWords name the documents that an answer rests on.
func sourceWords(e TimelineEntry) string {
	all, _ := e.Detail["sources"].([]any)
	var named []string
	for _, one := range all {
		source, _ := one.(map[string]any)
		named = append(named, fmt.Sprint(source["title"]))
	}
	if len(named) == 0 {
		return ""
	}
	return "; it read " + strings.Join(named, ", ")
}

// stepWords say how far a message of ours has got, with the time of each step.
func stepWords(m TracedMessage) string {
	var steps []string
	for _, s := range []struct {
		name string
		at   *time.Time
	}{{"queued", &m.QueuedAt}, {"sent", m.SentAt}, {"delivered", m.DeliveredAt}, {"read", m.ReadAt}, {"cancelled", m.CancelledAt}} {
		if s.at != nil {
			steps = append(steps, s.name+" "+s.at.UTC().Format("15:04:05"))
		}
	}
	words := strings.Join(steps, " · ")
	if m.Failure != "" {
		words += " · " + m.Failure
	}
	return words
}

// tries says which providers could not answer before one did.
func tries(detail map[string]any) string {
	attempts, _ := detail["attempts"].([]any)
	var failed []string
	for _, a := range attempts {
		try, _ := a.(map[string]any)
		if words, _ := try["error"].(string); words != "" {
			failed = append(failed, words)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return ", after: " + strings.Join(failed, "; ")
}

func skipWords(reason string) string {
	switch reason {
	case string(store.StateHuman):
		return "a person has the conversation"
	case "paused":
		return "the account or the conversation is paused"
	case "too_old":
		return "it was too old when it came"
	case "unreadable":
		return "it could not be decrypted; its sender was asked for another copy"
	case "no_answer":
		return "no AI provider could answer"
	case "opted_out":
		return "the customer wants no automated messages"
	case "opted_in":
		return "the customer wants automated messages again"
	case "closed":
		return "outside the hours"
	case "loop":
		return "the customer is probably a machine"
	case "busy":
		return "the bot has said enough in this chat for ten minutes"
	case "reset":
		return "the customer asked to begin anew"
	}
	return strings.ReplaceAll(reason, "_", " ")
}

// span is a length of time in its largest unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.of); n > 0 {
			return count(n, unit.name)
		}
	}
	if d < 5*time.Second {
		return "a moment"
	}
	return count(int(d/time.Second), "second")
}

// count is a number of things in words.
func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprint(n, " ", of, "s")
}

// clock is a number of seconds as a clock shows it.
func clock(seconds int) string { return fmt.Sprintf("%d:%02d", seconds/60, seconds%60) }

// askID names the form for a typed code, which is another one once there is a number.
func askID(v wizard) string {
	if v.Phone != "" {
		return "ask-another"
	}
	return "ask-typed"
}

// restrictionWords say what WhatsApp does not let an account do.
func restrictionWords(restriction string) string {
	if restriction == string(store.NoNewChats) {
		return "WhatsApp lets it begin no new chats"
	}
	return "WhatsApp has banned it for a time"
}

// actionWords are what somebody did to an account, for people.
func actionWords(action string) string {
	if words, known := map[string]string{
		"account.run": "Connected it", "account.stop": "Disconnected it", "account.logout": "Unlinked it from its phone",
		"account.delete": "Removed it", "account.proxy": "Changed its way to WhatsApp", "account.share_pairing": "Made a link for pairing",
		"account.withdraw_links": "Withdrew the links for pairing",
	}[action]; known {
		return words
	}
	return strings.ReplaceAll(strings.TrimPrefix(action, "account."), "_", " ")
}

// waitingWords say how many accounts have no process that holds them.
func waitingWords(n int) string {
	if n == 1 {
		return "1 account waits for a place."
	}
	return fmt.Sprint(n, " accounts wait for a place.")
}

// kindWords names what a message is, besides text.
func kindWords(m Message) string {
	switch m.Kind {
	case "voice":
		return "Voice note" + playing(m.File)
	case "unreadable":
		return "Could not be decrypted; its sender was asked for another copy"
	case "view_once":
		return "To be seen once, on the phone only"
	case "deleted":
		return "Deleted by its sender"
	case "unknown":
		return "A kind of message that frontdesk does not know"
	}
	return strings.ToUpper(m.Kind[:1]) + m.Kind[1:] + playing(m.File)
}

func playing(f *AttachedFile) string {
	if f == nil || f.Seconds == 0 {
		return ""
	}
	return fmt.Sprintf(", %d:%02d", f.Seconds/60, f.Seconds%60)
}

// fileWords are a file's name and size, or why it is not here.
func fileWords(f *AttachedFile) string {
	name := f.Name
	if name == "" {
		name = "File"
	}
	switch f.State {
	case "wanted":
		return name + " is being fetched"
	case "too_large":
		return name + " is too large to be fetched"
	case "gone":
		return name + ": neither WhatsApp nor the phone has it any more"
	case "failed":
		return name + " could not be fetched"
	}
	return fmt.Sprintf("%s (%s)", name, size(f.Bytes))
}

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KB", (bytes+1023)/1024)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20))
}

func fileAddress(f *AttachedFile) templ.SafeURL { return templ.SafeURL(fmt.Sprint("/files/", f.ID)) }

// phoneWords are an account's number and whether it is still linked.
func phoneWords(number string, linked bool) string {
	switch {
	case number == "":
		return "Not linked yet"
	case !linked:
		return "+" + number + ", not linked now"
	}
	return "+" + number
}

// accountWords describe an account in a list.
func accountWords(a Account) string {
	words := phoneWords(a.Phone, true)
	if a.Kind == store.KindSandbox {
		words += " · sandbox, not on the real WhatsApp"
	}
	if a.Paused {
		words += " · paused"
	}
	return words
}

// replayWords say how a new answer was made.
func replayWords(r Rehearsal) string {
	words := fmt.Sprintf("%s, %s, %.1f s, %s", r.Provider, r.Model, float64(r.TookMs)/1000, count(r.PromptTokens+r.CompletionTokens, "token"))
	if r.CostMicros != nil {
		words += fmt.Sprintf(", cost %.4f", float64(*r.CostMicros)/1e6)
	}
	if len(r.Tools) > 0 {
		words += "; called " + strings.Join(r.Tools, ", ")
	}
	var titles []string
	for _, p := range r.Sources {
		if !slices.Contains(titles, p.Title) {
			titles = append(titles, p.Title)
		}
	}
	if len(titles) > 0 {
		words += "; read " + strings.Join(titles, ", ")
	}
	return words
}

func activeWords(t Tool) string {
	if *t.Active {
		return "active"
	}
	return "off"
}

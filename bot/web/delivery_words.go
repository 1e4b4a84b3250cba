package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// eventKinds are what somebody may be told of, and the types that begin so.
var eventKinds = []struct{ value, words, types string }{
	{"message.*", "messages", "received, queued, sent, delivered, read, failed"},
	{"conversation.*", "conversations", "what their timelines show: answered, skipped, handed_off, state and others"},
	{"execution.*", "executions of flows", "queued, started, waiting, resumed, completed, failed, cancelled"},
	{"account.*", "accounts", "status, qr"},
	{"provider.*", "AI providers", "disabled, enabled"},
	{"*", "everything", "all of these, steps of flows, and what there will be in later versions"},
}

func eventKindWords(value string) string {
	for _, k := range eventKinds {
		if k.value == value {
			return k.words
		}
	}
	return value
}

func isEventKind(value string) bool { return eventKindWords(value) != value }

// capital is words at the beginning of a line.
func capital(words string) string { return strings.ToUpper(words[:1]) + words[1:] }

// subscriptionName is what people call a subscription. Its whole address may hold a key.
func subscriptionName(v Subscription) string {
	if v.Label != "" {
		return v.Label
	}
	return hostOf(v)
}

func hostOf(v Subscription) string {
	u, err := url.Parse(v.URL)
	if err != nil {
		return "an address" // it was checked when it was put
	}
	return u.Host
}

// hearsWords say what a subscription is told of.
func hearsWords(l subscriptionLine) string {
	of := "all accounts"
	if l.AccountID != nil {
		of = l.Account
	}
	if slices.Contains(l.Events, "*") {
		return "Hears of everything, of " + of + "."
	}
	words := make([]string, len(l.Events))
	for i, e := range l.Events {
		words[i] = eventKindWords(e)
	}
	if last := len(words) - 1; last > 0 {
		words = []string{strings.Join(words[:last], ", ") + " and " + words[last]}
	}
	return "Hears of " + words[0] + ", of " + of + "."
}

// fareWords say whether deliveries of a subscription arrive.
func fareWords(v Subscription) string {
	switch {
	case !*v.Active:
		return "off"
	case v.FailingSince != nil:
		return "failing"
	}
	return "on"
}

// backlogWords say how much a subscription has not got.
func backlogWords(v Subscription) string {
	waits := "Nothing waits"
	if v.Waiting > 0 {
		waits = deliveriesWords(v.Waiting) + map[bool]string{true: " waits", false: " wait"}[v.Waiting == 1]
	}
	if v.Dead == 0 {
		return waits + "."
	}
	return fmt.Sprintf("%s; %d %s given up.", waits, v.Dead, map[bool]string{true: "was", false: "were"}[v.Dead == 1])
}

func deliveriesWords(n int) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprint(n, " deliveries")
}

// againNotice says that deliveries go out once more.
func againNotice(n int) string {
	switch n {
	case 0:
		return "Nothing that happened since then is kept here, or it waits already."
	case 1:
		return "1 delivery goes out once more."
	}
	return deliveriesWords(n) + " go out once more."
}

// fates are what may come of a delivery, as people read it.
var fates = []option{{"", "all"}, {"waiting", "waiting"}, {"delivered", "delivered"}, {"dead", "given up"}}

func fateWords(status string) string {
	for _, f := range fates {
		if f.value == status {
			return f.words
		}
	}
	return status
}

func isFate(status string) bool {
	return slices.ContainsFunc(fates, func(f option) bool { return f.value == status })
}

// resting is when the receiver may be asked again, or nil: it did not ask to be left alone.
func (v Subscription) resting() *time.Time {
	if v.RestingUntil == nil || !*v.Active || time.Now().After(*v.RestingUntil) {
		return nil
	}
	return v.RestingUntil
}

// timed says whether it is known when a delivery is tried again.
func (d EventDelivery) timed() bool {
	return d.Status == "waiting" && !d.Behind && d.Tries > 0 && d.DueAt.After(time.Now())
}

// deliveryWords say what came of a delivery. A time follows where it has ended, or is
// tried again.
func deliveryWords(d EventDelivery) string {
	switch {
	case d.Status == "delivered" && d.Tries > 0:
		return fmt.Sprintf("The receiver answered %d, after %s that failed", d.Answered, triesWords(d.Tries))
	case d.Status == "delivered":
		return fmt.Sprintf("The receiver answered %d", d.Answered)
	case d.Status == "dead":
		return deathWords(d)
	case d.Behind && d.ConversationID != nil:
		return "It waits for an earlier one of the same conversation."
	case d.Behind:
		return "It waits for an earlier one."
	case d.Tries == 0:
		return "It goes out as soon as it can."
	case d.timed():
		return failureWords(d) + ". The next try is at"
	}
	return failureWords(d) + ". It is tried again as soon as it can be."
}

func deathWords(d EventDelivery) string {
	words := map[string]string{
		"tries":    "Given up",
		"gone":     "Given up, as the receiver wants no more",
		"disabled": "Given up when the webhook was switched off",
		"overflow": "Given up because too many waited: the oldest make room",
	}[d.Reason]
	if d.Tries > 0 {
		words += ". " + failureWords(d)
	}
	return words
}

// failureWords say how often a delivery was tried in vain, and how the last time ended.
func failureWords(d EventDelivery) string {
	return fmt.Sprintf("%s failed: %s", capital(triesWords(d.Tries)), d.Failure)
}

func triesWords(n int) string {
	if n == 1 {
		return "one try"
	}
	return fmt.Sprint(n, " tries")
}

// clockWords are what this server's clock shows, by which times are typed.
func clockWords() string { return time.Now().Format("15:04 (MST)") }

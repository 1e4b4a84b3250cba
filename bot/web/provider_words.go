package web

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"frontdesk/providers"
	"frontdesk/store"

	"github.com/a-h/templ"
)

// capabilityWords are what a provider may be able to do, for people.
var capabilityWords = []struct{ value, words string }{
	{store.CanStream, "Sends its answer piece by piece, so that a silence is noticed early"},
	{store.CanTools, "Calls tools"},
	{store.CanVision, "Sees pictures"},
	{store.CanSchema, "Answers in a given form (JSON Schema)"},
	{store.CanTranscribe, "Transcribes speech; with this alone it is not asked in chats"},
	{store.CanEmbed, "Makes vectors of texts for knowledge; with this alone it is not asked in chats"},
}

// classes are the failures of providers.Class in a word or two.
var classes = map[string]string{
	"ok": "answered", "canceled": "not waited for", "client_bug": "misconfigured", "network": "not reached", "first_byte": "silent",
	"stall": "fell silent", "stream_cut": "cut off", "malformed": "no answer in it", "transient": "fault of its own", "rate_limit": "too often",
	"quota": "no credit", "credential": "key refused", "model": "no such model", "region": "not in this country", "context": "too long",
	"filter": "filtered", "unsupported": "unknown parameter", "caller": "refused", "unknown": "unexpected",
}

func classWords(class string) string { return cmp.Or(classes[class], class) }

func classTone(class string) string {
	switch class {
	case string(providers.ClassOK):
		return "good"
	case string(providers.ClassQuota), string(providers.ClassCredential), string(providers.ClassModel), string(providers.ClassRegion):
		return "bad"
	}
	return "warn"
}

// state is how a provider does, in a word.
func (p providerCard) state() string {
	switch {
	case p.Health.State != "":
		return p.Health.State
	case p.Active != nil && !*p.Active:
		return "off"
	case p.Demo:
		return "standing by"
	}
	return "not loaded"
}

// why says why it is not ready, in a sentence.
func (p providerCard) why() string {
	if p.Health.Why != "" {
		return p.Health.Why
	}
	return p.PausedBecause
}

// words are its place in the order.
func (p providerCard) words() string {
	words := []string{fmt.Sprint("priority ", *p.Priority)}
	if *p.Weight > 1 {
		words = append(words, fmt.Sprint(*p.Weight, " shares of the chats"))
	}
	if p.Pools != nil && len(*p.Pools) > 0 {
		words = append(words, "pools "+strings.Join(*p.Pools, ", "))
	}
	if p.Health.P50 > 0 {
		words = append(words, "answers in "+millis(p.Health.P50.Milliseconds()))
	}
	return strings.Join(words, " · ")
}

// usageBar is one daily limit.
type usageBar struct {
	Words string
	Fill  float64
}

// barsOf are the daily limits that there are, with what is taken of them.
func barsOf(d store.DayUsage) (bars []usageBar) {
	add := func(limit *int64, used int64, words string) {
		if limit == nil {
			return
		}
		fill := 1.0
		if *limit > 0 {
			fill = min(1, float64(used)/float64(*limit))
		}
		bars = append(bars, usageBar{words, fill})
	}
	if d.RequestLimit != nil {
		add(d.RequestLimit, d.Requests, fmt.Sprintf("%d of %d calls", d.Requests, *d.RequestLimit))
	}
	if d.TokenLimit != nil {
		add(d.TokenLimit, d.Tokens+d.ReservedTokens, fmt.Sprintf("%d of %d tokens", d.Tokens+d.ReservedTokens, *d.TokenLimit))
	}
	if d.CostLimit != nil {
		spent := orZero(d.Cost) + d.ReservedCost
		add(d.CostLimit, spent, fmt.Sprintf("%s of %s spent", money(&spent), money(d.CostLimit)))
	}
	return bars
}

// dayWords are what a provider was used today.
func dayWords(d store.DayUsage) string {
	words := fmt.Sprintf("%s, %d tokens", count(int(d.Requests), "call"), d.Tokens)
	if d.Cost != nil {
		words += ", cost " + money(d.Cost)
	}
	return words
}

func millis(ms int64) string {
	if ms < 1000 {
		return fmt.Sprint(ms, " ms")
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

// attemptWords are what a call took.
func attemptWords(a ProviderAttempt) string {
	words := []string{"in " + millis(a.TookMs)}
	if a.Kind != "chat" {
		words = append([]string{a.Kind}, words...)
	}
	if tokens := a.PromptTokens + a.CompletionTokens; tokens > 0 {
		words = append(words, fmt.Sprint(tokens, " tokens"))
	}
	if a.Cost != nil && *a.Cost > 0 {
		words = append(words, "cost "+money(a.Cost))
	}
	return strings.Join(words, ", ")
}

func presetLink(p providers.Preset, m providers.PresetModel) templ.SafeURL {
	return templ.SafeURL("/providers/new?" + url.Values{"preset": {p.ID}, "model": {m.Model}}.Encode())
}

func presetsAsOf() string {
	_, asOf := providers.Presets()
	return asOf
}

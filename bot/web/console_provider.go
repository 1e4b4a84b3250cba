package web

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"frontdesk/providers"
	"frontdesk/store"
)

// providerForm is a provider's form as it was typed.
type providerForm struct {
	Name, BaseURL, Model, Priority, Weight                           string
	Timeout, ContextTokens, MaxOutputTokens, Temperature, ParamStyle string
	RequestLimit, TokenLimit, CostLimit, InputPrice, OutputPrice     string
	ResetTZ, RequestsPerMinute, Concurrency, Pools                   string
	Capabilities                                                     []string
	Active, AnswerFiltered                                           bool
	KeyHint, Keys                                                    string // what is kept; where keys are made
	Problem, Notice                                                  string
}

func (f providerForm) action(id int64) string {
	if id == 0 {
		return "/providers"
	}
	return fmt.Sprint("/providers/", id)
}

func (f providerForm) keyHint() string {
	if f.KeyHint == "" {
		return "none kept"
	}
	return "kept, ends in " + f.KeyHint + "; type to replace"
}

func (f providerForm) can(capability string) bool { return slices.Contains(f.Capabilities, capability) }

// formOf shows a provider in its form.
func formOf(p store.Provider) providerForm {
	f := providerForm{
		Name: p.Name, BaseURL: p.BaseURL, Model: p.Model, Priority: strconv.Itoa(p.Priority), Weight: strconv.Itoa(max(p.Weight, 1)),
		Timeout: strconv.Itoa(cmp.Or(p.TimeoutMs, 60_000) / 1000), ContextTokens: strconv.Itoa(cmp.Or(p.ContextTokens, 128_000)),
		MaxOutputTokens: strconv.Itoa(cmp.Or(p.MaxOutputTokens, 1024)), ParamStyle: cmp.Or(p.ParamStyle, store.ParamsClassic),
		RequestLimit: whole(p.RequestLimit), TokenLimit: whole(p.TokenLimit), CostLimit: money(p.CostLimit),
		InputPrice: money(p.InputPrice), OutputPrice: money(p.OutputPrice), ResetTZ: cmp.Or(p.ResetTZ, "UTC"),
		RequestsPerMinute: whole(p.RequestsPerMinute), Concurrency: whole(p.Concurrency), Pools: strings.Join(p.Pools, ", "),
		Capabilities: p.Capabilities, Active: p.Active, AnswerFiltered: p.AnswerFiltered, KeyHint: p.KeyHint,
	}
	if p.Temperature != nil {
		f.Temperature = strconv.FormatFloat(float64(*p.Temperature), 'f', -1, 32)
	}
	return f
}

func whole[N int | int64](n *N) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}

// money is an amount of millionths as people write it.
func money(micros *int64) string {
	if micros == nil {
		return ""
	}
	return strconv.FormatFloat(float64(*micros)/1e6, 'f', -1, 64)
}

// typedProvider reads the form back.
func typedProvider(r *http.Request) providerForm {
	typed := func(name string) string { return strings.TrimSpace(r.FormValue(name)) }
	return providerForm{
		Name: typed("name"), BaseURL: typed("base_url"), Model: typed("model"), Priority: typed("priority"), Weight: typed("weight"),
		Timeout: typed("timeout"), ContextTokens: typed("context_tokens"), MaxOutputTokens: typed("max_output_tokens"),
		Temperature: typed("temperature"), ParamStyle: typed("param_style"),
		RequestLimit: typed("request_limit"), TokenLimit: typed("token_limit"), CostLimit: typed("cost_limit"),
		InputPrice: typed("input_price"), OutputPrice: typed("output_price"), ResetTZ: typed("reset_tz"),
		RequestsPerMinute: typed("requests_per_minute"), Concurrency: typed("concurrency"), Pools: typed("pools"),
		Capabilities: r.Form["capability"], Active: typed("active") != "", AnswerFiltered: typed("answer_filtered") != "",
		KeyHint: typed("key_hint"), Keys: typed("keys"),
	}
}

// apply puts what was typed into a provider, or says in a sentence what is wrong.
func (f providerForm) apply(p *store.Provider) error {
	read := &reading{}
	p.Name, p.BaseURL, p.Model, p.ParamStyle, p.ResetTZ = f.Name, f.BaseURL, f.Model, f.ParamStyle, f.ResetTZ
	p.Active, p.AnswerFiltered = f.Active, f.AnswerFiltered
	p.Capabilities = append([]string{}, f.Capabilities...)
	p.Pools = strings.FieldsFunc(f.Pools, func(r rune) bool { return r == ',' || r == ' ' })
	p.Priority = int(orZero(read.integer("The priority", cmp.Or(f.Priority, "0"), math.MinInt32)))
	p.Weight = int(orZero(read.integer("The share of the chats", f.Weight, 1)))
	p.TimeoutMs = 1000 * int(orZero(read.integer("The longest wait", f.Timeout, 1)))
	p.ContextTokens = int(orZero(read.integer("The context window", f.ContextTokens, 1)))
	p.MaxOutputTokens = int(orZero(read.integer("The longest answer", f.MaxOutputTokens, 1)))
	p.RequestLimit = read.integer("The calls a day", f.RequestLimit, 0)
	p.TokenLimit = read.integer("The tokens a day", f.TokenLimit, 0)
	p.CostLimit = read.micros("The cost a day", f.CostLimit)
	p.InputPrice, p.OutputPrice = read.micros("The price of what it reads", f.InputPrice), read.micros("The price of what it writes", f.OutputPrice)
	p.RequestsPerMinute = narrow(read.integer("The calls a minute", f.RequestsPerMinute, 1))
	p.Concurrency = narrow(read.integer("The calls at once", f.Concurrency, 1))
	p.Temperature = read.temperature(f.Temperature)
	return read.err
}

// reading keeps the first thing that is wrong with numbers of a form; empty ones are
// nil.
type reading struct{ err error }

func (r *reading) integer(name, typed string, least int64) *int64 {
	if typed == "" {
		return nil
	}
	n, err := strconv.ParseInt(typed, 10, 64)
	if err != nil || n < least {
		r.wrong(name + " is a whole number from " + strconv.FormatInt(max(least, 0), 10) + " on, or empty.")
	}
	return &n
}

func (r *reading) micros(name, typed string) *int64 {
	if typed == "" {
		return nil
	}
	amount, err := strconv.ParseFloat(strings.Replace(typed, ",", ".", 1), 64)
	if err != nil || !(amount >= 0 && amount < 1e9) {
		r.wrong(name + " is an amount such as 0.15, or empty.")
		return nil
	}
	micros := int64(math.Round(amount * 1e6))
	return &micros
}

func (r *reading) temperature(typed string) *float32 {
	if typed == "" {
		return nil
	}
	degree, err := strconv.ParseFloat(strings.Replace(typed, ",", ".", 1), 32)
	if err != nil || !(degree >= 0 && degree <= 2) {
		r.wrong("The temperature is a number from 0 to 2, or empty.")
	}
	narrow := float32(degree)
	return &narrow
}

func (r *reading) wrong(sentence string) {
	if r.err == nil {
		r.err = problem(http.StatusUnprocessableEntity, "invalid", sentence)
	}
}

func orZero(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func narrow(n *int64) *int {
	if n == nil {
		return nil
	}
	narrow := int(*n)
	return &narrow
}

// providerCard is what a page shows of a provider besides its form.
type providerCard struct {
	Provider

	Health   providers.Health
	Today    store.DayUsage
	Attempts []ProviderAttempt
	More     bool // there are older attempts
}

// providerCards are all providers with their health and their day.
func (s *Server) providerCards(r *http.Request) ([]providerCard, error) {
	found, err := s.listProviders(r.Context(), nil)
	if err != nil {
		return nil, err
	}
	days, err := s.store.UsageToday(r.Context())
	if err != nil {
		return nil, err
	}
	cards := make([]providerCard, len(found.Body.Items))
	for i, p := range found.Body.Items {
		cards[i].Provider = p
		for _, h := range s.ai.Health() {
			if h.ID == p.ID {
				cards[i].Health = h
			}
		}
		for _, d := range days {
			if d.ProviderID == p.ID {
				cards[i].Today = d
			}
		}
	}
	return cards, nil
}

// providerCard is one of them with its newest attempts.
func (s *Server) providerCard(r *http.Request, id int64) (providerCard, error) {
	cards, err := s.providerCards(r)
	if err != nil {
		return providerCard{}, err
	}
	at := slices.IndexFunc(cards, func(c providerCard) bool { return c.ID == id })
	if at < 0 {
		return providerCard{}, store.ErrNotFound
	}
	card := cards[at]
	attempts, err := s.listAttempts(r.Context(), &attemptsRequest{Page: Page{Limit: fewLines}, Provider: id})
	if err == nil {
		card.Attempts, card.More = attempts.Body.Items, attempts.Body.Next != ""
	}
	return card, err
}

func (s *Server) providersPage(w http.ResponseWriter, r *http.Request) error {
	cards, err := s.providerCards(r)
	if err != nil {
		return err
	}
	return s.show(w, r, providersView(s.chrome(r, "AI providers"), cards))
}

func (s *Server) providersLive(w http.ResponseWriter, r *http.Request) error {
	cards, err := s.providerCards(r)
	if err != nil {
		return err
	}
	return s.show(w, r, providersLive(cards, may(s.chrome(r, "").Role, store.RoleAdmin)))
}

// providerNew is an empty form, or one that a preset has filled.
func (s *Server) providerNew(w http.ResponseWriter, r *http.Request) error {
	f := formOf(store.Provider{Active: true, Capabilities: []string{store.CanStream}})
	all, _ := providers.Presets()
	for _, p := range all {
		if p.ID == r.FormValue("preset") {
			f = formOf(p.Provider(r.FormValue("model")))
			f.Keys = p.Keys
		}
	}
	return s.show(w, r, providerNewView(s.chrome(r, "Add a provider"), f))
}

func (s *Server) providerPage(w http.ResponseWriter, r *http.Request) error {
	return s.showProvider(w, r, func(f *providerForm) {
		f.Notice = map[string]string{"saved": "Saved."}[r.FormValue("done")]
	})
}

// showProvider shows a provider's page, with something to say.
func (s *Server) showProvider(w http.ResponseWriter, r *http.Request, say func(*providerForm)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	p, err := s.store.Provider(r.Context(), id)
	if err != nil {
		return err
	}
	card, err := s.providerCard(r, id)
	if err != nil {
		return err
	}
	f := formOf(p)
	say(&f)
	return s.show(w, r, providerView(s.chrome(r, p.Name), card, f))
}

func (s *Server) providerLive(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	card, err := s.providerCard(r, id)
	if err != nil {
		return err
	}
	return s.show(w, r, providerLive(card))
}

// providerAttempts is a page of a provider's calls.
func (s *Server) providerAttempts(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	p, err := s.store.Provider(r.Context(), id)
	if err != nil {
		return err
	}
	found, err := s.listAttempts(r.Context(), &attemptsRequest{Page: Page{After: r.FormValue("after"), Limit: onePage}, Provider: id})
	if err != nil {
		return err
	}
	return s.show(w, r, attemptsView(s.chrome(r, "Calls"), id, p.Name, found.Body.Items, found.Body.Next))
}

func (s *Server) providerAdd(w http.ResponseWriter, r *http.Request) error {
	f := typedProvider(r)
	p := store.Provider{}
	err := f.apply(&p)
	var added store.Provider
	if err == nil {
		added, err = s.createProvider(r.Context(), p, r.FormValue("key"))
	}
	if err != nil {
		said := s.problemOf(r.Context(), err)
		f.Problem = said.Detail
		return s.showWith(w, r, said.Status, providerNewView(s.chrome(r, "Add a provider"), f))
	}
	return s.providerChanged(w, r, added.ID, "provider.add", fmt.Sprintf("/providers/%d?done=saved", added.ID))
}

// providerChanged has a change noted and in use, and leads on.
func (s *Server) providerChanged(w http.ResponseWriter, r *http.Request, id int64, action, to string) error {
	s.ai.Reload()
	if err := s.store.Audit(r.Context(), asker(r.Context()), action, fmt.Sprint("provider:", id), nil); err != nil {
		return err
	}
	return seeOther(w, r, to)
}

func (s *Server) providerChange(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	f := typedProvider(r)
	if err := s.saveProvider(r, id, f); err != nil {
		said := s.problemOf(r.Context(), err)
		f.Problem = said.Detail
		card, err := s.providerCard(r, id)
		if err != nil {
			return err
		}
		return s.showWith(w, r, said.Status, providerView(s.chrome(r, card.Provider.name()), card, f))
	}
	return s.providerChanged(w, r, id, "provider.change", fmt.Sprintf("/providers/%d?done=saved", id))
}

func (s *Server) saveProvider(r *http.Request, id int64, f providerForm) error {
	if err := f.apply(&store.Provider{}); err != nil {
		return err
	}
	_, err := s.store.UpdateProvider(r.Context(), id, func(p *store.Provider) { _ = f.apply(p) }) // it applied a moment ago
	if key := r.FormValue("key"); err == nil && key != "" {
		err = s.store.SetProviderKey(r.Context(), id, key)
	}
	return err
}

func (p Provider) name() string {
	if p.Name == nil {
		return ""
	}
	return *p.Name
}

func (s *Server) providerAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	switch action := r.PathValue("action"); action {
	case "test":
		return s.providerTested(w, r, id)
	case "up", "down":
		if err := s.store.MoveProvider(r.Context(), id, action == "up"); err != nil {
			return err
		}
		return s.providerChanged(w, r, id, "provider.move", "/providers")
	case "remove":
		if err := s.store.DeleteProvider(r.Context(), id); err != nil {
			return err
		}
		return s.providerChanged(w, r, id, "provider.remove", "/providers")
	}
	return s.missingPage(w, r)
}

// providerTested shows what the provider said on its page.
func (s *Server) providerTested(w http.ResponseWriter, r *http.Request, id int64) error {
	result, err := s.test(r.Context(), id)
	if err != nil {
		return err
	}
	return s.showProvider(w, r, func(f *providerForm) {
		f.Problem = result.Error
		if result.OK {
			f.Notice = fmt.Sprintf("It answered in %d ms: %s", result.TookMs, cmp.Or(result.Text, "all is well"))
		}
	})
}

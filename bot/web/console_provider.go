package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"frontdesk/providers"
	"frontdesk/store"
)

// providerForm is a provider's form as it was typed.
type providerForm struct {
	Name, BaseURL, Model, Priority, RequestLimit, TokenLimit string
	Active                                                   bool
	KeyHint                                                  string
	Problem, Notice                                          string
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

func (s *Server) providersPage(w http.ResponseWriter, r *http.Request) error {
	found, err := s.listProviders(r.Context(), nil)
	if err != nil {
		return err
	}
	health := map[int64]providers.Health{}
	for _, h := range s.ai.Health() {
		health[h.ID] = h
	}
	return s.show(w, r, providersView(s.chrome(r, "AI providers"), found.Body.Items, health))
}

func (s *Server) providerNew(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, providerView(s.chrome(r, "Add a provider"), 0, providerForm{Active: true, Priority: "0"}))
}

func (s *Server) providerPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	p, err := s.store.Provider(r.Context(), id)
	if err != nil {
		return err
	}
	f := providerForm{
		Name: p.Name, BaseURL: p.BaseURL, Model: p.Model, Priority: strconv.Itoa(p.Priority), Active: p.Active, KeyHint: p.KeyHint,
		RequestLimit: number(p.RequestLimit), TokenLimit: number(p.TokenLimit), Notice: map[string]string{"saved": "Saved."}[r.FormValue("done")],
	}
	return s.show(w, r, providerView(s.chrome(r, p.Name), id, f))
}

func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// typedProvider reads the form back.
func typedProvider(r *http.Request) providerForm {
	return providerForm{
		Name: strings.TrimSpace(r.FormValue("name")), BaseURL: strings.TrimSpace(r.FormValue("base_url")), Model: strings.TrimSpace(r.FormValue("model")),
		Priority: r.FormValue("priority"), RequestLimit: r.FormValue("request_limit"), TokenLimit: r.FormValue("token_limit"),
		Active: r.FormValue("active") != "",
	}
}

// apply puts what was typed into a provider; "" or a sentence.
func (f providerForm) apply(p *store.Provider) error {
	priority, err := strconv.Atoi(strings.TrimSpace(f.Priority))
	if err != nil {
		return problem(http.StatusUnprocessableEntity, "invalid", "The priority is a whole number.")
	}
	p.Name, p.BaseURL, p.Model, p.Priority, p.Active = f.Name, f.BaseURL, f.Model, priority, f.Active
	if p.RequestLimit, err = limit(f.RequestLimit); err != nil {
		return err
	}
	p.TokenLimit, err = limit(f.TokenLimit)
	return err
}

func limit(typed string) (*int64, error) {
	if strings.TrimSpace(typed) == "" {
		return nil, nil //nolint:nilnil // no limit is a limit that people chose
	}
	n, err := strconv.ParseInt(strings.TrimSpace(typed), 10, 64)
	if err != nil || n < 0 {
		return nil, problem(http.StatusUnprocessableEntity, "invalid", "A limit is a whole number from 0 on, or empty.")
	}
	return &n, nil
}

func (s *Server) providerAdd(w http.ResponseWriter, r *http.Request) error {
	f := typedProvider(r)
	p := store.Provider{Capabilities: []string{store.CanStream}}
	err := f.apply(&p)
	var added store.Provider
	if err == nil {
		added, err = s.createProvider(r.Context(), p, r.FormValue("key"))
	}
	if err != nil {
		return s.showForm(w, r, "Add a provider", 0, f, err)
	}
	s.ai.Reload()
	return seeOther(w, r, fmt.Sprintf("/providers/%d?done=saved", added.ID))
}

func (s *Server) showForm(w http.ResponseWriter, r *http.Request, title string, id int64, f providerForm, err error) error {
	p := s.problemOf(r.Context(), err)
	f.Problem = p.Detail
	return s.showWith(w, r, p.Status, providerView(s.chrome(r, title), id, f))
}

func (s *Server) providerChange(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	f := typedProvider(r)
	if err := f.apply(&store.Provider{}); err != nil {
		return s.showForm(w, r, f.Name, id, f, err)
	}
	if key := r.FormValue("key"); key != "" {
		if err := s.store.SetProviderKey(r.Context(), id, key); err != nil {
			return s.showForm(w, r, f.Name, id, f, err)
		}
	}
	_, err = s.store.UpdateProvider(r.Context(), id, func(p *store.Provider) { _ = f.apply(p) }) // it applied a moment ago
	if err != nil {
		return s.showForm(w, r, f.Name, id, f, err)
	}
	s.ai.Reload()
	return seeOther(w, r, fmt.Sprintf("/providers/%d?done=saved", id))
}

func (s *Server) providerAct(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	switch r.PathValue("action") {
	case "test":
		return s.providerTested(w, r, id)
	case "remove":
		if err := s.store.DeleteProvider(r.Context(), id); err != nil {
			return err
		}
		s.ai.Reload()
		return seeOther(w, r, "/providers")
	}
	return s.missingPage(w, r)
}

// providerTested shows what the provider said on its page.
func (s *Server) providerTested(w http.ResponseWriter, r *http.Request, id int64) error {
	result, err := s.test(r.Context(), id)
	if err != nil {
		return err
	}
	p, err := s.store.Provider(r.Context(), id)
	if err != nil {
		return err
	}
	f := providerForm{
		Name: p.Name, BaseURL: p.BaseURL, Model: p.Model, Priority: strconv.Itoa(p.Priority), Active: p.Active, KeyHint: p.KeyHint,
		RequestLimit: number(p.RequestLimit), TokenLimit: number(p.TokenLimit), Problem: result.Error,
	}
	if result.OK {
		f.Notice = fmt.Sprintf("It answered in %d ms: %s", result.TookMs, result.Text)
	}
	return s.show(w, r, providerView(s.chrome(r, p.Name), id, f))
}

package web

import (
	"bytes"
	"cmp"
	"embed"
	"net/http"
	"slices"

	"frontdesk/store"

	"github.com/a-h/templ"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

//go:embed assets
var files embed.FS

// assets serves what pages need besides their text. It is part of the binary, so
// browsers may keep it as long as that does.
func assets() http.Handler {
	served := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		served.ServeHTTP(w, r)
	})
}

// chrome is what surrounds a page for this visitor.
func (s *Server) chrome(r *http.Request, title string) chrome {
	c := chrome{Title: title, Path: r.URL.Path, Role: s.role(r), Sandbox: s.sandbox != nil, Version: s.o.Version}
	if s.o.Live != nil && c.Role != "" {
		c.Scripts = append(c.Scripts, "live.js")
	}
	return c
}

// renews says when a part of a page renews itself: at what happens in its room, and
// slowly in case the stream of that is away. Without such streams it asks at the usual
// rate.
func (s *Server) renews(usual string) string {
	if s.o.Live != nil {
		return "changed, every 5s"
	}
	return "every " + usual
}

// mostForm is how many bytes a form may have.
const mostForm = 1 << 20

// page turns a handler's error into a page for people.
func (s *Server) page(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return s.pageWith(mostForm, h)
}

// pageWith is a page whose form may have that many bytes.
func (s *Server) pageWith(most int64, h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, most)
		if err := h(w, r); err != nil {
			p := s.problemOf(r.Context(), err)
			s.showProblem(w, r, p)
		}
	})
}

// show renders a whole page before anything of it leaves.
func (s *Server) show(w http.ResponseWriter, r *http.Request, c templ.Component) error {
	return s.showWith(w, r, http.StatusOK, c)
}

func (s *Server) showWith(w http.ResponseWriter, r *http.Request, status int, c templ.Component) error {
	var page bytes.Buffer
	if err := c.Render(r.Context(), &page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Frontdesk-Page", "yes") // what lacks it, of a proxy for one, takes no part's place
	w.WriteHeader(status)
	_, _ = page.WriteTo(w)
	return nil
}

func (s *Server) showError(w http.ResponseWriter, r *http.Request, status int, sentence string) {
	s.showProblem(w, r, problem(status, "", sentence))
}

// inPlace says whether a page asks for a part of itself, instead of a browser for a page.
func inPlace(r *http.Request) bool { return r.Header.Get("Hx-Request") != "" }

// showProblem says what is wrong, on a page of its own. A page that asked for a part of
// itself stays as it is, and says it above.
func (s *Server) showProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	if inPlace(r) {
		h := w.Header()
		h.Set("Hx-Retarget", "#problem")
		h.Set("Hx-Reselect", ".notice")
		h.Set("Hx-Reswap", "innerMorph")
		_ = s.showWith(w, r, p.Status, problemNotice(p.Detail, p.Reference))
		return
	}
	_ = s.showWith(w, r, p.Status, errorPage(s.chrome(r, p.Title), p.Detail, p.Reference))
}

func (s *Server) missingPage(http.ResponseWriter, *http.Request) error {
	return problem(http.StatusNotFound, "no_such_page", "There is no such page.")
}

func (s *Server) homePage(w http.ResponseWriter, r *http.Request) error {
	to := "/accounts"
	if s.sandbox != nil && may(s.role(r), store.RoleAgent) {
		to = "/try"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// signInPage shows a button: a link that only previews or prefetches is not spent.
func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, signInView(s.chrome(r, "Sign in"), r.FormValue("link"), ""))
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	role, err := s.store.UseSignInLink(r.Context(), r.FormValue("link"))
	if err == store.ErrNoEntry { //nolint:errorlint // returned bare
		return s.showWith(w, r, http.StatusForbidden, signInView(s.chrome(r, "Sign in"), "", "This link was used before or has expired."))
	}
	if err != nil {
		return err
	}
	if err := s.sessions.RenewToken(r.Context()); err != nil {
		return err
	}
	s.sessions.Put(r.Context(), roleKey, string(role))
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := s.sessions.Destroy(r.Context()); err != nil {
		return err
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	return nil
}

// docsPage lists the routes of the API.
func (s *Server) docsPage(w http.ResponseWriter, r *http.Request) {
	if err := s.show(w, r, docsView(s.chrome(r, "API"), s.listOperations())); err != nil {
		s.showProblem(w, r, s.problemOf(r.Context(), err))
	}
}

func (s *Server) listOperations() []operationView {
	api := humago.New(http.NewServeMux(), apiConfig(s.o.Version))
	s.operations(api)
	var all []operationView
	for path, item := range api.OpenAPI().Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if o != nil {
				role, _ := o.Metadata["role"].(store.Role)
				all = append(all, operationView{Method: o.Method, Path: path, Summary: o.Summary, Role: string(role)})
			}
		}
	}
	slices.SortFunc(all, func(a, b operationView) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return all
}

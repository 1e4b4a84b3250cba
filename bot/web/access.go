package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"frontdesk/store"

	"github.com/alexedwards/scs/v2"
	"github.com/danielgtaylor/huma/v2"
)

// strength orders the roles; whoever has one may enter where a weaker one may.
var strength = []store.Role{store.RoleViewer, store.RoleAgent, store.RoleAdmin, store.RoleOwner}

// may says whether role is at least least.
func may(role, least store.Role) bool {
	return slices.Index(strength, role) >= slices.Index(strength, least)
}

// roleKey is where a session keeps its role.
const roleKey = "role"

const sessionLife = 12 * time.Hour

func newSessions(o Options) *scs.SessionManager {
	m := scs.New()
	m.Store, m.HashTokenInStore = o.Store.Sessions(), true
	m.Lifetime = sessionLife
	m.Cookie.Name, m.Cookie.HttpOnly, m.Cookie.SameSite = "frontdesk", true, http.SameSiteLaxMode
	m.Cookie.Secure = strings.HasPrefix(o.PublicURL, "https://")
	m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		o.Log.Error("Session not loaded", slog.Any("error", err))
		http.Error(w, "The database does not answer; try again in a moment", http.StatusServiceUnavailable)
	}
	return m
}

// console puts sessions and the defence against other sites' forms around pages.
func (s *Server) console(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(s.sessions.LoadAndSave(next))
}

// signedIn lets those in whose session has at least the role.
func (s *Server) signedIn(least store.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role := s.role(r)
		switch {
		case role == "" && inPlace(r):
			w.Header().Set("Hx-Redirect", "/sign-in")
			w.WriteHeader(http.StatusUnauthorized)
		case role == "":
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		case !may(role, least):
			s.showError(w, r, http.StatusForbidden, "Your role may not do this. Ask an admin.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// role is that of the session, or "".
func (s *Server) role(r *http.Request) store.Role {
	return store.Role(s.sessions.GetString(r.Context(), roleKey))
}

// secret is the token that a request carries, or "".
func secret(header func(string) string) string {
	if key := header("X-Api-Key"); key != "" {
		return key
	}
	token, _ := strings.CutPrefix(header("Authorization"), "Bearer ")
	return strings.TrimSpace(token)
}

// admit says who the bearer of a token is, or why not to let them in.
func (s *Server) admit(ctx context.Context, token string, least store.Role) (store.Bearer, *Problem) {
	if token == "" {
		return store.Bearer{}, problem(http.StatusUnauthorized, "no_token", "Send a token: Authorization: Bearer …, or X-Api-Key. Create one with: frontdesk tokens create --name …")
	}
	b, err := s.store.Bearer(ctx, token)
	switch {
	case errors.Is(err, store.ErrNoEntry):
		return b, problem(http.StatusUnauthorized, "bad_token", "This token is unknown or expired")
	case err != nil:
		return b, s.problemOf(ctx, err)
	case !may(b.Role, least):
		return b, problem(http.StatusForbidden, "role_too_weak", "This token's role is "+string(b.Role)+"; this needs "+string(least))
	}
	return b, nil
}

// askerKey is where a request's context keeps who asks.
type askerKey struct{}

// asker is who a request comes from, for the audit log.
func asker(ctx context.Context) string {
	if name, ok := ctx.Value(askerKey{}).(string); ok {
		return "token " + name
	}
	return "console"
}

// withToken guards a plain route.
func (s *Server) withToken(least store.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, refused := s.admit(r.Context(), secret(r.Header.Get), least); refused != nil {
			writeProblem(w, refused)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard is the same for a route of the API.
func (s *Server) guard(least store.Role) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		bearer, refused := s.admit(c.Context(), secret(c.Header), least)
		if refused == nil {
			next(huma.WithValue(c, askerKey{}, bearer.Name))
			return
		}
		c.SetHeader("Content-Type", problemType)
		c.SetStatus(refused.Status)
		_, _ = c.BodyWriter().Write(refused.encoded())
	}
}

// withoutCookies keeps the console's session from speaking for an API client.
func withoutCookies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Cookie")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// secured sets what browsers are to forbid.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// recovered answers a panic with a reference that the log has too.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel itself is thrown
				panic(v)
			}
			reference := newReference()
			s.log.ErrorContext(r.Context(), "Request panicked", slog.String("reference", reference), slog.String("path", pathWithoutSecret(r.URL.Path)),
				slog.Any("error", v), slog.String("stack", string(debug.Stack())))
			writeProblem(w, internal(reference))
		}()
		next.ServeHTTP(w, r)
	})
}

// pathWithoutSecret is a path for the log: a link for pairing is a key.
func pathWithoutSecret(path string) string {
	if rest, found := strings.CutPrefix(path, "/pair/"); found {
		_, action, _ := strings.Cut(rest, "/")
		return "/pair/…/" + action
	}
	return path
}

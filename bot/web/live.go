package web

import (
	"context"
	"net/http"

	"frontdesk/bot/live"
	"frontdesk/store"
)

// TakeWebhooks has /webhook answered by intake. It is called before Start.
func (s *Server) TakeWebhooks(intake http.Handler) { s.webhooks = intake }

// SignedIn says whether a request comes from somebody who may start flows: with a token,
// or with the console's session.
func (s *Server) SignedIn(r *http.Request) bool {
	if token := secret(r.Header.Get); token != "" {
		b, err := s.store.Bearer(r.Context(), token)
		return err == nil && may(b.Role, store.RoleAgent)
	}
	cookie, err := r.Cookie(s.sessions.Cookie.Name)
	if err != nil {
		return false
	}
	ctx, err := s.sessions.Load(r.Context(), cookie.Value)
	return err == nil && may(store.Role(s.sessions.GetString(ctx, roleKey)), store.RoleAgent)
}

// takeWebhook answers other systems. It is a door of its own: no session, no token, its
// own limits and times.
func (s *Server) takeWebhook(w http.ResponseWriter, r *http.Request) {
	if s.webhooks == nil {
		http.NotFound(w, r)
		return
	}
	s.webhooks.ServeHTTP(w, r)
}

// followEvents streams what happens in rooms.
func (s *Server) followEvents(w http.ResponseWriter, r *http.Request) {
	if s.o.Live == nil {
		writeProblem(w, problem(http.StatusServiceUnavailable, "no_events", "Events cannot be followed here"))
		return
	}
	s.o.Live.ServeEvents(w, r, s.visitor(r))
}

// followSocket is the same over a WebSocket.
func (s *Server) followSocket(w http.ResponseWriter, r *http.Request) {
	if s.o.Live == nil {
		writeProblem(w, problem(http.StatusServiceUnavailable, "no_events", "Events cannot be followed here"))
		return
	}
	s.o.Live.ServeSocket(w, r, s.visitor(r))
}

// visitor is who follows: as long as the token or the session is good that they came
// with.
func (s *Server) visitor(r *http.Request) live.Visitor {
	v := live.Visitor{May: s.mayFollow}
	if token := secret(r.Header.Get); token != "" {
		v.Pass = store.TokenPass(token)
	} else {
		v.Pass = store.SessionPass(s.sessions.Token(r.Context()))
	}
	return v
}

// mayFollow says whether a room is there; whoever came this far may see all of them.
func (s *Server) mayFollow(ctx context.Context, r live.Room) bool {
	var err error
	switch r.Kind {
	case "execution":
		_, err = s.store.Execution(ctx, r.ID)
	case "flow":
		_, err = s.store.Flow(ctx, r.ID)
	case "account":
		_, err = s.store.Account(ctx, r.ID)
	case "conversation":
		_, err = s.store.Conversation(ctx, r.ID)
	}
	return err == nil
}

// fromHere lets those in who have the console's session or a token. A page of another
// site cannot borrow the session: sockets check their origin, and its cookie is Lax.
func (s *Server) fromHere(least store.Role, next http.Handler) http.Handler {
	withToken := s.withToken(least, next)
	withSession := s.sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role := s.role(r); !may(role, least) || role == "" {
			writeProblem(w, problem(http.StatusUnauthorized, "no_token", "Send a token: Authorization: Bearer …, or X-Api-Key, or sign in to the console"))
			return
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secret(r.Header.Get) != "" {
			withToken.ServeHTTP(w, r)
			return
		}
		withSession.ServeHTTP(w, r)
	})
}

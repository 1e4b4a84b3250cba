package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"frontdesk/store"
)

// mostReplayed is how many answers one replay compares.
const mostReplayed = 20

// spans are how far back a replay looks.
var spans = []option{{"24", "since yesterday"}, {"168", "of the last seven days"}, {"720", "of the last thirty days"}}

// replayPage is what the page shows that compares past answers with others.
type replayPage struct {
	ID        int64
	Name      string
	Persona   string
	Provider  int64 // 0: by priority
	Hours     string
	Limit     int
	Providers []store.Provider
	Asked     bool // the answers below are made anew
	Answers   []Answer
}

// replayed is an answer made anew, or why there is none.
type replayed struct {
	New     Rehearsal
	Problem string
}

func (s *Server) replayPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	a, err := s.store.Account(r.Context(), id)
	if err != nil {
		return err
	}
	known, err := s.store.Providers(r.Context())
	if err != nil {
		return err
	}
	known = slices.DeleteFunc(known, func(p store.Provider) bool {
		return !p.Active || (a.ProviderPool != "" && !slices.Contains(p.Pools, a.ProviderPool))
	})
	v := replayPage{ID: id, Name: a.Name, Persona: a.Persona, Hours: spans[0].value, Limit: 10, Providers: known, Asked: r.Method == http.MethodPost}
	if v.Asked {
		if err := s.replay(r, &v); err != nil {
			return err
		}
	}
	return s.showWith(w, r, http.StatusOK, replayView(s.chrome(r, "Replay"), v))
}

// replay finds the answers that are to be compared.
func (s *Server) replay(r *http.Request, v *replayPage) error {
	v.Persona, v.Hours = r.FormValue("persona"), r.FormValue("hours")
	v.Provider, _ = strconv.ParseInt(r.FormValue("provider"), 10, 64)
	hours, err := strconv.Atoi(v.Hours)
	if err != nil || hours < 1 {
		hours = 24
	}
	if n, err := strconv.Atoi(r.FormValue("limit")); err == nil {
		v.Limit = min(max(n, 1), mostReplayed)
	}
	now, err := s.store.Now(r.Context())
	if err != nil {
		return err
	}
	found, err := s.listAnswers(r.Context(), &answersRequest{ByID: ByID{v.ID}, Since: now.Add(-time.Duration(hours) * time.Hour), Limit: v.Limit})
	if err == nil {
		v.Answers = found.Body.Items
	}
	return err
}

// replayAnswer makes one answer anew, as a part of the page.
func (s *Server) replayAnswer(w http.ResponseWriter, r *http.Request) error {
	conversation, err := strconv.ParseInt(r.PathValue("conversation"), 10, 64)
	if err != nil {
		return store.ErrNotFound
	}
	in := &rehearseRequest{ByID: ByID{conversation}}
	if in.Body.Seq, err = strconv.ParseInt(r.PathValue("seq"), 10, 64); err != nil {
		return store.ErrNotFound
	}
	in.Body.Persona = new(r.FormValue("persona"))
	in.Body.ProviderID, _ = strconv.ParseInt(r.FormValue("provider"), 10, 64)
	v := replayed{}
	made, err := s.rehearse(r.Context(), in)
	if err != nil {
		v.Problem = s.problemOf(r.Context(), err).Detail
	} else {
		v.New = made.Body
	}
	return s.show(w, r, replayedView(v))
}

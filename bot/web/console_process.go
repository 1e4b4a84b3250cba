package web

import (
	"net/http"

	"frontdesk/store"
)

// processesPage is what the page of processes shows.
type processesPage struct {
	Items   []Process
	Waiting int // accounts without a place
}

func (s *Server) processesPage(w http.ResponseWriter, r *http.Request) error {
	v, err := s.processes(r)
	if err != nil {
		return err
	}
	return s.show(w, r, processesView(s.chrome(r, "Processes"), v))
}

func (s *Server) processesLive(w http.ResponseWriter, r *http.Request) error {
	v, err := s.processes(r)
	if err != nil {
		return err
	}
	return s.show(w, r, processesLive(v))
}

func (s *Server) processes(r *http.Request) (processesPage, error) {
	found, err := s.listProcesses(r.Context(), nil)
	if err != nil {
		return processesPage{}, err
	}
	return processesPage{Items: found.Body.Items, Waiting: found.Body.Waiting}, nil
}

// alertSeen notes that the visitor has seen an alert.
func (s *Server) alertSeen(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := s.store.SeeAlert(r.Context(), id); err != nil {
		return err
	}
	return seeOther(w, r, "/accounts")
}

// mayWork says whether the visitor may do more than look.
func (s *Server) mayWork(r *http.Request) bool { return may(s.role(r), store.RoleAgent) }

package web

import (
	"encoding/json"
	"net/http"
)

// alive says that the process answers at all.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readiness is what /readyz says.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

// ready says whether this process can do its work, and if not, why.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	reasons := s.o.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(readiness{Ready: len(reasons) == 0, Reasons: reasons})
}

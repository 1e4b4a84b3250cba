package web

import (
	"context"
	"time"

	"frontdesk/store"
)

// Process is one frontdesk process among those that share the database.
type Process struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind" enum:"whatsapp,sandbox"`
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Live      bool      `json:"live" doc:"False: it has been silent for longer than a lease lasts"`
	Accounts  int       `json:"accounts" doc:"Accounts that it holds"`
	Limit     int       `json:"limit" doc:"Accounts that it may hold at most"`
}

type processList struct {
	Body struct {
		Items   []Process `json:"items"`
		Waiting int       `json:"waiting" doc:"Accounts that no process holds at the moment"`
	}
}

func (s *Server) listProcesses(ctx context.Context, _ *struct{}) (*processList, error) {
	found, err := s.store.Processes(ctx, s.o.Lease)
	if err != nil {
		return nil, err
	}
	out := &processList{}
	out.Body.Items = make([]Process, len(found))
	for i, p := range found {
		out.Body.Items[i] = Process{
			ID: p.ID, Kind: p.Kind, Host: p.Host, Version: p.Version, StartedAt: p.StartedAt, SeenAt: p.SeenAt,
			Live: p.Live, Accounts: p.Accounts, Limit: p.Cap,
		}
	}
	out.Body.Waiting, err = s.store.WaitingForPlace(ctx, store.KindWhatsApp)
	return out, err
}

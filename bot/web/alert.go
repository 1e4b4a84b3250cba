package web

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"frontdesk/store"
)

// Alert is something that somebody must look at.
type Alert struct {
	ID         int64      `json:"id"`
	AccountID  int64      `json:"account_id,omitempty" doc:"Missing: it is about the whole installation"`
	Kind       string     `json:"kind"`
	Says       string     `json:"says"`
	Times      int        `json:"times"`
	At         time.Time  `json:"at"`
	SeenAt     *time.Time `json:"seen_at,omitempty"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty"`
}

// place is the page on which somebody can do something about it, or "".
func (a Alert) place(admin bool) string {
	for _, kind := range []string{"subscription_disabled_", "subscription_overflow_"} {
		if id, is := strings.CutPrefix(a.Kind, kind); is && admin {
			return "/deliveries/" + id
		}
	}
	if a.AccountID != 0 {
		return fmt.Sprint("/accounts/", a.AccountID)
	}
	return ""
}

type alertsRequest struct {
	Page

	All bool `query:"all" doc:"Those that are over as well"`
}

func (s *Server) listAlerts(ctx context.Context, in *alertsRequest) (*list[Alert], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.Alerts(ctx, in.All, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]Alert, len(found))
	for i, a := range found {
		items[i] = Alert{ID: a.ID, Kind: a.Kind, Says: a.Says, Times: a.Times, At: a.At, SeenAt: a.SeenAt, ResolvedAt: a.ResolvedAt}
		if a.AccountID != nil {
			items[i].AccountID = *a.AccountID
		}
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

func (s *Server) seeAlert(ctx context.Context, in *ByID) (*struct{}, error) {
	return nil, s.store.SeeAlert(ctx, in.ID)
}

// StatusEvent is one status that an account has had.
type StatusEvent struct {
	ID     int64     `json:"id"`
	Status string    `json:"status"`
	Cause  string    `json:"cause,omitempty"`
	At     time.Time `json:"at"`
}

type historyRequest struct {
	ByID
	Page
}

func (s *Server) statusHistory(ctx context.Context, in *historyRequest) (*list[StatusEvent], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Account(ctx, in.ID); err != nil {
		return nil, err
	}
	found, err := s.store.StatusHistory(ctx, in.ID, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]StatusEvent, len(found))
	for i, e := range found {
		items[i] = StatusEvent{ID: e.ID, Status: string(e.Status), Cause: e.Cause, At: e.At}
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

// AuditEntry is something that somebody did.
type AuditEntry struct {
	ID      int64          `json:"id"`
	At      time.Time      `json:"at"`
	By      string         `json:"by"`
	Action  string         `json:"action"`
	Subject string         `json:"subject"`
	Detail  map[string]any `json:"detail"`
}

type auditRequest struct {
	Page

	Subject string `query:"subject" doc:"Such as account:17; empty: all"`
}

func (s *Server) listAudit(ctx context.Context, in *auditRequest) (*list[AuditEntry], error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	found, err := s.store.AuditLog(ctx, in.Subject, store.Page{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	items := make([]AuditEntry, len(found))
	for i, e := range found {
		items[i] = AuditEntry(e)
	}
	return listOf(items, nextPage(len(items), in.Limit, func() string { return strconv.FormatInt(items[len(items)-1].ID, 10) })), nil
}

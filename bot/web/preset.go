package web

import (
	"context"

	"frontdesk/providers"
)

// Presets are well-known services to begin a provider with.
type Presets struct {
	AsOf  string             `json:"as_of" doc:"The month that prices and windows are from; check them"`
	Items []providers.Preset `json:"items"`
}

func (s *Server) listPresets(context.Context, *struct{}) (*one[Presets], error) {
	all, asOf := providers.Presets()
	return &one[Presets]{Presets{asOf, all}}, nil
}

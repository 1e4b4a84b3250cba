package providers

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"frontdesk/store"
)

//go:embed presets.json
var presetsFile []byte

// Preset is a well-known service that speaks like OpenAI's, to begin a provider with.
// All of it may be changed afterwards.
type Preset struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	BaseURL string        `json:"base_url"`
	Keys    string        `json:"keys,omitempty"`  // page where keys are made
	Local   bool          `json:"local,omitempty"` // it runs on this machine, without a key
	Models  []PresetModel `json:"models"`          // none: the service says which it has
}

// PresetModel is one model of a preset. Prices are in micros for a million tokens;
// nil: unknown.
type PresetModel struct {
	Model           string   `json:"model"`
	Capabilities    []string `json:"capabilities"`
	ContextTokens   int      `json:"context_tokens"`
	MaxOutputTokens int      `json:"max_output_tokens,omitempty"`
	ParamStyle      string   `json:"param_style,omitempty"`
	InputPrice      *int64   `json:"input_price,omitempty"`
	OutputPrice     *int64   `json:"output_price,omitempty"`
}

// presetFile is the whole of presets.json.
type presetFile struct {
	AsOf     string   `json:"as_of"`
	Services []Preset `json:"services"`
}

// presets are read once.
var presets = sync.OnceValue(func() (read presetFile) {
	if err := json.Unmarshal(presetsFile, &read); err != nil {
		panic(err) // our own file
	}
	return read
})

// Presets are all presets, and the month their prices and windows are from.
func Presets() (all []Preset, asOf string) { return presets().Services, presets().AsOf }

// Provider is a preset's model as a provider to be filled in: its key is missing.
// An unknown model takes the usual values.
func (p Preset) Provider(model string) store.Provider {
	out := store.Provider{Name: p.Name, BaseURL: p.BaseURL, Model: model, Active: true, Capabilities: []string{store.CanStream}}
	for _, m := range p.Models {
		if m.Model == model {
			out.Name += " " + model
			out.Capabilities, out.ContextTokens, out.MaxOutputTokens, out.ParamStyle = m.Capabilities, m.ContextTokens, m.MaxOutputTokens, m.ParamStyle
			out.InputPrice, out.OutputPrice = m.InputPrice, m.OutputPrice
		}
	}
	return out
}

// Local is a service found on this machine.
type Local struct {
	Preset

	Has []string // its models
}

// How a local service is looked for.
const (
	localWithin = time.Second
	longestList = 1 << 20 // bytes of its list of models
)

// FindLocal asks the local presets whether they run here. It connects to this
// machine only.
func FindLocal(ctx context.Context, among []Preset) []Local {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	transport := newTransport(only(loopback))
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirected }}
	found := make([]Local, len(among))
	var asking sync.WaitGroup
	for i, p := range among {
		if p.Local {
			asking.Go(func() { found[i] = Local{p, modelsOf(ctx, client, p.BaseURL)} })
		}
	}
	asking.Wait()
	var here []Local
	for _, l := range found {
		if len(l.Has) > 0 {
			here = append(here, l)
		}
	}
	return here
}

// modelsOf are the models that a service lists; none: it is not there.
func modelsOf(ctx context.Context, client *http.Client, address string) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, localWithin)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(address, "/")+"/models", nil)
	if err != nil {
		return nil
	}
	resp, err := client.Do(q)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, longestList)).Decode(&list) != nil {
		return nil
	}
	for _, m := range list.Data {
		if m.ID != "" {
			names = append(names, m.ID)
		}
	}
	return names
}

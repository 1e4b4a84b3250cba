package providers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestLocalServicesAreFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	serve := func(body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/models" {
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return s.URL + "/v1"
	}
	found := FindLocal(t.Context(), []Preset{
		{Name: "here", BaseURL: serve(`{"data":[{"id":"llama"},{"id":"qwen"}]}`), Local: true},
		{Name: "empty", BaseURL: serve(`{"data":[]}`), Local: true},
		{Name: "another", BaseURL: serve(`<html>`), Local: true},
		{Name: "away", BaseURL: "http://127.0.0.1:1/v1", Local: true},
		{Name: "elsewhere", BaseURL: "http://192.0.2.1/v1", Local: true},
		{Name: "remote", BaseURL: serve(`{"data":[{"id":"never asked"}]}`)},
	})
	if len(found) != 1 || found[0].Name != "here" || !slices.Equal(found[0].Has, []string{"llama", "qwen"}) {
		t.Errorf("found %+v", found)
	}
}

func TestPresetsAreWhole(t *testing.T) {
	t.Parallel()
	all, asOf := Presets()
	if len(all) < 10 || asOf == "" {
		t.Fatalf("%d presets as of %q", len(all), asOf)
	}
	for _, p := range all {
		if p.ID == "" || p.Name == "" || p.BaseURL == "" || p.Local == (p.Keys != "") || p.Local == (len(p.Models) > 0) {
			t.Errorf("preset %+v", p)
		}
		for _, m := range p.Models {
			if got := p.Provider(m.Model); got.Model != m.Model || got.ContextTokens == 0 || len(got.Capabilities) == 0 || got.Name == p.Name {
				t.Errorf("%s %s makes %+v", p.Name, m.Model, got)
			}
		}
	}
}

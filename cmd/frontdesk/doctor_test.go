package main

import (
	"net/netip"
	"strings"
	"testing"

	"frontdesk/providers"
	"frontdesk/store"
)

func TestDoctorSaysHowALocalServiceBecomesAProvider(t *testing.T) {
	t.Parallel()
	here := providers.Local{Preset: providers.Preset{Name: "Ollama", BaseURL: "http://127.0.0.1:11434/v1"}, Has: []string{"llama3.2", "qwen3"}}
	advice := addLocal(here, nil, nil)
	for _, part := range []string{"Ollama runs here with llama3.2, qwen3", `frontdesk providers add "Ollama" http://127.0.0.1:11434/v1 "llama3.2"`, "FRONTDESK_ALLOW_PRIVATE=127.0.0.0/8"} {
		if !strings.Contains(advice, part) {
			t.Errorf("%q does not say %q", advice, part)
		}
	}
	if advice := addLocal(here, nil, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}); strings.Contains(advice, "ALLOW_PRIVATE") {
		t.Errorf("%q asks for what is allowed", advice)
	}
	if advice := addLocal(here, []store.Provider{{BaseURL: here.BaseURL}}, nil); advice != "" {
		t.Errorf("a provider that is there: %q", advice)
	}
}

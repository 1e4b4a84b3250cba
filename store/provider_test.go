package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"frontdesk/store"
)

func TestAddProviderFillsWhatIsLeftOut(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{BaseURL: " https://api.example.com/v1/ "})
	if p.BaseURL != "https://api.example.com/v1" || p.Weight != 1 || p.TimeoutMs != 60_000 || p.ResetTZ != "UTC" ||
		!p.Can(store.CanStream) || p.ParamStyle != store.ParamsClassic || !p.Active {
		t.Errorf("added %+v", p)
	}
	again, err := s.Provider(t.Context(), p.ID)
	if err != nil || again.Name != p.Name || again.DisabledFor != 0 {
		t.Errorf("read again: %+v, %v", again, err)
	}
}

func TestProviderRefusalsAreSentences(t *testing.T) {
	s, _ := open(t)
	good := store.Provider{Name: "good", BaseURL: "https://api.example.com/v1", Model: "m"}
	for name, c := range map[string]struct {
		change func(*store.Provider)
		field  string
	}{
		"no name":                    {func(p *store.Provider) { p.Name = " " }, "name"},
		"no model":                   {func(p *store.Provider) { p.Model = "" }, "model"},
		"no address":                 {func(p *store.Provider) { p.BaseURL = "" }, "base_url"},
		"http in public":             {func(p *store.Provider) { p.BaseURL = "http://api.example.com/v1" }, "base_url"},
		"password in address":        {func(p *store.Provider) { p.BaseURL = "https://a:b@api.example.com/v1" }, "base_url"},
		"cost limit without a price": {func(p *store.Provider) { p.CostLimit = new(int64(1)) }, "cost_limit"},
		"negative limit":             {func(p *store.Provider) { p.TokenLimit = new(int64(-1)) }, "token_limit"},
		"unknown zone":               {func(p *store.Provider) { p.ResetTZ = "Mars/Olympus" }, "reset_tz"},
		"unknown style":              {func(p *store.Provider) { p.ParamStyle = "baroque" }, "param_style"},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			c.change(&p)
			_, err := s.AddProvider(t.Context(), p)
			invalid, ok := errors.AsType[*store.InvalidError](err)
			if !ok || invalid.Field != c.field || strings.Contains(invalid.Problem, "SQLSTATE") {
				t.Errorf("added with %v, want a sentence about %s", err, c.field)
			}
		})
	}
	for _, address := range []string{"http://127.0.0.1:11434/v1", "http://10.1.2.3/v1", "http://ollama:11434/v1", "http://gpu.lan/v1"} {
		p := good
		p.Name, p.BaseURL = address, address
		if _, err := s.AddProvider(t.Context(), p); err != nil {
			t.Errorf("add %s: %v", address, err)
		}
	}
}

func TestProviderNameIsTakenOnce(t *testing.T) {
	s, _ := open(t)
	first := addProvider(t, s, store.Provider{Name: "first"})
	second := addProvider(t, s, store.Provider{Name: "second"})
	if _, err := s.AddProvider(t.Context(), first); !errors.Is(err, store.ErrNameTaken) {
		t.Errorf("add again: %v, want ErrNameTaken", err)
	}
	if _, err := s.UpdateProvider(t.Context(), second.ID, func(p *store.Provider) { p.Name = "first" }); !errors.Is(err, store.ErrNameTaken) {
		t.Errorf("rename: %v, want ErrNameTaken", err)
	}
}

func TestActiveProvidersKeepOrderLimitAndCount(t *testing.T) {
	s, _ := open(t)
	for i := range 6 {
		addProvider(t, s, store.Provider{Name: fmt.Sprint("p", i), Priority: i / 2})
	}
	off := addProvider(t, s, store.Provider{Name: "off", Priority: 9})
	_, err := s.UpdateProvider(t.Context(), off.ID, func(p *store.Provider) { p.Active = false })
	must(t, err)
	active, total, err := s.ActiveProviders(t.Context(), 4)
	if err != nil || total != 6 {
		t.Fatalf("total %d, %v; want 6", total, err)
	}
	var names []string
	for _, p := range active {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "p4 p5 p2 p3" {
		t.Errorf("active %s, want p4 p5 p2 p3", got)
	}
}

func TestPausedProviderIsAnAlertUntilItIsBetter(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	p := addProvider(t, s, store.Provider{})
	open := func() (says []string) {
		t.Helper()
		alerts, err := s.Alerts(ctx, false, store.Page{Limit: 10})
		must(t, err)
		for _, a := range alerts {
			says = append(says, a.Says)
		}
		return says
	}
	for name, better := range map[string]func() error{
		"it answers":       func() error { return s.EnableProvider(ctx, p.ID) },
		"it has a new key": func() error { return s.SetProviderKey(ctx, p.ID, "sk-new") },
		"it has another model": func() error {
			_, err := s.UpdateProvider(ctx, p.ID, func(p *store.Provider) { p.Model += "x" })
			return err
		},
		"it is gone": func() error {
			gone := addProvider(t, s, store.Provider{Name: "gone"})
			must(t, s.EnableProvider(ctx, p.ID))
			must(t, s.DisableProvider(ctx, gone.ID, time.Hour, time.Hour, "no credit; add some"))
			return s.DeleteProvider(ctx, gone.ID)
		},
	} {
		for range 2 {
			must(t, s.DisableProvider(ctx, p.ID, time.Hour, time.Hour, "no credit; add some"))
		}
		if says := open(); len(says) != 1 || says[0] != "no credit; add some" {
			t.Errorf("before %s the alerts are %q", name, says)
		}
		must(t, better())
		if says := open(); len(says) != 0 {
			t.Errorf("after %s the alerts are %q", name, says)
		}
	}
	must(t, s.DisableProvider(ctx, p.ID, time.Hour, time.Hour, "no credit; add some"))
	_, err := s.UpdateProvider(ctx, p.ID, func(p *store.Provider) { p.Name = "renamed" })
	must(t, err)
	if len(open()) != 1 {
		t.Error("a new name ended the alert")
	}
}

func TestDemoIsActiveOnlyWhileAlone(t *testing.T) {
	s, _ := open(t)
	for range 2 {
		must(t, s.EnsureDemoProvider(t.Context(), "http://127.0.0.1:4100/v1"))
	}
	if active, total, err := s.ActiveProviders(t.Context(), 50); err != nil || total != 1 || !active[0].Demo {
		t.Fatalf("alone: %+v, %d, %v; want the demo", active, total, err)
	}
	p := addProvider(t, s, store.Provider{})
	if active, total, err := s.ActiveProviders(t.Context(), 50); err != nil || total != 1 || active[0].ID != p.ID {
		t.Errorf("beside a real one: %+v, %d, %v; want the real one", active, total, err)
	}
	must(t, s.DeleteProvider(t.Context(), p.ID))
	if _, total, err := s.ActiveProviders(t.Context(), 50); err != nil || total != 1 {
		t.Errorf("alone again: %d, %v; want the demo", total, err)
	}
	must(t, s.RemoveDemoProvider(t.Context()))
	if _, total, err := s.ActiveProviders(t.Context(), 50); err != nil || total != 0 {
		t.Errorf("after its removal: %d, %v", total, err)
	}
}

func TestProviderKeyIsSealedForItsRow(t *testing.T) {
	const key = "sk-very-secret-key-1234"
	s, _ := open(t)
	p, other := addProvider(t, s, store.Provider{}), addProvider(t, s, store.Provider{Name: "other"})
	must(t, s.SetProviderKey(t.Context(), p.ID, " "+key+"\n"))
	p, err := s.Provider(t.Context(), p.ID)
	must(t, err)
	if opened, err := s.ProviderKey(p); err != nil || opened != key || p.KeyHint != "1234" {
		t.Errorf("opened %q, %v, hint %q", opened, err, p.KeyHint)
	}
	text, err := json.Marshal(p)
	if err != nil || strings.Contains(string(text), "APIKey") || strings.Contains(string(p.APIKey), key) {
		t.Errorf("the key shows in %s", text)
	}
	p.ID = other.ID
	if _, err := s.ProviderKey(p); !errors.Is(err, store.ErrSealed) {
		t.Errorf("opened in another row: %v, want ErrSealed", err)
	}
	must(t, s.SetProviderKey(t.Context(), other.ID, ""))
}

func TestRotateKeysKeepsThemReadable(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	must(t, s.SetProviderKey(t.Context(), p.ID, "sk-very-secret-key-1234"))
	before, err := s.Provider(t.Context(), p.ID)
	must(t, err)
	if n, err := s.RotateKeys(t.Context()); err != nil || n != 1 {
		t.Fatalf("rotated %d, %v; want 1", n, err)
	}
	after, err := s.Provider(t.Context(), p.ID)
	must(t, err)
	if key, err := s.ProviderKey(after); err != nil || key != "sk-very-secret-key-1234" || string(after.APIKey) == string(before.APIKey) {
		t.Errorf("after rotation %q, %v, resealed %v", key, err, string(after.APIKey) != string(before.APIKey))
	}
}

func TestPauseDoublesAndANewKeyEndsIt(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	for i, want := range []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour} {
		for range 2 { // a pause that lasts is not prolonged
			must(t, s.DisableProvider(t.Context(), p.ID, time.Hour, 3*time.Hour, "no credit"))
		}
		got, err := s.Provider(t.Context(), p.ID)
		must(t, err)
		if got.DisabledFor > want || got.DisabledFor < want-time.Minute || !got.Active {
			t.Errorf("pause %d lasts %v, active %v; want %v and still active", i, got.DisabledFor, got.Active, want)
		}
		must(t, s.Skew(t.Context(), time.Duration(i+1)*4*time.Hour))
	}
	must(t, s.DisableProvider(t.Context(), p.ID, time.Hour, 3*time.Hour, "no credit"))
	must(t, s.SetProviderKey(t.Context(), p.ID, "sk-another-key-5678"))
	got, err := s.Provider(t.Context(), p.ID)
	if err != nil || got.AutoDisabledUntil != nil || got.AutoDisabledTimes != 0 || got.AutoDisabledReason != "" {
		t.Errorf("after a new key: %+v, %v", got, err)
	}
}

func TestNewAddressEndsPauseAndRenamingDoesNot(t *testing.T) {
	s, _ := open(t)
	p := addProvider(t, s, store.Provider{})
	must(t, s.DisableProvider(t.Context(), p.ID, time.Hour, time.Hour, "no such model"))
	got, err := s.UpdateProvider(t.Context(), p.ID, func(p *store.Provider) { p.Name = "renamed" })
	if err != nil || got.DisabledFor == 0 {
		t.Errorf("renamed: paused for %v, %v; want still paused", got.DisabledFor, err)
	}
	got, err = s.UpdateProvider(t.Context(), p.ID, func(p *store.Provider) { p.Model = "another" })
	if err != nil || got.DisabledFor != 0 || got.Model != "another" {
		t.Errorf("new model: %+v, %v; want no pause", got, err)
	}
	if _, err := s.UpdateProvider(t.Context(), 99999, func(*store.Provider) {}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("update of none: %v, want ErrNotFound", err)
	}
}

func addProvider(t *testing.T, s *store.Store, p store.Provider) store.Provider {
	t.Helper()
	if p.Name == "" {
		p.Name = "one"
	}
	if p.BaseURL == "" {
		p.BaseURL = "https://api.example.com/v1"
	}
	p.Model, p.Active = "model", true
	added, err := s.AddProvider(t.Context(), p)
	if err != nil {
		t.Fatalf("add provider: %v", err)
	}
	return added
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

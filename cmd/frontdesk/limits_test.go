package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// L31: everything that is bounded stands in deploy/LIMITS.md, with a gauge that is there
// and, where it is a setting, its name.
func TestEveryCapIsWrittenDownAndHasAGauge(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("../../deploy/LIMITS.md")
	must(t, err)
	r := newRig(t, nil)
	r.start()
	var metrics string
	if status := r.api("GET", "/metrics", nil, &metrics); status != 200 {
		t.Fatalf("/metrics answered %d", status)
	}
	var written []string
	row := regexp.MustCompile("(?m)^\\| .+ \\| .+ \\| (?:`([A-Z_]+)`)? ?\\| `([a-z_]+)` \\| .+ \\|$")
	rows := row.FindAllStringSubmatch(string(table), -1)
	if lines := strings.Count(string(table), "\n| ") - 2; len(rows) != lines {
		t.Errorf("%d of %d rows have a gauge", len(rows), lines)
	}
	for _, m := range rows {
		if m[1] != "" {
			written = append(written, m[1])
		}
		if gauge := "\nfrontdesk_" + m[2]; !strings.Contains(metrics, gauge+" ") && !strings.Contains(metrics, gauge+"{") {
			if m[2] != "accounts" && m[2] != "breaker_state" { // one for each account and provider
				t.Errorf("there is no gauge %s", m[2])
			}
		}
	}
	settings := reflect.TypeFor[Limits]()
	for i := range settings.NumField() {
		name := settings.Field(i).Tag.Get("env")
		isTime := settings.Field(i).Type == reflect.TypeFor[time.Duration]()
		if !isTime && !slices.Contains(written, name) {
			t.Errorf("the cap %s is not written down", name)
		}
	}
	for _, name := range written {
		found := false
		for i := range settings.NumField() {
			found = found || settings.Field(i).Tag.Get("env") == name
		}
		if !found {
			t.Errorf("there is no setting %s", name)
		}
	}
}

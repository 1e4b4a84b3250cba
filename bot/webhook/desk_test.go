package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// desk does what the store does with deliveries: one execution for each key, and a
// refusal for a key that comes again with something else.
type desk struct {
	mu       sync.Mutex
	targets  map[string]Target      // guarded by mu
	accepted []Delivery             // guarded by mu
	files    [][]byte               // of all deliveries; guarded by mu
	byKey    map[string]int64       // guarded by mu
	ends     map[int64]chan Receipt // guarded by mu
	refusal  error                  // of every delivery; guarded by mu
	away     error                  // of every look-up; guarded by mu
	forget   bool                   // keeps only counts
	result   *Receipt               // of every execution, at once; guarded by mu
	entered  chan struct{}          // hears of every Accept, unless nil
	leave    chan struct{}          // Accept waits for it, unless nil
}

func newDesk(targets ...Target) *desk {
	d := &desk{targets: map[string]Target{}, byKey: map[string]int64{}, ends: map[int64]chan Receipt{}}
	for _, t := range targets {
		d.targets[t.ID] = t
	}
	return d
}

func (d *desk) Target(_ context.Context, id string) (Target, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, found := d.targets[id]
	if !found {
		return t, errors.Join(ErrUnknown, d.away)
	}
	return t, d.away
}

func (d *desk) Accept(ctx context.Context, v Delivery) (Receipt, error) {
	if d.entered != nil {
		d.entered <- struct{}{}
		<-d.leave
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	for _, f := range v.Files {
		if err := d.keep(f); err != nil {
			return Receipt{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refusal != nil {
		return Receipt{}, d.refusal
	}
	key := v.Webhook + " " + v.Key
	if first := d.byKey[key]; v.Key != "" && first != 0 {
		if !bytes.Equal(d.accepted[first-1].Hash, v.Hash) {
			return Receipt{}, &Refusal{Status: http.StatusUnprocessableEntity, Code: "delivery_reused", Detail: "This delivery came before with another body"}
		}
		r := d.receipt(first, v.Test)
		r.Replayed = true
		return r, nil
	}
	d.accepted = append(d.accepted, v)
	id := int64(len(d.accepted))
	d.byKey[key], d.ends[id] = id, make(chan Receipt, 1)
	return d.receipt(id, v.Test), nil
}

func (d *desk) keep(f File) error {
	if d.forget {
		_, err := io.Copy(io.Discard, f.Open())
		return err
	}
	content, err := io.ReadAll(f.Open())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, content)
	return err
}

func (d *desk) receipt(id int64, test string) Receipt {
	if d.result != nil {
		r := *d.result
		r.Execution, r.Test = id, test != ""
		return r
	}
	return Receipt{Execution: id, Status: "queued", Position: 1, Test: test != ""}
}

func (d *desk) Await(ctx context.Context, id int64) (Receipt, error) {
	d.mu.Lock()
	end := d.ends[id]
	d.mu.Unlock()
	select {
	case r := <-end:
		return r, nil
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

func (d *desk) end(id int64, r Receipt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Execution, r.Ended = id, true
	d.ends[id] <- r
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.accepted)
}

// last is the delivery that came last.
func (d *desk) last() Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.accepted) == 0 {
		return Delivery{}
	}
	return d.accepted[len(d.accepted)-1]
}

// open is a webhook for all, and shop one for those who sign.
var open = Target{ID: "open"}

// booth is an intake with its desk.
type booth struct {
	*Intake

	t     testing.TB
	desk  *desk
	spool string
}

func newBooth(t testing.TB, o Options, targets ...Target) *booth {
	t.Helper()
	if len(targets) == 0 {
		targets = []Target{open}
	}
	d, folder := newDesk(targets...), filepath.Join(t.TempDir(), "spool")
	o.Desk, o.Spool = d, folder
	b := &booth{Intake: New(o), t: t, desk: d, spool: folder}
	noError(t, b.Start(context.Background()))
	return b
}

// heard is what a caller gets.
type heard struct {
	status int
	header http.Header
	body   string
}

func (h heard) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(h.body), &v); err != nil {
		t.Fatalf("%d answered no JSON: %v: %s", h.status, err, h.body)
	}
	return v
}

func (h heard) code() string {
	var p problem
	_ = json.Unmarshal([]byte(h.body), &p)
	return p.Code
}

// call makes a request without a socket. Headers are given as Name: value.
func (b *booth) call(method, path string, body io.Reader, headers ...string) heard {
	b.t.Helper()
	r := httptest.NewRequest(method, path, body)
	if length, known := body.(interface{ Len() int }); known {
		r.ContentLength = int64(length.Len())
	}
	setHeaders(r.Header, headers)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return heard{w.Code, w.Header(), w.Body.String()}
}

func (b *booth) post(path, body string, headers ...string) heard {
	b.t.Helper()
	return b.call(http.MethodPost, path, strings.NewReader(body), append([]string{"Content-Type: application/json"}, headers...)...)
}

func setHeaders(h http.Header, lines []string) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Type" {
			h.Set(name, value)
			continue
		}
		h.Add(name, value)
	}
}

// wantNothingLeft looks at the disk and at the gauges.
func (b *booth) wantNothingLeft() {
	b.t.Helper()
	left, err := os.ReadDir(b.spool)
	noError(b.t, err)
	s := b.Stats()
	if len(left) > 0 || s.SpoolBytes != 0 || s.Uploads != 0 || s.HeldBytes != 0 {
		b.t.Errorf("left behind: %d spool files, %d bytes, %d uploads, %d bytes in memory; want nothing", len(left), s.SpoolBytes, s.Uploads, s.HeldBytes)
	}
}

// wantProblem checks an answer that tells of a problem.
func (h heard) wantProblem(t testing.TB, status int, code string) {
	t.Helper()
	p := h.json(t)
	if h.status != status || p["code"] != code || p["detail"] == "" || p["error"] != p["detail"] || p["request_id"] == "" || h.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %s, want %d %s", h.status, h.body, status, code)
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait is for what has to come soon.
func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("waited for nothing")
		panic("unreachable")
	}
}

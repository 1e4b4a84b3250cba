package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"frontdesk/bot/wasim"
)

// binary is the built frontdesk; set by TestMain before any test runs.
var binary string

func TestMain(m *testing.M) { os.Exit(built(m)) }

func built(m *testing.M) int {
	dir, err := os.MkdirTemp("", "frontdesk")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "frontdesk")
		var said []byte
		if said, err = exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, said)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build frontdesk:", err)
		return 1
	}
	return m.Run()
}

// torture says that the long runs are wanted (make torture).
func torture() bool { return os.Getenv("FRONTDESK_TORTURE") != "" }

// rig is a frontdesk process with everything around it: a loopback WhatsApp, an
// AI endpoint and a folder of its own.
type rig struct {
	t   testing.TB
	dir string
	env []string
	wa  *wasim.Server
	ai  *endpoint

	child    *exec.Cmd
	log      *logFile
	address  string
	greeting string // the sign-in link of the last start
	token    string
}

// newRig makes all but the process. delivered, if not nil, hears of every message
// that reaches an account's socket.
func newRig(t testing.TB, delivered func(account, id string)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "frontdesk") //nolint:usetesting // short enough for a socket, and open to Postgres' own user
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	r := &rig{t: t, dir: dir, ai: newEndpoint(t), log: &logFile{}}
	r.wa, err = wasim.New(wasim.Options{OnDeliver: delivered})
	must(t, err)
	must(t, r.wa.Start(context.Background()))
	t.Cleanup(func() {
		r.kill()
		must(t, r.wa.Close(context.Background()))
		if t.Failed() {
			t.Logf("log of frontdesk:\n%s", r.log.tail(6000))
		}
		os.RemoveAll(dir)
	})
	key := r.wa.CertKey()
	r.env = append(os.Environ(), "DATABASE_URL=", "FRONTDESK_LISTEN=127.0.0.1:0", "FRONTDESK_DATA_DIR="+dir,
		"FRONTDESK_WHATSAPP_URL="+r.wa.URL(), "FRONTDESK_WHATSAPP_CERT_KEY="+hex.EncodeToString(key[:]), "FRONTDESK_ALLOW_PRIVATE=127.0.0.0/8")
	return r
}

// start runs frontdesk until it says where it is.
func (r *rig) start() {
	r.t.Helper()
	r.child = exec.Command(binary)
	r.child.Env, r.child.Stderr = r.env, r.log
	output, err := r.child.StdoutPipe()
	must(r.t, err)
	must(r.t, r.child.Start())
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "running at "); found {
			r.address = strings.TrimSpace(address)
		}
		if _, link, found := strings.Cut(lines.Text(), "within the hour: "); found {
			r.greeting = strings.TrimSpace(link)
			go func() { _, _ = io.Copy(io.Discard, output) }()
			return
		}
	}
	r.t.Fatalf("frontdesk did not start: %s", r.log.tail(3000))
}

// stop asks frontdesk to end and returns its exit code and how long it took.
func (r *rig) stop() (code int, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	must(r.t, r.child.Process.Signal(syscall.SIGTERM))
	err := r.child.Wait()
	r.child = nil
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return exit.ExitCode(), time.Since(began)
	}
	must(r.t, err)
	return 0, time.Since(began)
}

// kill ends frontdesk as a power cut would.
func (r *rig) kill() {
	if r.child != nil {
		_ = r.child.Process.Kill()
		_ = r.child.Wait()
		r.child = nil
	}
}

// command runs another command of the binary on the same data.
func (r *rig) command(args ...string) string {
	r.t.Helper()
	c := exec.Command(binary, args...)
	c.Env = r.env
	said, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("frontdesk %s: %v: %s", strings.Join(args, " "), err, said)
	}
	return strings.TrimSpace(string(said))
}

// api calls the API and decodes the answer into found, unless that is nil.
func (r *rig) api(method, path string, body, found any) int {
	r.t.Helper()
	if r.token == "" {
		r.token = r.command("tokens", "create", "--name", "test")
	}
	text, err := json.Marshal(body)
	must(r.t, err)
	q, err := http.NewRequestWithContext(context.Background(), method, r.address+path, bytes.NewReader(text))
	must(r.t, err)
	q.Header.Set("Authorization", "Bearer "+r.token)
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json")
	answer, err := http.DefaultClient.Do(q)
	must(r.t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(r.t, err)
	if text, wanted := found.(*string); wanted {
		*text = strings.TrimSpace(string(said))
	} else if found != nil {
		if err := json.Unmarshal(said, found); err != nil {
			r.t.Fatalf("%s %s answered %d: %s", method, path, answer.StatusCode, said)
		}
	}
	return answer.StatusCode
}

// item is what tests read of the API's answers.
type item struct {
	ID     int64  `json:"id"`
	Status any    `json:"status"` // a word of an account, a number of a problem
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// pair adds an account by the API and has the phone scan its code.
func (r *rig) pair(phone string) int64 {
	r.t.Helper()
	var a item
	if status := r.api(http.MethodPost, "/api/v1/accounts", map[string]string{"name": "Desk " + phone}, &a); status != http.StatusCreated {
		r.t.Fatalf("adding an account answered %d: %s", status, a.Detail)
	}
	must(r.t, r.scan(phone, a.ID))
	return a.ID
}

// scan scans the code of an account, as people do: one that has expired meanwhile is
// followed by the next.
func (r *rig) scan(phone string, account int64) (err error) {
	ctx := deadline(r.t, time.Minute)
	for range 3 {
		err = r.wa.Phone(phone).Scan(ctx, r.code(account))
		if err == nil || !strings.Contains(err.Error(), "expired") {
			break
		}
	}
	return err
}

func (r *rig) code(account int64) string {
	r.t.Helper()
	var code item
	eventually(r.t, time.Minute, "a code", func() bool {
		status := r.api(http.MethodGet, fmt.Sprintf("/api/v1/accounts/%d/qr", account), nil, &code)
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			r.t.Fatalf("no code: %d %s", status, code.Detail)
		}
		return status == http.StatusOK
	})
	return code.Code
}

// quick gives an account no debounce and no pace, for runs with many messages.
func (r *rig) quick(account int64, wait time.Duration) {
	r.t.Helper()
	var said item
	if status := r.api(http.MethodPatch, fmt.Sprintf("/api/v1/accounts/%d", account), map[string]any{
		"debounce_ms": wait.Milliseconds(), "pace_account": 0, "pace_recipient": 0, "new_chats_per_day": 10_000,
		"answers_limit": 0, "disclosure": "",
	}, &said); status != http.StatusOK {
		r.t.Fatalf("changing the account answered %d: %s", status, said.Detail)
	}
}

// provider adds an AI provider at e.
func (r *rig) provider(e *endpoint, name string, priority int) int64 {
	r.t.Helper()
	var p item
	status := r.api(http.MethodPost, "/api/v1/providers", map[string]any{"name": name, "base_url": e.url(), "model": name, "priority": priority, "key": "sk-test-0000"}, &p)
	if status != http.StatusCreated {
		r.t.Fatalf("adding a provider answered %d: %s", status, p.Detail)
	}
	eventually(r.t, time.Minute, "the provider to be loaded", func() bool {
		before := e.calls.Load()
		var word struct{ OK bool }
		r.api(http.MethodPost, fmt.Sprintf("/api/v1/providers/%d/test", p.ID), nil, &word)
		return word.OK && e.calls.Load() > before
	})
	return p.ID
}

// endpoint is an OpenAI-compatible service that answers with the numbers of the
// messages it was asked to answer: all of the customer's since the last answer.
type endpoint struct {
	t      testing.TB
	server *httptest.Server
	calls  atomic.Int64
	last   atomic.Int64 // when the last one began, in Unix nanoseconds
	took   atomic.Int64 // all of them together, in nanoseconds
	away   atomic.Bool  // it refuses everything
	slow   atomic.Int64
	prefix string
	halves func() // what happens between two halves of an answer; nil: it comes as one
}

func newEndpoint(t testing.TB) *endpoint {
	e := &endpoint{t: t, prefix: "re"}
	e.server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(func() { e.server.CloseClientConnections(); e.server.Close() })
	return e
}

func (e *endpoint) url() string { return e.server.URL + "/v1" }

// contentOf names pictures by the size of their address.
func contentOf(content any) string {
	parts, several := content.([]any)
	if !several {
		return fmt.Sprint(content)
	}
	var words []string
	for _, part := range parts {
		p, _ := part.(map[string]any)
		if picture, is := p["image_url"].(map[string]any); is {
			address, _ := picture["url"].(string)
			kind, _, _ := strings.Cut(address, ";")
			words = append(words, "seen "+kind)
		} else {
			words = append(words, fmt.Sprint(p["text"]))
		}
	}
	return strings.Join(words, " ")
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) {
	e.calls.Add(1)
	began := time.Now()
	e.last.Store(began.UnixNano())
	defer func() { e.took.Add(int64(time.Since(began))) }()
	if e.away.Load() {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	if strings.HasSuffix(r.URL.Path, "/audio/transcriptions") {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, `{"text":"seven tulips"}`)
		return
	}
	var q struct {
		Messages []struct {
			Role    string
			Content any // text, or parts
		} `json:"messages"`
		Stream bool `json:"stream"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	time.Sleep(time.Duration(e.slow.Load()))
	said := e.prefix
	for _, m := range q.Messages {
		if m.Role == "assistant" {
			said = e.prefix
		}
		if m.Role == "user" {
			said += " " + contentOf(m.Content)
		}
	}
	if !q.Stream {
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, said)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if e.halves != nil {
		half := len(said) / 2
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", said[:half])
		_ = http.NewResponseController(w).Flush()
		e.halves()
		said = said[half:]
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", said)
	fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

// logFile keeps what a process says.
type logFile struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logFile) tail(n int) string {
	text := l.String()
	return text[max(0, len(text)-n):]
}

// deadline is a context that ends with the test or after d.
func deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition that another process brings about.
func eventually(t testing.TB, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePort is a port that nothing listens on now.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package web_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"frontdesk/bot"
	"frontdesk/bot/web"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
	"frontdesk/store/pglocal/pgtest"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// house is a server over a real database, with tokens of every role.
type house struct {
	t      *testing.T
	store  *store.Store
	server *httptest.Server
	tokens map[store.Role]string
	gate   *gate
}

// gate lets people in with another role than their link's, if one is set.
type gate struct {
	*store.Store

	role store.Role
}

func (g *gate) UseSignInLink(ctx context.Context, secret string) (store.Role, error) {
	role, err := g.Store.UseSignInLink(ctx, secret)
	return cmp.Or(g.role, role), err
}

func newHouse(t *testing.T, changes ...func(*web.Options)) *house {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{DSN: pgtest.Database(t), Keyring: store.NewKeyring()})
	must(t, err)
	t.Cleanup(s.Close)
	must(t, s.Migrate(ctx, bot.Upgrade))
	g := &gate{Store: s}
	files, err := store.OpenFiles(t.TempDir())
	must(t, err)
	o := web.Options{
		Files: files,
		Store: g, AI: brain{}, Sandbox: phones{}, Stage: actor{}, AccountsPerProcess: 100, Metrics: prometheus.NewRegistry(), Version: "test", Lease: time.Minute,
	}
	for _, change := range changes {
		change(&o)
	}
	doors, err := web.New(o)
	must(t, err)
	h := &house{t: t, store: s, server: httptest.NewServer(doors.Handler()), tokens: map[store.Role]string{}, gate: g}
	t.Cleanup(func() {
		h.server.Close()
		must(t, doors.Close(context.Background()))
	})
	for _, role := range []store.Role{store.RoleViewer, store.RoleAgent, store.RoleAdmin, store.RoleOwner} {
		h.tokens[role], err = s.AddToken(ctx, string(role), role)
		must(t, err)
	}
	return h
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) problem(t *testing.T) web.Problem {
	t.Helper()
	var p web.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d is not a problem: %s", a.status, a.body)
	}
	return p
}

// call asks the API with a token; "" sends none.
func (h *house) call(token, method, path, body string, header ...string) answer {
	h.t.Helper()
	q, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, strings.NewReader(body))
	must(h.t, err)
	if token != "" {
		q.Header.Set("X-Api-Key", token)
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	return h.do(http.DefaultClient, q)
}

func (h *house) admin(method, path, body string, header ...string) answer {
	h.t.Helper()
	return h.call(h.tokens[store.RoleAdmin], method, path, body, header...)
}

func (h *house) do(c *http.Client, q *http.Request) answer {
	h.t.Helper()
	r, err := c.Do(q)
	must(h.t, err)
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	must(h.t, err)
	return answer{r.StatusCode, r.Header, string(bytes.TrimSpace(said))}
}

// browser keeps cookies and follows no redirect.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (h *house) visit(c *http.Client, method, path, form string) answer {
	h.t.Helper()
	q, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, strings.NewReader(form))
	must(h.t, err)
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return h.do(c, q)
}

// signedIn is a browser that has used a sign-in link.
func (h *house) signedIn() *http.Client {
	h.t.Helper()
	link, err := h.store.AddSignInLink(h.t.Context(), time.Hour)
	must(h.t, err)
	c := browser(h.t)
	if a := h.visit(c, http.MethodPost, "/sign-in", "link="+link); a.status != http.StatusSeeOther {
		h.t.Fatalf("signing in answered %d", a.status)
	}
	return c
}

// paired is an account that is linked to a phone.
func (h *house) paired(phone string) int64 {
	h.t.Helper()
	a, err := h.store.AddAccount(h.t.Context(), store.KindSandbox, "Front desk", 100)
	must(h.t, err)
	must(h.t, h.store.SetIdentity(h.t.Context(), a.ID, phone+":1@s.whatsapp.net", phone, ""))
	return a.ID
}

// brain is a registry without providers.
type brain struct{}

func (brain) Test(context.Context, int64) (providers.Answer, error) {
	return providers.Answer{}, &providers.Error{Skipped: []string{"it is away"}}
}
func (brain) Health() []providers.Health { return nil }
func (brain) Reload()                    {}

// actor says who it is told to be, and knows no provider but the first.
type actor struct{}

func (actor) Rehearse(_ context.Context, now store.Turn, provider int64) (conversation.Rehearsal, error) {
	if provider > 1 {
		return conversation.Rehearsal{}, fmt.Errorf("%w: it is away", conversation.ErrNoAnswer)
	}
	return conversation.Rehearsal{Bubbles: []string{"As " + now.Persona}, Provider: "stage"}, nil
}

func (actor) Brief(context.Context, int64) (store.Note, error) {
	return store.Note{ID: 1, Body: "Wants a table.", By: "frontdesk"}, nil
}

// phones are a sandbox in which one message was written.
type phones struct{}

func (phones) Scan(context.Context, string, string) error { return errors.New("this code has expired") }

func (phones) Send(context.Context, string, string, string) (string, error) { return "1", nil }

func (phones) Messages(context.Context, string, string, int, time.Duration) ([]web.SandboxMessage, bool, error) {
	return []web.SandboxMessage{{Seq: 1, Text: "<b>hello</b>", FromCustomer: true, Status: "read"}}, true, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Prefix is what every webhook's address begins with; its id is what follows.
const Prefix = "/webhook/"

// methods start executions (L25); HEAD and OPTIONS are answered and do nothing.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

const (
	mostID     = 100 // characters
	lookTime   = 10 * time.Second
	acceptTime = 30 * time.Second // a delivery is stored, whether its sender waits or not
	answerTime = 30 * time.Second // to write an answer
	stopping   = 2 * time.Second  // until another process may answer
	mostUnread = 64 << 10         // bytes of a refused body that are worth a connection
)

// Limits bound what comes in. What is left at zero has its usual value.
type Limits struct {
	Rate      int           // requests of an address in any minute (L23)
	File      int64         // bytes of a file (L20)
	Upload    int64         // bytes of the files of a request (L21)
	Text      int64         // bytes of JSON, of text, of all fields of a form
	Files     int           // of a request
	Parts     int           // of a form
	Uploads   int           // at once
	Spool     int64         // bytes of all uploads on the disk
	Memory    int64         // bytes of all bodies that are held, as they are parsed
	IdleRead  time.Duration // without a byte of the body
	TotalRead time.Duration // of a body
	Wait      time.Duration // for a result
	TestWait  time.Duration // for the result of a test (L24)
	Waiters   int           // callers that wait for a result at once; others are told where to look
}

func (l Limits) orUsual() Limits {
	return Limits{
		Rate: cmp.Or(l.Rate, 100), File: cmp.Or(l.File, 10<<20), Upload: cmp.Or(l.Upload, 50<<20), Text: cmp.Or(l.Text, 1<<20),
		Files: cmp.Or(l.Files, 10), Parts: cmp.Or(l.Parts, 100), Uploads: cmp.Or(l.Uploads, 16), Spool: cmp.Or(l.Spool, 2<<30),
		Memory: cmp.Or(l.Memory, 128<<20), IdleRead: cmp.Or(l.IdleRead, 30*time.Second), TotalRead: cmp.Or(l.TotalRead, 2*time.Minute),
		Wait: cmp.Or(l.Wait, 25*time.Second), TestWait: cmp.Or(l.TestWait, 10*time.Second), Waiters: cmp.Or(l.Waiters, 1000),
	}
}

// form is how long a multipart body may be: its files, its fields and what is around them.
func (l Limits) form() int64 { return l.Upload + l.Text + int64(l.Parts+2)*mostPartHeader }

// Options are what an intake needs to know.
type Options struct {
	Desk     Desk
	Log      *slog.Logger
	Spool    string                   // folder of uploads under way; "": one in the system's temporary folder
	Proxies  []netip.Prefix           // whose X-Forwarded-For is believed
	SignedIn func(*http.Request) bool // the caller may run tests with effects; nil: nobody may
	Limits   Limits
}

// Intake answers /webhook/{id} and everything under it. It has no goroutines of its own,
// and its methods may be called from any.
type Intake struct {
	desk      Desk
	log       *slog.Logger
	proxies   []netip.Prefix
	signedIn  func(*http.Request) bool
	limits    Limits
	addresses *limiter[netip.Addr]
	guesses   *limiter[netip.Addr] // the addresses' tests that were refused
	webhooks  *limiter[string]     // those with a quota of their own
	spool     *spool
	uploads   budget // places
	memory    budget
	waiters   budget // places
	results   tally
	crowded   sometimes // says that the limiter is full

	mu      sync.Mutex
	closing bool          // guarded by mu
	visits  int           // guarded by mu
	idle    chan struct{} // closed when the last visit ends after Close; guarded by mu

	waiting  context.Context //nolint:containedctx // the life of requests that wait for a result; Close ends it
	stopWait context.CancelFunc
}

// New makes an intake, which takes nothing before Start.
func New(o Options) *Intake {
	l := o.Limits.orUsual()
	i := &Intake{
		desk: o.Desk, log: o.Log, proxies: o.Proxies, signedIn: o.SignedIn, limits: l,
		addresses: newLimiter[netip.Addr](mostKeys), guesses: newLimiter[netip.Addr](mostKeys), webhooks: newLimiter[string](mostKeys),
		spool:   newSpool(cmp.Or(o.Spool, filepath.Join(os.TempDir(), "frontdesk-webhook")), l.Spool),
		uploads: budget{most: int64(l.Uploads)}, memory: budget{most: l.Memory}, waiters: budget{most: int64(l.Waiters)},
		idle: make(chan struct{}),
	}
	i.waiting, i.stopWait = context.WithCancel(context.Background())
	if i.log == nil {
		i.log = slog.New(slog.DiscardHandler)
	}
	if i.signedIn == nil {
		i.signedIn = func(*http.Request) bool { return false }
	}
	return i
}

// Start clears the spool of what a process that died has left there.
func (i *Intake) Start(context.Context) error { return i.spool.sweep() }

// Close answers new requests with 503, lets nobody wait for a result any more and returns
// when every request has its answer, or with an error when ctx ends before. A second
// call waits as well.
func (i *Intake) Close(ctx context.Context) error {
	i.mu.Lock()
	if !i.closing {
		i.closing = true
		i.stopWait()
		if i.visits == 0 {
			close(i.idle)
		}
	}
	i.mu.Unlock()
	select {
	case <-i.idle:
		return nil
	case <-ctx.Done():
		return errors.New("requests to webhooks were still under way")
	}
}

func (i *Intake) enter() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closing {
		i.visits++
	}
	return !i.closing
}

func (i *Intake) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.visits--; i.visits == 0 && i.closing {
		close(i.idle)
	}
}

// Stats are gauges of an intake.
type Stats struct {
	LimiterKeys int               // addresses, those of refused tests, and webhooks that are counted
	SpoolBytes  int64             // of uploads under way
	Uploads     int               // under way
	HeldBytes   int64             // of bodies in memory
	Requests    int               // under way
	Waiting     int               // of them, for a result
	Results     map[string]uint64 // answers by code: accepted, answered, replayed, ignored, and those of problems
}

// Stats says what the intake holds and what it has answered.
func (i *Intake) Stats() Stats {
	i.mu.Lock()
	visits := i.visits
	i.mu.Unlock()
	return Stats{
		LimiterKeys: i.addresses.keys() + i.guesses.keys() + i.webhooks.keys(), SpoolBytes: i.spool.bytes.used.Load(), Uploads: int(i.uploads.used.Load()),
		HeldBytes: i.memory.used.Load(), Requests: visits, Waiting: int(i.waiters.used.Load()), Results: i.results.all(),
	}
}

// ServeHTTP answers one request.
func (i *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{i: i, w: w, r: r, ctl: http.NewResponseController(w), request: rand.Text()[:10]}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Request-Id", v.request)
	result, err := v.answered(r.Context())
	if err != nil {
		p := v.problemOf(r.Context(), err)
		result = p.Code
		if r.ContentLength < 0 || r.ContentLength > mostUnread {
			w.Header().Set("Connection", "close") // else the server waits for the body before it answers
		}
		v.mayWrite()
		p.write(w, v.request)
	}
	i.results.count(result)
}

// answered does everything but tell of problems.
func (v *visit) answered(ctx context.Context) (result string, err error) {
	if !v.i.enter() {
		return "", later(http.StatusServiceUnavailable, stopping, "draining", "frontdesk is stopping; try again in a moment")
	}
	defer v.i.leave()
	return v.serve(ctx)
}

// visit is one request on its way through the checks.
type visit struct {
	i       *Intake
	w       http.ResponseWriter
	r       *http.Request
	ctl     *http.ResponseController
	request string // names it in problems and in the log

	id, path string
	test     string
	token    token // of the address; tests have none
	target   Target
}

// serve takes the checks in their order, and says in a word what came of it.
func (v *visit) serve(ctx context.Context) (result string, err error) {
	untested := v.testMode()
	if v.test != "" {
		return v.serveTest(ctx)
	}
	if err := cmp.Or(v.count(ctx), untested); err != nil {
		return "", err
	}
	return v.admit(ctx)
}

// serveTest serves a test, which is not limited (L24). Those that are refused are
// counted, or test mode would make guessing free.
func (v *visit) serveTest(ctx context.Context) (result string, err error) {
	client := clientOf(v.r, v.i.proxies)
	if q, ok := v.i.guesses.allows(client, v.i.limits.Rate); !ok {
		return "", v.guessed(ctx, q, false)
	}
	result, err = v.admit(ctx)
	if !callersFault(err) {
		return result, err
	}
	_, q, ok := v.i.guesses.take(client, v.i.limits.Rate)
	return "", cmp.Or(v.guessed(ctx, q, ok), err)
}

// admit takes the checks behind the limit.
func (v *visit) admit(ctx context.Context) (result string, err error) {
	if err := v.find(ctx); err != nil {
		return "", err
	}
	if done, err := v.checkMethod(); done || err != nil {
		return "ignored", err
	}
	receipt, err := v.take(ctx)
	if err != nil {
		return "", err
	}
	return v.answer(ctx, receipt)
}

// testMode reads ?test=true and ?test=live. Effects are real only for those who are
// signed in, and never because another site sent their browser here.
func (v *visit) testMode() error {
	switch strings.ToLower(v.r.URL.Query().Get("test")) {
	case "true":
		v.test = "simulated"
		if v.isSignedIn() {
			v.test = "live"
		}
	case "live":
		if !v.isSignedIn() {
			return unauthorized("?test=live is for people who are signed in; ?test=true has no effects and is for all")
		}
		v.test = "live"
	}
	return nil
}

func (v *visit) isSignedIn() bool {
	site := v.r.Header.Get("Sec-Fetch-Site")
	return site != "cross-site" && site != "same-site" && v.i.signedIn(v.r)
}

// count takes a token of the address (L23).
func (v *visit) count(ctx context.Context) error {
	var q quota
	var ok bool
	v.token, q, ok = v.i.addresses.take(clientOf(v.r, v.i.proxies), v.i.limits.Rate)
	q.policy = "address"
	return v.countedForAddress(ctx, q, ok)
}

// guessed tells of what an address has left of refused tests.
func (v *visit) guessed(ctx context.Context, q quota, ok bool) error {
	q.policy = "refused-tests"
	return v.countedForAddress(ctx, q, ok)
}

func (v *visit) countedForAddress(ctx context.Context, q quota, ok bool) error {
	if q.shared && v.i.crowded.now() {
		v.i.log.WarnContext(ctx, "Webhook limiter full, further addresses share one limit", slog.Int("limit", mostKeys))
	}
	return v.counted(q, ok, "Too many webhook requests from this IP, please try again later")
}

// countForWebhook has a correctly signed request count for the webhook instead of the
// address, which many share behind services such as Zapier.
func (v *visit) countForWebhook() error {
	if v.test != "" || v.target.Quota <= 0 {
		return nil
	}
	v.token.giveBack()
	_, q, ok := v.i.webhooks.take(v.target.ID, v.target.Quota)
	q.policy = "webhook"
	return v.counted(q, ok, "Too many requests for this webhook, please try again later")
}

func (v *visit) counted(q quota, ok bool, detail string) error {
	q.show(v.w.Header())
	if ok {
		return nil
	}
	return later(http.StatusTooManyRequests, q.after, "rate_limited", detail)
}

// find looks up what the address leads to.
func (v *visit) find(ctx context.Context) error {
	unknown := refuse(http.StatusNotFound, "no_such_webhook", "There is no webhook at this address")
	rest, found := strings.CutPrefix(v.r.URL.Path, Prefix)
	id, path, deeper := strings.Cut(rest, "/")
	if !found || id == "" || len(id) > mostID || clean(id) != id {
		return unknown
	}
	v.id = id
	if deeper {
		v.path = "/" + clean(path)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var err error
	v.target, err = v.i.desk.Target(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown):
		return unknown
	case err == nil && v.target.Gone:
		return refuse(http.StatusGone, "webhook_deleted", "This webhook was deleted")
	}
	return err
}

// checkMethod says that a request is done when it must not start anything (L25).
func (v *visit) checkMethod() (done bool, err error) {
	allowed := v.target.Methods
	if len(allowed) == 0 {
		allowed = methods
	}
	allow := strings.Join(append(slices.Clone(allowed), http.MethodHead, http.MethodOptions), ", ")
	switch {
	case v.r.Method == http.MethodHead, v.r.Method == http.MethodOptions, isPreview(v.r):
		v.w.Header().Set("Allow", allow)
		v.w.WriteHeader(http.StatusNoContent)
		return true, nil
	case !slices.Contains(allowed, v.r.Method) || !slices.Contains(methods, v.r.Method):
		p := refuse(http.StatusMethodNotAllowed, "method_not_allowed", "This webhook does not take "+v.r.Method+"; it takes "+strings.Join(allowed, ", "))
		p.allow = allow
		return false, p
	}
	return false, nil
}

// take reads, checks and hands over what came. When it returns, nothing of the body is
// left here, neither in memory nor on the disk.
func (v *visit) take(ctx context.Context) (Receipt, error) {
	k, parameters, err := kindOf(v.r)
	if err != nil {
		return Receipt{}, err
	}
	if err := v.checkLength(k); err != nil {
		return Receipt{}, err
	}
	p, err := newProof(v.target, v.r.Header, time.Now())
	if err != nil {
		return Receipt{}, err
	}
	h := &hold{i: v.i, memory: share{of: &v.i.memory}}
	defer h.release()
	c, err := v.receive(k, parameters, p, h)
	if err != nil {
		return Receipt{}, err
	}
	if !p.holds() {
		return Receipt{}, unauthorized("The signature does not fit the body; look at the secret")
	}
	if p.signed {
		if err := v.countForWebhook(); err != nil {
			return Receipt{}, err
		}
	}
	if c.text != nil {
		if c.value, err = parse(c.kind, c.charset, c.text, &h.memory); err != nil {
			return Receipt{}, err
		}
	}
	return v.accept(ctx, c)
}

// checkLength refuses by Content-Length, so that nobody sends what is not taken.
func (v *visit) checkLength(k kind) error {
	n, l := v.r.ContentLength, v.i.limits
	switch k {
	case kindJSON, kindForm, kindText:
		if n > l.Text {
			return textTooLarge(l.Text)
		}
	case kindMultipart:
		if n > l.form() {
			return uploadTooLarge(l.Upload)
		}
	case kindFile, kindUnnamed:
		if n > l.File {
			return fileTooLarge(cleanLabel(labelOf(v.r.Header)), l.File)
		}
	case kindNone:
	}
	return nil
}

// accept hands the delivery over. It is stored even if its sender leaves meanwhile.
func (v *visit) accept(ctx context.Context, c content) (Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTime)
	defer cancel()
	return v.i.desk.Accept(ctx, v.delivery(c))
}

// callersFault says that a request was refused for what its sender did.
func callersFault(err error) bool {
	var known *problem
	var refused *Refusal
	switch {
	case errors.As(err, &known):
		return known.Status < http.StatusInternalServerError
	case errors.As(err, &refused):
		return refused.Status < http.StatusInternalServerError
	}
	return false
}

// problemOf translates errors of the inside for people outside. What it does not know is
// logged and never shown; nothing was accepted then, so that it can be sent again.
func (v *visit) problemOf(ctx context.Context, err error) *problem {
	var known *problem
	var refused *Refusal
	switch {
	case errors.As(err, &known):
		one := *known // some are shared
		return &one
	case errors.As(err, &refused):
		p := later(refused.Status, refused.RetryAfter, refused.Code, refused.Detail)
		p.Errors = refused.Errors
		return p
	}
	if ctx.Err() != nil {
		return refuse(http.StatusBadRequest, "broken_off", "The request broke off")
	}
	v.i.log.ErrorContext(ctx, "Webhook request failed", slog.String("reference", v.request), slog.String("webhook", v.id), slog.Any("error", err))
	p := later(http.StatusServiceUnavailable, 5*time.Second, "unavailable", "Something is away on our side; nothing was accepted, send it again in a moment")
	p.Reference = v.request
	return p
}

// mayWrite gives an answer its time, whatever the request took.
func (v *visit) mayWrite() { _ = v.ctl.SetWriteDeadline(time.Now().Add(answerTime)) }

// tally counts answers by code. Codes are words of ours; should a desk invent more, they
// are counted together.
type tally struct {
	mu     sync.Mutex
	counts map[string]uint64 // guarded by mu
}

const mostCodes = 64

func (t *tally) count(code string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]uint64{}
	}
	if _, known := t.counts[code]; !known && len(t.counts) >= mostCodes {
		code = "other"
	}
	t.counts[code]++
}

func (t *tally) all() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

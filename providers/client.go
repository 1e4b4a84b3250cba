package providers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"frontdesk/store"

	"code.dny.dev/ssrf"
	"github.com/sashabaranov/go-openai"
)

// Bounds of what a provider may send us.
const (
	longestAnswer = 1 << 20   // of a chat, in bytes on the wire (L29)
	longestOther  = 8 << 20   // of a transcript or of vectors
	longestError  = 64 << 10  // beyond it an error has said enough
	allAnswers    = 256 << 20 // of all calls under way (L29)
	emptyLines    = 3000      // keep-alives of a stream
)

var (
	errForbidden  = errors.New("the address is not one that may be reached")
	errRedirected = errors.New("it points to another address, which is never followed")
	errTooLong    = errors.New("the answer is longer than allowed")
	errNoRoom     = errors.New("too many long answers at once")
)

// clients makes the HTTP clients of providers: none follows a redirect, uses a
// proxy, or reaches a private address that nobody allowed.
type clients struct {
	public  http.RoundTripper // https
	private http.RoundTripper // http: allowed networks only
	demo    http.RoundTripper // this machine only
	bytes   atomic.Int64      // of answers under way
}

func newClients(allow []netip.Prefix) *clients {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return &clients{
		public:  newTransport(guard(allow)),
		private: newTransport(only(allow)),
		demo:    newTransport(only(loopback)),
	}
}

// Guarded is a client for addresses that somebody typed, as strict as those of
// providers: https anywhere in public, http in allowed networks only, and no
// redirects.
func Guarded(allow []netip.Prefix) *http.Client {
	c := newClients(allow)
	return &http.Client{Transport: byScheme{c}, CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirected }}
}

type byScheme struct{ of *clients }

func (b byScheme) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.URL.Scheme == "https" {
		return b.of.public.RoundTrip(q)
	}
	return b.of.private.RoundTrip(q)
}

// client is the go-openai client for a provider's address and key.
func (c *clients) client(p store.Provider, key string) *openai.Client {
	config := openai.DefaultConfig(key) // compatible addresses only: the dialects of go-openai lose the key
	config.BaseURL = p.BaseURL
	config.EmptyMessagesLimit = emptyLines
	config.HTTPClient = &http.Client{Transport: &recorder{c.transport(p), &c.bytes}} // no Timeout: attempts have their own watch
	return openai.NewClientWithConfig(config)
}

func (c *clients) transport(p store.Provider) http.RoundTripper {
	switch {
	case p.Demo:
		return c.demo
	case strings.HasPrefix(strings.ToLower(p.BaseURL), "http:"):
		return c.private
	}
	return c.public
}

// close ends idle connections and their goroutines.
func (c *clients) close() {
	for _, t := range []http.RoundTripper{c.public, c.private, c.demo} {
		if t, ok := t.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

type control func(network, address string, _ syscall.RawConn) error

func newTransport(check control) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second, Control: check}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    100,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// never are link-local networks and addresses where clouds keep their secrets,
// whatever people allow.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("100.100.100.200/32"),
}

// guard lets dial public addresses and those in allow. It is asked after DNS,
// so a name cannot lead elsewhere.
func guard(allow []netip.Prefix) control {
	public := ssrf.New(ssrf.WithAnyPort())
	return func(network, address string, conn syscall.RawConn) error {
		allowed, err := within(allow, address)
		if err != nil || allowed {
			return err
		}
		return public.Safe(network, address, conn)
	}
}

// only lets dial addresses in allow and no others.
func only(allow []netip.Prefix) control {
	return func(_, address string, _ syscall.RawConn) error {
		allowed, err := within(allow, address)
		if err == nil && !allowed {
			return fmt.Errorf("%w: %s", errForbidden, address)
		}
		return err
	}
}

func within(allow []netip.Prefix, address string) (bool, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return false, fmt.Errorf("%w: %s", errForbidden, address)
	}
	ip := at.Addr().Unmap().WithZone("")
	if contains(never, ip) {
		return false, fmt.Errorf("%w: %s", errForbidden, address)
	}
	return contains(allow, ip), nil
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// seen is what an attempt saw on the wire: go-openai forgets the headers of
// failed streams and the body of strange successes.
type seen struct {
	most   int // bytes that an answer may have
	status int
	header http.Header
	events bool   // the body is a stream of events
	body   []byte // unless it is
	open   io.Closer
}

// close ends the response; go-openai leaves those of failed streams open.
func (s *seen) close() {
	if s.open != nil {
		s.open.Close()
	}
}

type seenKey struct{}

// watch returns a context whose request is recorded in the returned seen, and whose
// answer has at most that many bytes.
func watch(ctx context.Context, most int) (context.Context, *seen) {
	s := &seen{most: most}
	return context.WithValue(ctx, seenKey{}, s), s
}

// recorder keeps status, headers and odd bodies, refuses redirects, and ends
// answers that are too long.
type recorder struct {
	next  http.RoundTripper
	bytes *atomic.Int64
}

func (t *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	s, _ := q.Context().Value(seenKey{}).(*seen)
	if s == nil {
		s = &seen{most: longestAnswer}
	}
	s.status, s.header = resp.StatusCode, resp.Header
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		resp.Body.Close()
		return nil, errRedirected
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	s.events = kind == "text/event-stream" && resp.StatusCode < 300
	b := &boundedBody{ReadCloser: resp.Body, left: s.most, tooLong: errTooLong, all: t.bytes}
	if resp.StatusCode >= 400 {
		b.left, b.tooLong = longestError, io.EOF
	}
	if !s.events {
		b.keep = &s.body
	}
	resp.Body, s.open = b, b
	return resp, nil
}

// boundedBody ends after left bytes.
type boundedBody struct {
	io.ReadCloser
	left    int
	tooLong error
	keep    *[]byte
	all     *atomic.Int64
	counted int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.tooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	b.counted += int64(n)
	if b.all.Add(int64(n)) > allAnswers {
		return n, errNoRoom
	}
	if b.keep != nil {
		*b.keep = append(*b.keep, p[:n]...)
	}
	return n, err
}

func (b *boundedBody) Close() error {
	b.all.Add(-b.counted)
	b.counted = 0
	return b.ReadCloser.Close()
}

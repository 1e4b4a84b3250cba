package bot_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
)

// gateway is a proxy on loopback that leads wherever is asked to the one loopback
// WhatsApp. It speaks HTTP's CONNECT or, if socks is set, SOCKS 5 (RFC 1928).
type gateway struct {
	t        testing.TB
	target   string
	socks    bool
	listener net.Listener
	used     atomic.Int64 // tunnels so far
	shut     atomic.Bool  // it refuses everything
}

func newGateway(t testing.TB, whatsAppURL string, socks bool) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	target, _, _ := strings.Cut(strings.TrimPrefix(whatsAppURL, "ws://"), "/")
	g := &gateway{t: t, target: target, socks: socks, listener: l}
	t.Cleanup(func() { l.Close() })
	go g.serve()
	return g
}

func (g *gateway) url() string {
	if g.socks {
		return "socks5://" + g.listener.Addr().String()
	}
	return "http://someone:secret@" + g.listener.Addr().String()
}

func (g *gateway) serve() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.tunnel(c)
	}
}

func (g *gateway) tunnel(c net.Conn) {
	defer c.Close()
	if g.shut.Load() {
		return
	}
	r := bufio.NewReader(c)
	welcome := g.connect
	if g.socks {
		welcome = g.greet
	}
	if !welcome(c, r) {
		return
	}
	out, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer out.Close()
	g.used.Add(1)
	go func() { _, _ = io.Copy(out, r); out.Close() }()
	_, _ = io.Copy(c, out)
}

func (g *gateway) connect(c net.Conn, r *bufio.Reader) bool {
	asked, err := http.ReadRequest(r)
	if err != nil || asked.Method != http.MethodConnect || asked.Header.Get("Proxy-Authorization") == "" {
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		return false
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return err == nil
}

func (g *gateway) greet(c net.Conn, r *bufio.Reader) bool {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[0] != 5 {
		return false
	}
	_, _ = r.Discard(int(head[1]))
	_, _ = c.Write([]byte{5, 0})
	ask := make([]byte, 5)
	if _, err := io.ReadFull(r, ask); err != nil || ask[1] != 1 {
		return false
	}
	rest := map[byte]int{1: 3 + 2, 3: int(ask[4]) + 2, 4: 15 + 2}[ask[3]]
	_, _ = r.Discard(rest)
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return err == nil
}

func TestAccountReachesWhatsAppThroughItsProxyOrNotAtAll(t *testing.T) {
	t.Parallel()
	for name, socks := range map[string]bool{"http": false, "socks5": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.manager("a")
			g := newGateway(t, w.wa.URL(), socks)
			a, err := w.store.AddAccount(t.Context(), store.KindWhatsApp, "Front desk", 100)
			must(t, err)
			must(t, w.store.SetProxy(t.Context(), a.ID, g.url()))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			must(t, w.wa.Phone(desk).Scan(ctx, w.code(a.ID)))
			seen := w.awaitStatus(a.ID, store.StatusConnected)
			if g.used.Load() < 2 || strings.Contains(seen.ProxyHint, "secret") {
				t.Fatalf("%d connections went through the proxy, which is shown as %q", g.used.Load(), seen.ProxyHint)
			}
			w.write(customer, desk, 1, 1)
			w.awaitReceived(a.ID, 1)
			w.queue(m, a.ID, customer, 1, 1)
			w.awaitAnswers(customer, desk, 1)

			g.shut.Store(true)
			logins := len(w.wa.Logins())
			must(t, w.store.SetProxy(t.Context(), a.ID, g.url())) // a new connection, which the proxy refuses
			eventually(t, "a status that names the proxy", func() bool {
				a, err := w.store.Account(t.Context(), a.ID)
				must(t, err)
				return a.Status == store.StatusFailed && strings.Contains(a.StatusCause, "proxy")
			})
			w.write(customer, desk, 2, 1)
			eventually(t, "the old connection to end", func() bool { return !w.wa.Phone(desk).Connected() })
			if n := len(w.wa.Logins()); n != logins {
				t.Fatalf("%d logins went around the proxy", n-logins)
			}

			must(t, w.store.SetProxy(t.Context(), a.ID, ""))
			numbered(t, w.awaitReceived(a.ID, 2), "message", 1)
		})
	}
}

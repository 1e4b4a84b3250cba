package wasim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// Options say where a server listens and what it remembers.
type Options struct {
	Listen    string // "127.0.0.1:0" if empty; anything but loopback is refused
	StateFile string // where accounts and sessions survive a restart; "" keeps them in memory
	Log       *slog.Logger

	// RootKey is the private key that [Server.CertKey] belongs to. It lets
	// servers of one process share what whatsmeow.WACertPubKey holds; the state
	// file's key goes before it, and a random one stands in for zeroes.
	RootKey [32]byte

	// OnDeliver is called after a message was written to an account's socket,
	// from the goroutine that writes: crash tests aim by it.
	OnDeliver func(account, id string)
}

// Server is WhatsApp. Its methods are safe from any goroutine.
type Server struct {
	options  Options
	log      *slog.Logger
	root     *keys.KeyPair
	own      certificates
	counts   counters
	faults   faults
	media    media
	logins   logbook
	state    stateFile
	sequence atomic.Int64 // of the last stanza queued
	names    atomic.Int64 // of the last request to a client

	mu        sync.RWMutex
	phones    map[string]*Phone    // by number; guarded by mu
	customers map[string]*Customer // by number; guarded by mu
	offers    map[string]*offer    // by ref; guarded by mu
	typed     map[string]*typed    // codes to type, by number; guarded by mu
	closed    bool                 // guarded by mu

	listener net.Listener
	http     *http.Server
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// New makes a server and loads its state file. It does not listen yet.
func New(o Options) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if err := loopback(o.Listen); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		options: o, log: o.Log, root: keys.NewKeyPair(),
		phones: map[string]*Phone{}, customers: map[string]*Customer{},
		offers: map[string]*offer{}, typed: map[string]*typed{},
	}
	if o.RootKey != [32]byte{} {
		s.root = keys.NewKeyPairFromPrivateKey(o.RootKey)
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	var err error
	s.own, err = newCertificates(s.root, time.Now())
	return s, err
}

// Start listens. Only Close ends what it starts.
func (s *Server) Start(ctx context.Context) error {
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", s.options.Listen)
	if err != nil {
		return fmt.Errorf("listen for WhatsApp clients: %w", err)
	}
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.listener, s.stop = listener, stop
	if err := s.save(); err != nil { // from now on the file says that it may be behind
		stop()
		return errors.Join(err, listener.Close())
	}
	s.http = &http.Server{
		Handler:           s.routes(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.running.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("Listening ended", "error", err)
		}
	})
	s.running.Go(func() { s.keepSaving(base) })
	return nil
}

// Close cuts all streams, ends all requests, saves the state and waits for its
// goroutines until ctx ends. A second call does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.http == nil {
		s.closed = true
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.http.Close()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("wait for streams to end: %w", ctx.Err())
	}
	return s.save()
}

// URL is where clients connect: the value of FRONTDESK_WHATSAPP_URL.
func (s *Server) URL() string { return "ws://" + s.listener.Addr().String() + "/ws/chat" }

// ControlURL is where a [Control] connects.
func (s *Server) ControlURL() string { return "http://" + s.listener.Addr().String() + "/control" }

// CertKey is what whatsmeow.WACertPubKey must hold for a client to trust this
// server. It stays the same as long as the state file does.
func (s *Server) CertKey() [32]byte { return *s.root.Pub }

// Stats counts what has happened so far.
func (s *Server) Stats() Stats { return s.counts.snapshot() }

// Phone is the phone of that number, made on demand. It panics if number is not
// 5 to 15 digits.
func (s *Server) Phone(number string) *Phone {
	demand(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.phones[number]
	if !known {
		p = newPhone(s, number)
		s.phones[number] = p
	}
	return p
}

// Customer is the customer of that number, made on demand. It panics if number
// is not 5 to 15 digits.
func (s *Server) Customer(number string) *Customer {
	demand(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.customers[number]
	if !known {
		c = newCustomer(s, number)
		s.customers[number] = c
	}
	return c
}

// linked is the phone of an account that has a linked device.
func (s *Server) linked(account string) (*Phone, error) {
	p := s.phone(account)
	if p == nil || !p.Linked() {
		return nil, errors.New("no device is linked to that account")
	}
	return p, nil
}

// phone is the phone of that number, or nil.
func (s *Server) phone(number string) *Phone {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.phones[number]
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveVersion)
	mux.HandleFunc("GET /ws/chat", s.serveStream)
	mux.HandleFunc("POST /mms/{kind}/{token}", s.serveUpload)
	mux.HandleFunc("DELETE /mms/{kind}/{token}", s.serveForget)
	mux.HandleFunc("GET /media/{token}", s.serveDownload)
	mux.Handle("/control/", http.StripPrefix("/control", s.controlRoutes()))
	return mux
}

// serveVersion is the page that whatsmeow.GetLatestVersion reads: the version
// the client's own library has.
func (s *Server) serveVersion(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, `<script>{"client_revision":%d,"server":"wasim"}</script>`, store.GetWAVersion()[2])
}

// serveStream is one client's connection, from handshake to end.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer s.running.Done()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"web.whatsapp.com"}})
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }() // whatever is left of it
	ws.SetReadLimit(1 << 24)
	newConnection(s, ws).serve(r.Context())
}

// enter counts a stream among what Close waits for, unless Close has begun.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// HTTPClient is a client that reaches the server at wsURL whatever host it is
// told, in plain TCP. Give it to SetPreLoginHTTPClient, SetWebsocketHTTPClient
// and SetMediaHTTPClient alike: one that is missed leaks to the internet.
func HTTPClient(wsURL string) (*http.Client, error) {
	where, err := url.Parse(wsURL)
	if err != nil {
		return nil, fmt.Errorf("read the address of the WhatsApp server: %w", err)
	}
	if err := loopback(where.Host); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", where.Host)
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true,
	}}, nil
}

// loopback refuses an address that other machines could reach.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the address %q is not host:port", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the address %q is not on loopback", address)
	}
	return nil
}

func demand(number string) {
	if !digits(number) {
		panic("wasim: a phone number is 5 to 15 digits")
	}
}

func digits(number string) bool {
	for _, r := range number {
		if r < '0' || r > '9' {
			return false
		}
	}
	return len(number) >= 5 && len(number) <= 15
}

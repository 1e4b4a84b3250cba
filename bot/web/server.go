package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/bot/live"
	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"

	"github.com/alexedwards/scs/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// library finds passages of documents. *conversation.Library is the real one.
type library interface {
	Search(ctx context.Context, account int64, pool, query string) (found []conversation.Passage, known bool, err error)
}

// records is what the doors read and write. *store.Store is the real one.
type records interface {
	Accounts(ctx context.Context) ([]store.Account, error)
	Account(ctx context.Context, id int64) (store.Account, error)
	AddAccount(ctx context.Context, kind, name string, perProcess int) (store.Account, error)
	ChangeAccount(ctx context.Context, id int64, c store.AccountChange) (store.Account, error)
	Want(ctx context.Context, id int64, w store.Wanted, perProcess int) error
	WantPairing(ctx context.Context, account int64, d time.Duration) (store.Pairing, error)
	WantTypedCode(ctx context.Context, account int64, phone string, d time.Duration) (store.Pairing, error)
	PairingNow(ctx context.Context, account int64) (store.Pairing, error)
	EndPairing(ctx context.Context, account int64) error
	AnswerPasskey(ctx context.Context, account int64, response []byte) error
	ConfirmPasskey(ctx context.Context, account int64) error
	AddPairingLink(ctx context.Context, account int64, by string, d time.Duration) (l store.PairingLink, secret string, err error)
	PairingLinkOf(ctx context.Context, secret string) (store.PairingLink, error)
	PairingLinks(ctx context.Context, account int64) ([]store.PairingLink, error)
	EndPairingLinks(ctx context.Context, account int64) error
	Contacts(ctx context.Context, words string, p store.Page) ([]store.Contact, error)
	Contact(ctx context.Context, id int64) (store.Contact, error)
	FindContact(ctx context.Context, a store.Address) (store.Contact, error)
	Addresses(ctx context.Context, contact int64) ([]store.KnownAddress, error)
	Merges(ctx context.Context, contact int64) ([]store.Merge, error)
	MergeContacts(ctx context.Context, one, other int64, by string) (survivor int64, err error)
	UnmergeContact(ctx context.Context, contact int64, by string) (store.Merge, error)
	ExportContact(ctx context.Context, id int64) (map[string][]json.RawMessage, error)
	EraseContact(ctx context.Context, files store.Files, id int64, by string) (rows int64, err error)
	KeepFile(ctx context.Context, files store.Files, u store.Upload) (store.File, error)
	File(ctx context.Context, id int64) (store.File, error)
	SetProxy(ctx context.Context, account int64, address string) error
	StatusHistory(ctx context.Context, account int64, p store.Page) ([]store.StatusEvent, error)
	Alerts(ctx context.Context, all bool, p store.Page) ([]store.Alert, error)
	SeeAlert(ctx context.Context, id int64) error
	Processes(ctx context.Context, ttl time.Duration) ([]store.ProcessState, error)
	WaitingForPlace(ctx context.Context, kind string) (int, error)
	Audit(ctx context.Context, by, action, subject string, detail any) error
	AuditLog(ctx context.Context, subject string, p store.Page) ([]store.AuditEntry, error)

	ResolveContact(ctx context.Context, phone, lid, name string) (int64, error)
	Queue(ctx context.Context, p store.Parcel) (o store.Outbound, replayed bool, err error)
	QueuedBefore(ctx context.Context, p store.Parcel) (store.Outbound, error)
	SentMessage(ctx context.Context, account, id int64) (store.Outbound, error)
	CancelMessage(ctx context.Context, account, id int64) (store.Outbound, error)
	Now(ctx context.Context) (time.Time, error)
	Conversations(ctx context.Context, account, contact int64, p store.Page) ([]store.ConversationSummary, error)
	Conversation(ctx context.Context, id int64) (store.ConversationSummary, error)
	Messages(ctx context.Context, conversation int64, p store.MessagePage) ([]store.ChatMessage, error)
	Sources(ctx context.Context, account int64, p store.Page) ([]store.Source, error)
	Source(ctx context.Context, id int64) (store.Source, error)
	AddSource(ctx context.Context, d store.Source) (store.Source, error)
	ChangeSource(ctx context.Context, d store.Source) (store.Source, error)
	RemoveSource(ctx context.Context, id int64) error
	Languages(ctx context.Context) ([]string, error)
	Answered(ctx context.Context, account, conversation int64, since time.Time, limit int) ([]store.Answered, error)
	TurnAt(ctx context.Context, conversation, seq int64) (store.Turn, error)
	SetState(ctx context.Context, conversation int64, state store.State, by string) error
	ChangeConversation(ctx context.Context, id int64, c store.ConversationChange) error
	Inbox(ctx context.Context, f store.InboxFilter) ([]store.InboxLine, error)
	Trace(ctx context.Context, conversation, seq int64) (store.Trace, error)
	PromptOf(ctx context.Context, conversation, seq int64) (store.Prompt, error)
	Personas(ctx context.Context, account int64, p store.Page) ([]store.Persona, error)
	Draft(ctx context.Context, id int64) (store.Draft, error)
	Drafts(ctx context.Context, conversation int64, p store.Page) ([]store.Draft, error)
	WaitingDrafts(ctx context.Context, account int64, p store.Page) ([]store.Draft, error)
	SendDraft(ctx context.Context, id int64, words, by string) (store.Draft, error)
	RejectDraft(ctx context.Context, id int64, by string) (store.Draft, error)
	Notes(ctx context.Context, conversation int64, limit int) ([]store.Note, error)
	AddNote(ctx context.Context, conversation int64, body, by string) (store.Note, error)
	QuickReplies(ctx context.Context, account int64) ([]store.QuickReply, error)
	AddQuickReply(ctx context.Context, q store.QuickReply) (store.QuickReply, error)
	RemoveQuickReply(ctx context.Context, id int64) error
	Tools(ctx context.Context, account int64) ([]store.Tool, error)
	Tool(ctx context.Context, id int64) (store.Tool, error)
	PutTool(ctx context.Context, t store.Tool, secret *string) (store.Tool, error)
	RemoveTool(ctx context.Context, id int64) error
	Timeline(ctx context.Context, conversation int64, p store.Page) ([]store.TimelineEntry, error)

	flows
	subscriptions

	Providers(ctx context.Context) ([]store.Provider, error)
	Provider(ctx context.Context, id int64) (store.Provider, error)
	AddProvider(ctx context.Context, p store.Provider) (store.Provider, error)
	UpdateProvider(ctx context.Context, id int64, change func(*store.Provider)) (store.Provider, error)
	DeleteProvider(ctx context.Context, id int64) error
	MoveProvider(ctx context.Context, id int64, up bool) error
	UsageToday(ctx context.Context) ([]store.DayUsage, error)
	SetProviderKey(ctx context.Context, id int64, key string) error
	UsageHistory(ctx context.Context, provider int64, days int) ([]store.DayUsage, error)
	Attempts(ctx context.Context, f store.AttemptFilter, p store.Page) ([]store.ProviderAttempt, error)

	Bearer(ctx context.Context, secret string) (store.Bearer, error)
	UseSignInLink(ctx context.Context, secret string) (store.Role, error)
	Sessions() scs.Store
}

// brain is what the doors ask of the providers. *providers.Registry is the real one.
type brain interface {
	Test(ctx context.Context, id int64) (providers.Answer, error)
	Health() []providers.Health
	Reload()
}

// stage has models say something that no customer reads. *conversation.Processor is the
// real one.
type stage interface {
	Rehearse(ctx context.Context, now store.Turn, provider int64) (conversation.Rehearsal, error)
	Brief(ctx context.Context, conversation int64) (store.Note, error)
}

// Sandbox moves the phones of the loopback WhatsApp.
type Sandbox interface {
	// Scan has the phone with that number scan a code.
	Scan(ctx context.Context, phone, qr string) error
	// Send writes to an account as a customer.
	Send(ctx context.Context, customer, account, text string) (id string, err error)
	// Messages are what the customer's phone shows, after a Seq.
	Messages(ctx context.Context, customer, account string, after int, wait time.Duration) (chat []SandboxMessage, typing bool, err error)
}

// SandboxMessage is one bubble on a customer's phone.
type SandboxMessage struct {
	Seq          int
	ID           string
	Text         string
	FromCustomer bool
	At           time.Time
	Status       string
}

// Follow hears of changes of accounts, of any process: their ids, 0 for all. Its
// end closes the channel; err says that too many follow already.
type Follow func() (changes <-chan int64, end func(), err error)

// Options are what the doors need to know.
type Options struct {
	Store              records
	AI                 brain
	Engine             engine    // runs flows
	Live               *live.Hub // what people and programs follow; nil: they ask
	Sandbox            Sandbox   // nil: there is none
	Log                *slog.Logger
	PublicURL          string                             // of the console, without a slash at its end
	AccountsPerProcess int                                // L1
	Lease              time.Duration                      // after which a silent process is dead
	Ready              func(ctx context.Context) []string // sentences that say what keeps this process from its work
	Metrics            prometheus.Gatherer
	Version            string
	Queued             func(account, conversation int64) // hears of every message that was queued
	Library            library                           // finds what documents say; nil: nothing does
	Stage              stage                             // where answers are rehearsed and summaries made; nil: nowhere
	Follow             Follow
	Files              store.Files  // nil: files are refused
	Fetch              *http.Client // reaches only what the public may name
}

// Server is the HTTP server. Its methods may be called from any goroutine.
type Server struct {
	store      records
	ai         brain
	engine     engine
	sandbox    Sandbox
	log        *slog.Logger
	o          Options
	sessions   *scs.SessionManager
	accounts   signal       // an account has changed
	webhooks   http.Handler // nil: there is no way in for other systems
	handler    http.Handler
	http       *http.Server
	closing    atomic.Bool
	waiting    context.Context //nolint:containedctx // the life of requests that wait; Close ends it
	stopWaits  context.CancelFunc
	serving    sync.WaitGroup
	closeOnce  sync.Once
	closeError error
}

// Times of the HTTP server. Answers may take as long as a QR code is waited for
// or a provider is tested.
const (
	headerTime = 10 * time.Second
	bodyTime   = 30 * time.Second
	answerTime = 2 * time.Minute
	idleTime   = 2 * time.Minute
	mostHeader = 64 << 10
)

// New makes the doors; they open with Start.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) []string { return nil }
	}
	if o.Queued == nil {
		o.Queued = func(int64, int64) {}
	}
	s := &Server{store: o.Store, ai: o.AI, engine: o.Engine, sandbox: o.Sandbox, log: o.Log, o: o}
	s.waiting, s.stopWaits = context.WithCancel(context.Background())
	s.sessions = newSessions(o)
	s.handler = s.routes()
	s.http = &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: mostHeader, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Handler serves every route; tests call it without a socket.
func (s *Server) Handler() http.Handler { return s.handler }

// Start serves on listener until Close.
func (s *Server) Start(listener net.Listener) error {
	s.followAccounts()
	s.serving.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("HTTP server ended by itself", slog.Any("error", err))
		}
	})
	return nil
}

// Close answers new requests with 503, ends those that only wait, lets the others
// finish and closes the listener. A second call does nothing.
func (s *Server) Close(ctx context.Context) error {
	s.closeOnce.Do(func() { s.closeError = s.close(ctx) })
	return s.closeError
}

func (s *Server) close(ctx context.Context) error {
	s.closing.Store(true)
	s.stopWaits()
	if s.o.Live != nil {
		if err := s.o.Live.Close(ctx); err != nil {
			s.log.WarnContext(ctx, "Sockets not closed in time", slog.Any("error", err))
		}
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were still under way: %w", errors.Join(err, s.http.Close()))
	}
	s.serving.Wait()
	s.log.InfoContext(ctx, "HTTP server stopped")
	s.log.InfoContext(ctx, "Socket service stopped")
	return err
}

// open refuses requests once the stop has begun.
func (s *Server) open(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.closing.Load() {
			w.Header().Set("Retry-After", "2")
			w.Header().Set("Connection", "close")
			http.Error(w, "frontdesk is stopping; try again in a moment", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

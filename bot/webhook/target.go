package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// Target is what an address leads to.
type Target struct {
	Flow    int64 // that it starts
	Version int   // of it
	ID      string
	Gone    bool     // deliberately deleted
	Methods []string // none: GET, POST, PUT, PATCH and DELETE
	Auth    string   // AuthNone and the like
	Header  string   // AuthHMAC: where the signature is
	Secrets []string // all that are good now
	Quota   int      // requests of correctly signed callers in any minute; 0: they count by address
	Dedupe  string   // path in the trigger such as trigger.body.id; "": only headers name a delivery
	Sync    bool     // the caller waits for the flow's result
}

// Delivery is one request that passed every check.
type Delivery struct {
	Webhook string
	Flow    int64
	Version int
	Method  string
	Path    string         // behind the webhook's address: "" or /…
	Query   map[string]any // strings, or lists of them; without what could be a secret
	Headers map[string]any // by lower-case name, without what could be a secret
	Body    any            // as JSON has it: an object for forms, a string for text, nil for none and for files
	Files   []File
	Key     string // names the delivery; "": every one is new
	Hash    []byte // two deliveries with a Key and the same Hash are one
	Test    string // "", simulated or live
}

// File is a file of a delivery, which is in the spool until Accept returns.
type File struct {
	Field  string // of the form; "": the file is the whole body
	Label  string // its name, fit to be shown; "": it has none
	Mime   string // what it is, by its content
	Bytes  int64
	SHA256 []byte

	from io.ReaderAt
	at   int64
}

// Open reads the file from its beginning. It may be called often, and from any
// goroutine, until Accept returns.
func (f File) Open() io.ReadSeeker { return io.NewSectionReader(f.from, f.at, f.Bytes) }

// Receipt is what became of a delivery.
type Receipt struct {
	Execution int64
	Status    string // queued, running, waiting, completed, failed or cancelled
	Position  int    // of a queued one, about
	Replayed  bool   // the same delivery came before
	Test      bool
	Ended     bool
	Failure   string
	Answer    *Answer // of its respond step; nil: it has none
}

// Answer is what a flow responds.
type Answer struct {
	Status int // 200 to 499
	Body   json.RawMessage
}

// ErrUnknown says that there is no such webhook, and never was.
var ErrUnknown = errors.New("there is no such webhook")

// Refusal is why a desk does not take a delivery.
type Refusal struct { //nolint:errname // it is one
	Status     int
	Code       string
	Detail     string
	Errors     []string
	RetryAfter time.Duration
}

// Error is the detail.
func (r *Refusal) Error() string { return r.Detail }

// Desk makes executions of deliveries. Its methods may be called from any goroutine.
type Desk interface {
	// Target is what an id leads to, or ErrUnknown.
	Target(ctx context.Context, id string) (Target, error)
	// Accept stores a delivery and its execution, all or nothing. What it will not have
	// is a *Refusal.
	Accept(ctx context.Context, d Delivery) (Receipt, error)
	// Await returns when an execution ends, or with an error when ctx does.
	Await(ctx context.Context, execution int64) (Receipt, error)
}

package conversation_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/conversation"
	"frontdesk/providers"
	"frontdesk/store"
)

// desk is everything around a processor: rows, accounts and a brain, in memory.
// Each is checked against the real one elsewhere; here time is what matters.
type desk struct {
	t   *testing.T
	log *logbook
	p   *conversation.Processor

	mu      sync.Mutex
	rows    map[int64]*row
	replies []store.Reply  // in the order of their commits
	turns   map[int64]int  // under way, by conversation
	most    int            // turns that were ever under way at once
	twice   bool           // one conversation had two at once
	typing  map[string]int // on and off, by chat
	think   func(ctx context.Context, q providers.Request) (providers.Answer, error)
	account context.Context //nolint:containedctx // the lease of the only account
	alerts  []string        // kinds; guarded by mu
	tools   []store.Tool
	facts   []string
	notes   []string
	prompts []store.Prompt
	files   []attachment // of customers; guarded by mu
	heard   int          // recordings that were listened to; guarded by mu
	hear    func(q providers.Speech) (providers.Answer, error)
}

// attachment is a file that is here after a while.
type attachment struct {
	store.Attachment

	came, here time.Time
	data       []byte
}

// row is a conversation as the store keeps it.
type row struct {
	store.Turn

	lines   []store.Line
	dueAt   time.Time
	retryAt time.Time
	skipped []string
	broken  error
}

func newDesk(t *testing.T, change func(*conversation.Options)) *desk {
	d := &desk{
		t: t, log: &logbook{}, rows: map[int64]*row{}, turns: map[int64]int{}, typing: map[string]int{},
		account: context.Background(),
	}
	d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
		return providers.Answer{Text: "re " + said(q), Provider: "test"}, nil
	}
	o := conversation.Options{Store: d, Accounts: d, AI: d, Files: d, Log: slog.New(slog.NewTextHandler(d.log, nil))}
	if change != nil {
		change(&o)
	}
	d.p = conversation.New(o)
	return d
}

func (d *desk) start() {
	d.t.Helper()
	if err := d.p.Start(context.Background()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) close() {
	d.t.Helper()
	if err := d.p.Close(context.Background()); err != nil {
		d.t.Error(err)
	}
}

// said is what the customer wrote since the last answer.
func said(q providers.Request) string {
	var texts []string
	for _, m := range slices.Backward(read(q)) {
		if m.Role == providers.RoleAssistant {
			break
		}
		if m.Role == providers.RoleUser {
			texts = append([]string{m.Text}, texts...)
		}
	}
	return strings.Join(texts, " ")
}

// still keeps the desk as it is until the end that it returns.
func (d *desk) still() (end func()) {
	d.mu.Lock()
	return d.mu.Unlock
}

// count is how many replies were queued.
func (d *desk) count() int {
	defer d.still()()
	return len(d.replies)
}

// read is what a model with room enough reads.
func read(q providers.Request) []providers.Message {
	if q.Prompt == nil {
		return q.Messages
	}
	return q.Prompt(providers.Room{ContextTokens: 128_000, Tools: true})
}

// write stores a message of a customer and wakes the turn, as bot does.
func (d *desk) write(conversation int64, text string, wait time.Duration) {
	d.store(conversation, text, wait)
	d.p.Wake(1, conversation, wait)
}

// store keeps a message without waking anybody, as a crash would leave it.
func (d *desk) store(conversation int64, text string, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(conversation, "text", text, wait)
}

// add needs d.mu.
func (d *desk) add(conversation int64, kind, text string, wait time.Duration) {
	r := d.row(conversation)
	r.LastSeq++
	r.lines = append(r.lines, store.Line{Direction: "in", Origin: "customer", Seq: r.LastSeq, Kind: kind, Body: text, At: time.Now()})
	r.dueAt = time.Now().Add(wait)
	if r.retryAt.After(r.dueAt) {
		r.dueAt = r.retryAt
	}
}

func (d *desk) row(conversation int64) *row {
	r := d.rows[conversation]
	if r == nil {
		r = &row{Turn: store.Turn{ConversationID: conversation, AccountID: 1, State: store.StateBot, Chat: fmt.Sprint("chat", conversation), Fallback: "later", Readable: 1, Disclosure: new(""), HasTools: true, HasSources: true}}
		d.rows[conversation] = r
	}
	return r
}

// change changes a conversation's row.
func (d *desk) change(conversation int64, how func(*row)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how(d.row(conversation))
}

// answers are the bodies sent to a conversation, in order.
func (d *desk) answers(conversation int64) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var bodies []string
	for _, r := range d.replies {
		if r.ConversationID == conversation {
			for _, b := range r.Bubbles {
				bodies = append(bodies, b.Body)
			}
		}
	}
	return bodies
}

// typed is how often typing was shown (true) or hidden in a chat.
func (d *desk) typed(chat string, on bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.typing[fmt.Sprint(chat, on)]
}

// doubled says that one customer had two turns at once.
func (d *desk) doubled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.twice
}

func (d *desk) look(conversation int64) row {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *d.row(conversation)
}

// The store.

func (d *desk) DueConversations(_ context.Context, accounts []int64, _ int) ([]store.Due, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []store.Due
	for id, r := range d.rows {
		if r.LastSeq > r.AnsweredSeq && slices.Contains(accounts, r.AccountID) {
			due = append(due, store.Due{ID: id, AccountID: r.AccountID, DueIn: max(0, time.Until(r.dueAt))})
		}
	}
	return due, nil
}

func (d *desk) Turn(_ context.Context, conversation int64) (store.Turn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	now := r.Turn
	now.DueIn, now.Now = max(0, time.Until(r.dueAt)), time.Now()
	for _, l := range r.lines {
		if l.Seq <= now.LastSeq {
			now.Lines = append(now.Lines, l)
		}
	}
	return now, r.broken
}

func (d *desk) Answer(ctx context.Context, a store.Reply) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(a.ConversationID)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if r.AnsweredSeq != a.Lo || r.State != store.StateBot || (r.LastSeq != a.Hi && !a.Force) {
		return false, nil
	}
	r.AnsweredSeq, r.Attempts, r.retryAt = a.Hi, 0, time.Time{}
	d.replies = append(d.replies, a)
	for _, b := range a.Bubbles {
		at := slices.IndexFunc(r.lines, func(l store.Line) bool { return l.Seq > a.Hi })
		if at < 0 {
			at = len(r.lines)
		}
		r.lines = slices.Insert(r.lines, at, store.Line{Direction: "out", Origin: a.Origin, Seq: a.Hi, Kind: "text", Body: b.Body, At: time.Now()})
	}
	return true, nil
}

func (d *desk) Skip(_ context.Context, conversation, lo, hi int64, reason string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	if r.AnsweredSeq != lo {
		return false, nil
	}
	r.AnsweredSeq, r.Attempts, r.skipped = hi, 0, append(r.skipped, reason)
	return true, nil
}

func (d *desk) RetryLater(_ context.Context, conversation, lo int64, wait time.Duration, _ string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	if r.AnsweredSeq != lo {
		return false, nil
	}
	r.Attempts++
	r.retryAt = time.Now().Add(wait)
	r.dueAt = r.retryAt
	return true, nil
}

func (d *desk) RaiseAlert(_ context.Context, _ int64, kind, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alerts = append(d.alerts, kind)
	return nil
}

func (d *desk) HandOff(_ context.Context, h store.Handoff) (bool, error) {
	return d.settle(h.ConversationID, h.Lo, store.StateHuman, "handed off: "+h.Reason)
}

func (d *desk) PauseBot(_ context.Context, conversation, lo int64, reason string) (bool, error) {
	return d.settle(conversation, lo, store.StatePaused, "paused: "+reason)
}

func (d *desk) settle(conversation, lo int64, to store.State, why string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	if r.AnsweredSeq != lo {
		return false, nil
	}
	r.State, r.AnsweredSeq, r.skipped = to, r.LastSeq, append(r.skipped, why)
	return true, nil
}

func (d *desk) Defer(_ context.Context, conversation, lo int64, wait time.Duration, reason string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	if r.AnsweredSeq != lo {
		return false, nil
	}
	r.retryAt, r.Busy = time.Now().Add(wait), 0
	r.dueAt, r.skipped = r.retryAt, append(r.skipped, "deferred: "+reason)
	return true, nil
}

func (d *desk) Tools(context.Context, int64) ([]store.Tool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tools, nil
}

func (d *desk) OpenSecret(t store.Tool) (string, error) { return string(t.Secret), nil }

func (d *desk) Remember(_ context.Context, _, contact int64, fact string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.facts = append(d.facts, fmt.Sprint(contact, ": ", fact))
	return nil
}

func (d *desk) KeepPrompt(_ context.Context, p store.Prompt) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prompts = append(d.prompts, p)
	return nil
}

func (d *desk) WatchDrafts(context.Context, []int64) error { return nil }

func (d *desk) AddNote(_ context.Context, _ int64, body, by string) (store.Note, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, by+": "+body)
	return store.Note{}, nil
}

func (d *desk) Summarize(_ context.Context, conversation, seq int64, words string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.row(conversation)
	r.Summary, r.SummarySeq = words, seq
	return nil
}

func (d *desk) ReturnConversations(context.Context, []int64) error { return nil }

func (d *desk) Attachments(_ context.Context, _, after, hi int64) (found []store.Attachment, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		f.State, f.Age = "wanted", time.Since(f.came)
		if !time.Now().Before(f.here) {
			f.State, f.File = "stored", new(fmt.Sprint(f.MessageID))
		}
		if f.Seq > after && f.Seq <= hi {
			found = append(found, f.Attachment)
		}
	}
	return found, nil
}

func (d *desk) SetTranscript(_ context.Context, message int64, words, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.files {
		if d.files[i].MessageID == message {
			d.files[i].Transcript = &words
		}
	}
	return nil
}

// Open is store.Files.
func (d *desk) Open(_ context.Context, name string) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		if fmt.Sprint(f.MessageID) == name {
			return io.NopCloser(bytes.NewReader(f.data)), nil
		}
	}
	return nil, store.ErrNotFound
}

func (d *desk) Transcribe(_ context.Context, q providers.Speech) (providers.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard++
	return d.hear(q)
}

// bring stores a message with a file that is here after wait, and wakes its turn.
func (d *desk) bring(conversation int64, kind, mime string, data []byte, wait time.Duration) {
	d.mu.Lock()
	d.add(conversation, kind, "", 0)
	d.files = append(d.files, attachment{
		store.Attachment{MessageID: int64(100 + len(d.files)), Seq: d.row(conversation).LastSeq, Kind: kind, Mime: mime, Bytes: int64(len(data)), Seconds: 3},
		time.Now(), time.Now().Add(wait), data,
	})
	d.mu.Unlock()
	d.p.Wake(1, conversation, 0)
}

// The accounts.

func (d *desk) Held() []int64 { return []int64{1} }

func (d *desk) Context(int64) (context.Context, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.account, d.account.Err() == nil
}

func (d *desk) Typing(_ context.Context, _ int64, chat string, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.typing[fmt.Sprint(chat, on)]++
}

func (d *desk) Read(context.Context, int64, string, []string) {}
func (d *desk) Send(int64, int64)                             {}

// The brain.

func (d *desk) Chat(ctx context.Context, q providers.Request) (providers.Answer, error) {
	d.mu.Lock()
	d.turns[q.Conversation]++
	d.twice = d.twice || d.turns[q.Conversation] > 1
	under := 0
	for _, n := range d.turns {
		under += n
	}
	d.most = max(d.most, under)
	think := d.think
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.turns[q.Conversation]--
	}()
	return think(ctx, q)
}

// logbook is a log that tests read.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), line)
}

// unavailable is what the registry says when nobody could answer.
func unavailable(context.Context, providers.Request) (providers.Answer, error) {
	return providers.Answer{}, &providers.Error{Temporary: true}
}

// hang ignores the end of its turn.
func hang(release chan struct{}) func(context.Context, providers.Request) (providers.Answer, error) {
	return func(context.Context, providers.Request) (providers.Answer, error) {
		<-release
		return providers.Answer{Text: "too late"}, nil
	}
}

// pass lets the bubble's time go by, and what is due in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

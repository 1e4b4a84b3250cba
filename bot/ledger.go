package bot

import (
	"cmp"
	"container/list"
	"context"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"frontdesk/store"
)

// Limits of the send ledger.
const (
	usualRecipients    = 10_000          // remembered at once (L2)
	usualEntries       = 100             // of one recipient (L3)
	usualLedgerCleanup = 5 * time.Minute // between two cleanups (L4)
	usualRateWindow    = time.Minute     // that paces count in

	mostAccountEntries = 600         // of one account: the highest pace it may have
	sayAgain           = time.Minute // a limit that stays reached is logged this often
)

// pace is how many messages may leave in the rate window; 0: any number.
type pace struct{ account, recipient int }

// tries are what a ledger reads back. *store.Store is the real one.
type tries interface {
	Tries(ctx context.Context, account, conversation int64, window time.Duration) ([]store.Tried, error)
}

// ledger remembers what was sent to whom in the rate window, for all accounts of
// this process. What it does not remember it reads back before it lets anything
// leave: neither an eviction nor a restart raises a rate. Its methods may be
// called from any goroutine.
type ledger struct {
	store      tries
	log        *slog.Logger
	recipients int           // most recipients (L2)
	entries    int           // most entries of each (L3)
	every      time.Duration // between cleanups (L4)
	window     time.Duration
	began      time.Time

	mu       sync.Mutex
	known    map[int64]*list.Element // of used, by conversation; guarded by mu
	used     list.List               // of *recipient, least recently used first; guarded by mu
	accounts map[int64]*sends        // all that one account sent; guarded by mu
	count    int                     // entries of all recipients; guarded by mu
	evicted  time.Time               // a recipient was last forgotten; guarded by mu
	full     notice                  // guarded by mu
	long     notice                  // guarded by mu
}

// entry is one message sent, in 12 bytes: when, and a hash of its id, never its
// text (L5: at most 16).
type entry struct {
	at   uint32  // milliseconds since the ledger began; it may wrap around
	hash [8]byte // of the message's id
}

// sends are what one recipient got, or one account sent, oldest first.
type sends struct {
	entries []entry
	whole   bool // nothing of the window is missing
}

// recipient is one person in the eyes of one account: a conversation.
type recipient struct {
	conversation int64
	sends
}

// notice is a line that is logged once in sayAgain, with a count of the others.
type notice struct {
	next       time.Time
	suppressed int
}

func newLedger(o Options, log *slog.Logger) *ledger {
	return &ledger{
		store: o.Store, log: log,
		recipients: cmp.Or(o.LedgerRecipients, usualRecipients), entries: cmp.Or(o.LedgerEntries, usualEntries),
		every: cmp.Or(o.LedgerCleanup, usualLedgerCleanup), window: cmp.Or(o.RateWindow, usualRateWindow),
		began: time.Now(), known: map[int64]*list.Element{}, accounts: map[int64]*sends{},
	}
}

// run cleans up until ctx ends.
func (g *ledger) run(ctx context.Context) {
	tick := time.NewTicker(g.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.clean(ctx)
		}
	}
}

// clean forgets entries older than the window, and recipients without any (L4).
func (g *ledger) clean(ctx context.Context) {
	g.mu.Lock()
	before, people := g.count, len(g.known)
	for e := g.used.Front(); e != nil; {
		next := e.Next()
		r := recipientAt(e)
		g.count -= g.expire(&r.sends)
		if len(r.entries) == 0 {
			g.used.Remove(e)
			delete(g.known, r.conversation)
		}
		e = next
	}
	for account, r := range g.accounts {
		if g.expire(r); len(r.entries) == 0 {
			delete(g.accounts, account)
		}
	}
	entries, recipients := before-g.count, people-len(g.known)
	g.mu.Unlock()
	g.log.InfoContext(ctx, "Send ledger cleaned", slog.Int("entries", entries), slog.Int("recipients", recipients))
}

// forget is told that the account comes from another process, which may have sent.
func (g *ledger) forget(account int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.accounts, account)
}

// wait is how long nothing more may leave: from the account, and to that recipient.
// Zero for both: a message may be sent now. An error means that the ledger could
// not read what it does not know.
func (g *ledger) wait(ctx context.Context, account, conversation int64, p pace) (ofAccount, ofRecipient time.Duration, err error) {
	if p == (pace{}) {
		return 0, 0, nil
	}
	if err := g.recall(ctx, account, conversation); err != nil {
		return 0, 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ofAccount = g.left(g.account(account), p.account, mostAccountEntries)
	if e := g.known[conversation]; e != nil {
		ofRecipient = g.left(&recipientAt(e).sends, p.recipient, g.entries)
	}
	return ofAccount, ofRecipient, nil
}

// note counts a message; the same id again is the same message.
func (g *ledger) note(ctx context.Context, account, conversation int64, waID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteLocked(ctx, account, conversation, g.entry(waID, 0))
}

// recall reads back what the ledger does not know: all of an account that is new
// here, and a recipient that may have been evicted.
func (g *ledger) recall(ctx context.Context, account, conversation int64) error {
	g.mu.Lock()
	a := g.accounts[account]
	all := a == nil || !a.whole
	lost := g.recentlyEvicted()
	if e := g.known[conversation]; e != nil {
		lost = !recipientAt(e).whole
	}
	g.mu.Unlock()
	of := conversation
	switch {
	case all:
		of = 0
	case !lost:
		return nil
	}
	found, err := g.store.Tries(ctx, account, of, g.window)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range found {
		g.noteLocked(ctx, account, t.ConversationID, g.entry(t.WaID, t.Age))
	}
	if all {
		g.account(account).whole = true
	}
	if e := g.known[conversation]; e != nil {
		recipientAt(e).whole = true
	}
	return nil
}

func (g *ledger) recentlyEvicted() bool {
	return !g.evicted.IsZero() && time.Since(g.evicted) < g.window
}

func (g *ledger) noteLocked(ctx context.Context, account, conversation int64, e entry) {
	g.account(account).add(e, mostAccountEntries)
	added, dropped := g.recipient(ctx, conversation).add(e, g.entries)
	if added {
		g.count++
	}
	if dropped {
		g.count--
		if suppressed, now := g.long.due(); now {
			g.log.WarnContext(ctx, "Send ledger entry limit reached", slog.Int("limit", g.entries), slog.Int("suppressed", suppressed))
		}
	}
}

func (g *ledger) account(account int64) *sends {
	if g.accounts[account] == nil {
		g.accounts[account] = &sends{}
	}
	return g.accounts[account]
}

// recipient are the sends of a conversation, which is used now.
func (g *ledger) recipient(ctx context.Context, conversation int64) *sends {
	if e := g.known[conversation]; e != nil {
		g.used.MoveToBack(e)
		return &recipientAt(e).sends
	}
	if len(g.known) >= g.recipients {
		g.evict(ctx)
	}
	r := &recipient{conversation: conversation, sends: sends{whole: !g.recentlyEvicted()}}
	g.known[conversation] = g.used.PushBack(r)
	return &r.sends
}

// evict forgets the least recently used recipient (L2). What it got in the window is
// read back before it gets more.
func (g *ledger) evict(ctx context.Context) {
	oldest, recipients := g.used.Front(), len(g.known)
	r := recipientAt(oldest)
	g.count -= g.expire(&r.sends)
	if len(r.entries) > 0 {
		g.evicted = time.Now()
	}
	g.count -= len(r.entries)
	g.used.Remove(oldest)
	delete(g.known, r.conversation)
	if suppressed, now := g.full.due(); now {
		g.log.WarnContext(ctx, "Send ledger full, least recently used recipient evicted",
			slog.Int("recipients", recipients), slog.Int("limit", g.recipients), slog.Int("suppressed", suppressed))
	}
}

func recipientAt(e *list.Element) *recipient { return e.Value.(*recipient) } //nolint:forcetypeassert // the list holds nothing else

// left is how long until one more fits into the window. The pace cannot be higher
// than what the ledger remembers.
func (g *ledger) left(r *sends, pace, most int) time.Duration {
	n := min(pace, most)
	if n == 0 || len(r.entries) < n {
		return 0
	}
	return max(0, g.window-g.age(r.entries[len(r.entries)-n]))
}

// expire drops what is older than the window and says how many that were.
func (g *ledger) expire(r *sends) (n int) {
	for n < len(r.entries) && g.age(r.entries[n]) >= g.window {
		n++
	}
	r.entries = slices.Delete(r.entries, 0, n)
	return n
}

// age is right although the times may have wrapped around: the difference is small.
func (g *ledger) age(e entry) time.Duration {
	return time.Duration(int32(g.now()-e.at)) * time.Millisecond
}

func (g *ledger) now() uint32 { return uint32(time.Since(g.began).Milliseconds()) }

func (g *ledger) entry(waID string, age time.Duration) entry {
	e := entry{at: g.now() - uint32(age.Milliseconds())}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(waID))
	sum.Sum(e.hash[:0])
	return e
}

// add puts e in its place, unless it is there already; the oldest of more than most
// entries is dropped.
func (r *sends) add(e entry, most int) (added, dropped bool) {
	if slices.ContainsFunc(r.entries, func(other entry) bool { return other.hash == e.hash }) {
		return false, false
	}
	at := len(r.entries)
	for at > 0 && int32(e.at-r.entries[at-1].at) < 0 {
		at--
	}
	if len(r.entries) >= most {
		if at == 0 {
			return false, false // older than all that there is room for
		}
		r.entries, at, dropped = slices.Delete(r.entries, 0, 1), at-1, true
	}
	if len(r.entries) == cap(r.entries) {
		r.entries = append(make([]entry, 0, min(most, max(4, 2*len(r.entries)))), r.entries...)
	}
	r.entries = slices.Insert(r.entries, at, e)
	return true, dropped
}

// due says whether the line is to be logged now, and how often it was not.
func (n *notice) due() (suppressed int, due bool) {
	now := time.Now()
	if now.Before(n.next) {
		n.suppressed++
		return 0, false
	}
	suppressed = n.suppressed
	*n = notice{next: now.Add(sayAgain)}
	return suppressed, true
}

// stats are how many entries and recipients the ledger holds.
func (g *ledger) stats() (entries, recipients int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count, len(g.known)
}

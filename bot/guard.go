package bot

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// holdTime is the longest that one encryption may keep others from the sessions.
const holdTime = 10 * time.Second

// errHeldTooLong refuses to store a session that others may have changed since
// it was read.
var errHeldTooLong = errors.New("encryption took too long, its sessions may have changed")

// errFenced refuses to store a session for an account that another process owns
// by now.
var errFenced = errors.New("another process speaks for the account now")

// fence is the lease that sessions may be changed under.
type fence struct {
	account int64
	owner   string
}

// underLease is a row if the fence in $1 and $2 holds.
const underLease = `
	select from frontdesk.account_lease where account_id = $1 and owner = $2 and lease_until > frontdesk.clock()
	union all select where $1 = 0`

func (f *fence) args() (account int64, owner string) {
	if f == nil {
		return 0, ""
	}
	return f.account, f.owner
}

// fenced is errFenced when a statement under the lease did nothing.
func fenced(done sql.Result) error {
	n, err := done.RowsAffected()
	if err == nil && n == 0 {
		return errFenced
	}
	return err
}

// unavailableError says that storage failed while a message was decrypted. It
// passes for context.Canceled, the one error after which whatsmeow neither
// acknowledges the message nor asks its sender for another copy: WhatsApp keeps
// it and offers it again.
type unavailableError struct{ cause error }

func (e *unavailableError) Error() string        { return "storage is away: " + e.cause.Error() }
func (e *unavailableError) Is(target error) bool { return target == context.Canceled }
func (e *unavailableError) Unwrap() error        { return e.cause }

// guard lets one thing at a time change the Signal sessions of a linked device.
// whatsmeow itself may encrypt to a person while it decrypts from them; both read
// the same ratchet, one overwrites the other, and the customer's phone silently
// drops a message.
//
// It also notices failing storage: from then on nothing is decrypted for this
// link, because what came later must not be stored before what came first.
type guard struct {
	turn   chan struct{}          // whoever takes the token may change sessions
	broken atomic.Bool            // storage failed; a new link mends it
	broke  func()                 // called at each refusal
	fence  *fence                 // nil: sessions belong to nobody else
	events atomic.Pointer[events] // of the device; set by protect

	mu    sync.Mutex
	batch *hold            // of the message being encrypted for all its devices; guarded by mu
	loose map[string]*hold // of sessions read alone, by address; guarded by mu
}

func newGuard(broke func()) *guard {
	g := &guard{turn: make(chan struct{}, 1), broke: broke, loose: map[string]*hold{}}
	g.turn <- struct{}{}
	return g
}

// refuse marks storage as failing.
func (g *guard) refuse() {
	g.broken.Store(true)
	g.broke()
}

// tidy forgets the text of handled messages.
func (g *guard) tidy(ctx context.Context) {
	if e := g.events.Load(); e != nil {
		e.clear(ctx)
	}
}

// hold is the right to change sessions. It ends by release, or by itself.
type hold struct {
	guard    *guard
	once     sync.Once
	late     atomic.Bool // it ended by itself
	stopping []func() bool
}

// take waits for the right; it ends with ctx and after holdTime at the latest.
func (g *guard) take(ctx context.Context) (*hold, error) {
	select {
	case <-g.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h := &hold{guard: g}
	expire := func() { h.late.Store(true); h.release() }
	h.stopping = []func() bool{time.AfterFunc(holdTime, expire).Stop, context.AfterFunc(ctx, expire)}
	return h, nil
}

func (h *hold) release() {
	h.once.Do(func() { h.guard.turn <- struct{}{} })
}

// end releases the hold and says whether it was still ours.
func (h *hold) end() bool {
	for _, stop := range h.stopping {
		stop()
	}
	late := h.late.Load()
	h.release()
	return !late
}

// protect puts the guard around the stores of device.
func (g *guard) protect(device *store.Device, db *dbutil.Database) {
	device.Sessions = &sessions{SessionStore: device.Sessions, guard: g, db: db, owner: device.ID.String()}
	known := &identities{IdentityStore: device.Identities, known: map[string][32]byte{}}
	buffer := &events{EventBuffer: device.EventBuffer, guard: g, identities: known, db: db, owner: device.ID.String()}
	device.EventBuffer = buffer
	g.events.Store(buffer)
	device.Identities = known
	device.PreKeys = preKeys{device.PreKeys}
	device.PrivacyTokens = &tokens{PrivacyTokenStore: device.PrivacyTokens, known: map[types.JID]*store.PrivacyToken{}}
	device.NCTSalt = &salt{NCTSaltStore: device.NCTSalt}
}

// sessions is whatsmeow's session store behind the guard.
type sessions struct {
	store.SessionStore
	guard *guard
	db    *dbutil.Database
	owner string // the device, as whatsmeow's tables name it
}

// GetManySessions begins the encryption of a message; PutManySessions ends it.
func (s *sessions) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	h, err := s.guard.take(ctx)
	if err != nil {
		return nil, err
	}
	s.guard.mu.Lock()
	s.guard.batch = h
	s.guard.mu.Unlock()
	found, err := s.SessionStore.GetManySessions(ctx, addresses)
	if err != nil {
		h.end()
	}
	return found, err
}

// PutManySessions stores what an encryption made of its sessions, safe on disk
// before the message may leave.
func (s *sessions) PutManySessions(ctx context.Context, changed map[string][]byte) error {
	s.guard.mu.Lock()
	h := s.guard.batch
	s.guard.batch = nil
	s.guard.mu.Unlock()
	if h == nil || h.late.Load() {
		return errHeldTooLong
	}
	d := departing(ctx)
	if !d.reaches(changed) {
		h.end()
		return errNobody
	}
	err := s.flush(ctx, changed)
	if !h.end() && err == nil {
		return errHeldTooLong
	}
	if err == nil {
		d.leave()
	}
	return err
}

// GetSession outside a decryption begins a change that PutSession ends: retry
// receipts and messages to the own phone are encrypted so.
func (s *sessions) GetSession(ctx context.Context, address string) ([]byte, error) {
	if d := inside(ctx); d != nil {
		return d.session(ctx, s.SessionStore, address)
	}
	h, err := s.guard.take(ctx)
	if err != nil {
		return nil, err
	}
	s.guard.mu.Lock()
	s.guard.loose[address] = h
	s.guard.mu.Unlock()
	return s.SessionStore.GetSession(ctx, address)
}

// PutSession ends what GetSession began.
func (s *sessions) PutSession(ctx context.Context, address string, session []byte) error {
	if d := inside(ctx); d != nil {
		d.putSession(address, session)
		return nil
	}
	s.guard.mu.Lock()
	h := s.guard.loose[address]
	delete(s.guard.loose, address)
	s.guard.mu.Unlock()
	if h == nil || h.late.Load() {
		return errHeldTooLong
	}
	err := s.flush(ctx, map[string][]byte{address: session})
	h.end()
	return err
}

// HasSession in a decryption reads the session at once: it is wanted next.
func (s *sessions) HasSession(ctx context.Context, address string) (bool, error) {
	if d := inside(ctx); d != nil {
		found, err := d.session(ctx, s.SessionStore, address)
		return found != nil, err
	}
	found, err := s.SessionStore.HasSession(ctx, address)
	return found, watched(ctx, err)
}

func (s *sessions) DeleteSession(ctx context.Context, address string) error {
	if d := inside(ctx); d != nil {
		d.forgetSession(address)
	}
	return watched(ctx, s.SessionStore.DeleteSession(ctx, address))
}

// MigratePNToLID moves the sessions of a number to its LID.
func (s *sessions) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	if d := inside(ctx); d != nil {
		clear(d.before) // read again what moves
		return watched(ctx, s.SessionStore.MigratePNToLID(ctx, pn, lid))
	}
	h, err := s.guard.take(ctx)
	if err != nil {
		return err
	}
	defer h.end()
	if err := s.SessionStore.MigratePNToLID(ctx, pn, lid); err != nil {
		s.guard.refuse()
		return err
	}
	return nil
}

// flush stores sessions as whatsmeow does, but all in one statement, which is on
// disk when it returns; so is whatever was committed before it. A process that was
// frozen while others took the account over stores nothing: it would put their
// ratchets back.
func (s *sessions) flush(ctx context.Context, changed map[string][]byte) error {
	var addresses []string
	var records [][]byte
	for address, record := range changed {
		addresses, records = append(addresses, address), append(records, record)
	}
	account, owner := s.guard.fence.args()
	done, err := s.db.Exec(ctx, `
		with waiting as materialized (select set_config('synchronous_commit', 'on', true)),
		ours as (`+underLease+`)
		insert into whatsmeow_sessions (our_jid, their_id, session)
		select $3, changed.address, changed.record from waiting, ours, unnest($4::text[], $5::bytea[]) as changed (address, record)
		on conflict (our_jid, their_id) do update set session = excluded.session`,
		account, owner, s.owner, addresses, records)
	if err != nil || len(addresses) == 0 {
		return err
	}
	return fenced(done)
}

// mostKnown is how many identity keys are remembered; beyond, all are read anew.
const mostKnown = 10_000

// identities notices failing storage, and asks for a key only once: whatsmeow
// reads and writes it with every message.
type identities struct {
	store.IdentityStore

	mu    sync.Mutex
	known map[string][32]byte // keys that are stored, by address; guarded by mu
}

func (i *identities) knows(address string, key [32]byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	known, found := i.known[address]
	return found && known == key
}

func (i *identities) learn(address string, key [32]byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.known) >= mostKnown {
		clear(i.known)
	}
	i.known[address] = key
}

func (i *identities) learnAll(met map[string][32]byte) {
	for address, key := range met {
		i.learn(address, key)
	}
}

func (i *identities) forgetAll() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.known)
}

// PutIdentity remembers a key once it is stored for sure: a decryption stores it
// at its end.
func (i *identities) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	if i.knows(address, key) {
		return nil
	}
	if d := inside(ctx); d != nil {
		d.identities[address] = key
		return nil
	}
	err := i.IdentityStore.PutIdentity(ctx, address, key)
	if err == nil {
		i.learn(address, key)
	}
	return err
}

func (i *identities) DeleteIdentity(ctx context.Context, address string) error {
	defer i.forgetAll()
	if d := inside(ctx); d != nil {
		delete(d.identities, address)
	}
	return watched(ctx, i.IdentityStore.DeleteIdentity(ctx, address))
}

func (i *identities) DeleteAllIdentities(ctx context.Context, user string) error {
	defer i.forgetAll()
	if d := inside(ctx); d != nil {
		clear(d.identities) // all of one message are one person's
	}
	return watched(ctx, i.IdentityStore.DeleteAllIdentities(ctx, user))
}

func (i *identities) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	if i.knows(address, key) {
		return true, nil
	}
	if d := inside(ctx); d != nil {
		if met, ok := d.identities[address]; ok {
			return met == key, nil
		}
	}
	trusted, err := i.IdentityStore.IsTrustedIdentity(ctx, address, key)
	return trusted, watched(ctx, err)
}

// preKeys notices failing storage.
type preKeys struct{ store.PreKeyStore }

func (p preKeys) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	key, err := p.PreKeyStore.GetPreKey(ctx, id)
	return key, watched(ctx, err)
}

func (p preKeys) RemovePreKey(ctx context.Context, id uint32) error {
	if d := inside(ctx); d != nil {
		d.spent = append(d.spent, int64(id))
		return nil
	}
	return watched(ctx, p.PreKeyStore.RemovePreKey(ctx, id))
}

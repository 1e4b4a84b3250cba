package bot

import (
	"context"
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
// It also notices failing storage: from then on nothing is decrypted on this
// connection, because what came later must not be stored before what came first.
type guard struct {
	turn   chan struct{} // whoever takes the token may change sessions
	broken atomic.Bool   // storage failed; a new connection mends it
	breaks atomic.Int64  // times something was refused
	broke  func()        // called at each refusal
	fence  *fence        // nil: sessions belong to nobody else

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
	g.breaks.Add(1)
	g.broke()
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

// insideKey marks a context whose bearer holds the turn.
type insideKey struct{}

// inside is the decryption that ctx belongs to, or nil.
func inside(ctx context.Context) *decryption {
	d, _ := ctx.Value(insideKey{}).(*decryption)
	return d
}

// decryption is one message being decrypted.
type decryption struct {
	failed atomic.Bool       // storage failed on the way
	before map[string][]byte // sessions as they were, by address; used by its one goroutine
	asked  map[string]bool   // sessions read by HasSession that GetSession may take; the same
}

// read reads a session and remembers it as it was.
func (d *decryption) read(ctx context.Context, from store.SessionStore, address string) ([]byte, error) {
	found, err := from.GetSession(ctx, address)
	d.before[address] = found
	return found, watched(ctx, err)
}

// watched passes err on and remembers a storage failure during a decryption.
func watched(ctx context.Context, err error) error {
	if d := inside(ctx); d != nil && err != nil {
		d.failed.Store(true)
	}
	return err
}

// protect puts the guard around the stores of device.
func (g *guard) protect(device *store.Device, db *dbutil.Database) {
	device.Sessions = &sessions{SessionStore: device.Sessions, guard: g, db: db, owner: device.ID.String()}
	device.EventBuffer = &events{EventBuffer: device.EventBuffer, guard: g}
	device.Identities = &identities{IdentityStore: device.Identities, known: map[string][32]byte{}}
	device.PreKeys = preKeys{device.PreKeys}
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
	err := s.flush(ctx, changed)
	if !h.end() && err == nil {
		return errHeldTooLong
	}
	return err
}

// GetSession outside a decryption begins a change that PutSession ends: retry
// receipts and messages to the own phone are encrypted so.
func (s *sessions) GetSession(ctx context.Context, address string) ([]byte, error) {
	if d := inside(ctx); d != nil {
		if d.asked[address] {
			delete(d.asked, address)
			return d.before[address], nil
		}
		return d.read(ctx, s.SessionStore, address)
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
		return watched(ctx, s.SessionStore.PutSession(ctx, address, mended(d.before[address], session)))
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
		found, err := d.read(ctx, s.SessionStore, address)
		d.asked[address] = err == nil
		return found != nil, err
	}
	found, err := s.SessionStore.HasSession(ctx, address)
	return found, watched(ctx, err)
}

func (s *sessions) DeleteSession(ctx context.Context, address string) error {
	return watched(ctx, s.SessionStore.DeleteSession(ctx, address))
}

// MigratePNToLID moves the sessions of a number to its LID.
func (s *sessions) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	if inside(ctx) != nil {
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
	var account int64
	var owner string
	if f := s.guard.fence; f != nil {
		account, owner = f.account, f.owner
	}
	done, err := s.db.Exec(ctx, `
		with waiting as materialized (select set_config('synchronous_commit', 'on', true)),
		ours as (
		  select from frontdesk.account_lease where account_id = $4 and owner = $5 and lease_until > frontdesk.clock()
		  union all select where $4 = 0)
		insert into whatsmeow_sessions (our_jid, their_id, session)
		select $1, changed.address, changed.record from waiting, ours, unnest($2::text[], $3::bytea[]) as changed (address, record)
		on conflict (our_jid, their_id) do update set session = excluded.session`,
		s.owner, addresses, records, account, owner)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err == nil && n == 0 && len(addresses) > 0 {
		return errFenced
	}
	return nil
}

// events is whatsmeow's buffer of decrypted messages behind the guard.
type events struct {
	store.EventBuffer
	guard *guard
}

func (e *events) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	if e.guard.broken.Load() {
		return nil, e.refused(errors.New("an earlier message was not stored"))
	}
	found, err := e.EventBuffer.GetBufferedEvent(ctx, hash)
	if err != nil {
		return nil, e.refused(err)
	}
	return found, nil
}

// DoDecryptionTxn runs a decryption while nothing else changes sessions.
func (e *events) DoDecryptionTxn(ctx context.Context, decrypt func(context.Context) error) error {
	h, err := e.guard.take(ctx)
	if err != nil {
		return &unavailableError{err}
	}
	defer h.end()
	d, ran, failure := &decryption{before: map[string][]byte{}, asked: map[string]bool{}}, false, error(nil)
	err = e.EventBuffer.DoDecryptionTxn(context.WithValue(ctx, insideKey{}, d), func(ctx context.Context) error {
		failure, ran = decrypt(ctx), true
		return failure
	})
	storageFailed := err != nil && (d.failed.Load() || !ran || failure == nil)
	if storageFailed {
		return e.refused(err)
	}
	return err
}

func (e *events) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, at time.Time) error {
	return watched(ctx, e.EventBuffer.PutBufferedEvent(ctx, hash, plaintext, at))
}

func (e *events) refused(err error) error {
	e.guard.refuse()
	return &unavailableError{err}
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

func (i *identities) forgetAll() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.known)
}

// PutIdentity remembers a key once it is stored for sure: a decryption may still
// be undone.
func (i *identities) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	if i.knows(address, key) {
		return nil
	}
	err := i.IdentityStore.PutIdentity(ctx, address, key)
	if err == nil && inside(ctx) == nil {
		i.learn(address, key)
	}
	return watched(ctx, err)
}

func (i *identities) DeleteIdentity(ctx context.Context, address string) error {
	defer i.forgetAll()
	return watched(ctx, i.IdentityStore.DeleteIdentity(ctx, address))
}

func (i *identities) DeleteAllIdentities(ctx context.Context, user string) error {
	defer i.forgetAll()
	return watched(ctx, i.IdentityStore.DeleteAllIdentities(ctx, user))
}

func (i *identities) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	if i.knows(address, key) {
		return true, nil
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
	return watched(ctx, p.PreKeyStore.RemovePreKey(ctx, id))
}

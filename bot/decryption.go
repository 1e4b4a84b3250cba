package bot

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
)

// insideKey marks a context whose bearer holds the turn.
type insideKey struct{}

// inside is the decryption that ctx belongs to, or nil.
func inside(ctx context.Context) *decryption {
	d, _ := ctx.Value(insideKey{}).(*decryption)
	return d
}

// decryption is one message being decrypted. What it changes is kept here and
// stored at its end, in one statement or not at all: whatsmeow's own transaction
// takes five round trips for the same.
type decryption struct {
	failed     atomic.Bool         // storage failed on the way
	before     map[string][]byte   // sessions as they were read, by address
	sessions   map[string][]byte   // to store, by address
	identities map[string][32]byte // to store, by address
	spent      []int64             // one-time keys to remove
	event      *decrypted          // what came of it
}

// decrypted is the message as it waits for its handler.
type decrypted struct {
	hash      [32]byte
	plaintext []byte
	at        time.Time
}

func newDecryption() *decryption {
	return &decryption{before: map[string][]byte{}, sessions: map[string][]byte{}, identities: map[string][32]byte{}}
}

// session is a session as this decryption has made it so far. It is read once.
func (d *decryption) session(ctx context.Context, from store.SessionStore, address string) ([]byte, error) {
	if changed, ok := d.sessions[address]; ok {
		return changed, nil
	}
	if known, ok := d.before[address]; ok {
		return known, nil
	}
	found, err := from.GetSession(ctx, address)
	if err == nil {
		d.before[address] = found
	}
	return found, watched(ctx, err)
}

func (d *decryption) putSession(address string, session []byte) {
	d.sessions[address] = mended(d.before[address], session)
}

func (d *decryption) forgetSession(address string) {
	delete(d.sessions, address)
	d.before[address] = nil
}

// watched passes err on and remembers a storage failure during a decryption.
func watched(ctx context.Context, err error) error {
	if d := inside(ctx); d != nil && err != nil {
		d.failed.Store(true)
	}
	return err
}

// events is whatsmeow's buffer of decrypted messages behind the guard.
type events struct {
	store.EventBuffer
	guard      *guard
	identities *identities
	db         *dbutil.Database
	owner      string // the device, as whatsmeow's tables name it

	mu      sync.Mutex
	handled [][]byte // hashes of messages whose text may go; guarded by mu
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

// DoDecryptionTxn runs a decryption while nothing else changes sessions, and
// stores all that came of it.
func (e *events) DoDecryptionTxn(ctx context.Context, decrypt func(context.Context) error) error {
	h, err := e.guard.take(ctx)
	if err != nil {
		return &unavailableError{err}
	}
	defer h.end()
	d := newDecryption()
	err = decrypt(context.WithValue(ctx, insideKey{}, d))
	switch {
	case err != nil && d.failed.Load():
		return e.refused(err)
	case err != nil:
		return err
	case h.late.Load():
		return e.refused(errHeldTooLong)
	}
	if err := e.store(ctx, d); err != nil {
		return e.refused(err)
	}
	e.identities.learnAll(d.identities)
	return nil
}

func (e *events) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, at time.Time) error {
	if d := inside(ctx); d != nil {
		d.event = &decrypted{hash, plaintext, at}
		return nil
	}
	return e.EventBuffer.PutBufferedEvent(ctx, hash, plaintext, at)
}

// store writes what a decryption changed, as whatsmeow would. It needs no flush of
// its own: the message's own commit, which comes before the acknowledgement,
// flushes all that stands before it in the log.
func (e *events) store(ctx context.Context, d *decryption) error {
	if d.event == nil {
		return errors.New("a decryption ended without a message")
	}
	account, owner := e.guard.fence.args()
	var addresses, people []string
	var records, keys [][]byte
	for address, record := range d.sessions {
		addresses, records = append(addresses, address), append(records, record)
	}
	for address, key := range d.identities {
		people, keys = append(people, address), append(keys, key[:])
	}
	done, err := e.db.Exec(ctx, `
		with ours as (`+underLease+`),
		kept as (
		  insert into whatsmeow_sessions (our_jid, their_id, session)
		  select $3, changed.address, changed.record from ours, unnest($4::text[], $5::bytea[]) as changed (address, record)
		  on conflict (our_jid, their_id) do update set session = excluded.session),
		known as (
		  insert into whatsmeow_identity_keys (our_jid, their_id, identity)
		  select $3, met.address, met.key from ours, unnest($6::text[], $7::bytea[]) as met (address, key)
		  on conflict (our_jid, their_id) do update set identity = excluded.identity),
		spent as (
		  delete from whatsmeow_pre_keys using ours where jid = $3 and key_id = any($8::bigint[]))
		insert into whatsmeow_event_buffer (our_jid, ciphertext_hash, plaintext, server_timestamp, insert_timestamp)
		select $3, $9, $10, $11, $12 from ours`,
		account, owner, e.owner, addresses, records, people, keys, d.spent,
		d.event.hash[:], d.event.plaintext, d.event.at.Unix(), time.Now().UnixMilli())
	if err != nil {
		return err
	}
	return fenced(done)
}

// How handled messages lose their text.
const (
	clearTogether = 64
	mostHandled   = 1024 // that wait while the database is away; whatsmeow deletes the others after 14 days
)

// ClearBufferedEventPlaintext forgets the text of handled messages, many at once.
// A crash before that costs nothing: they are known by their ids.
func (e *events) ClearBufferedEventPlaintext(ctx context.Context, hash [32]byte) error {
	e.mu.Lock()
	if len(e.handled) < mostHandled {
		e.handled = append(e.handled, hash[:])
	}
	full := len(e.handled) >= clearTogether
	e.mu.Unlock()
	if full {
		e.clear(ctx)
	}
	return nil
}

// clear forgets the text of what was handled so far; what it cannot is tried with
// the next ones.
func (e *events) clear(ctx context.Context) {
	e.mu.Lock()
	handled := e.handled
	e.handled = nil
	e.mu.Unlock()
	if len(handled) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_, err := e.db.Exec(ctx, `
		update whatsmeow_event_buffer set plaintext = null where our_jid = $1 and ciphertext_hash = any($2::bytea[])`, e.owner, handled)
	if err != nil {
		e.mu.Lock()
		e.handled = append(handled, e.handled...)
		e.mu.Unlock()
	}
}

func (e *events) refused(err error) error {
	e.guard.refuse()
	return &unavailableError{err}
}

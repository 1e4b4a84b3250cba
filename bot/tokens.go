package bot

import (
	"context"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// tokens asks for a person's privacy token only once: whatsmeow reads it with every
// message it sends. Nobody else changes them, for the device is ours alone.
type tokens struct {
	store.PrivacyTokenStore

	mu    sync.Mutex
	known map[types.JID]*store.PrivacyToken // nil: there is none; guarded by mu
}

func (t *tokens) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if token, found := t.known[user]; found {
		return token, nil
	}
	token, err := t.PrivacyTokenStore.GetPrivacyToken(ctx, user) // under the lock: a change waits, and then forgets what was read
	if err != nil {
		return nil, err
	}
	if len(t.known) >= mostKnown {
		clear(t.known)
	}
	t.known[user] = token
	return token, nil
}

func (t *tokens) PutPrivacyTokens(ctx context.Context, changed ...store.PrivacyToken) error {
	defer t.forgetAll()
	return t.PrivacyTokenStore.PutPrivacyTokens(ctx, changed...)
}

func (t *tokens) DeleteExpiredPrivacyTokens(ctx context.Context, before time.Time) (int64, error) {
	defer t.forgetAll()
	return t.PrivacyTokenStore.DeleteExpiredPrivacyTokens(ctx, before)
}

func (t *tokens) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
}

// salt asks for the device's salt only once, for the same reason.
type salt struct {
	store.NCTSaltStore

	mu    sync.Mutex
	known bool   // guarded by mu
	value []byte // guarded by mu
}

func (s *salt) GetNCTSalt(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		return s.value, nil
	}
	value, err := s.NCTSaltStore.GetNCTSalt(ctx)
	s.known, s.value = err == nil, value
	return value, err
}

func (s *salt) PutNCTSalt(ctx context.Context, value []byte) error {
	defer s.forget()
	return s.NCTSaltStore.PutNCTSalt(ctx, value)
}

func (s *salt) DeleteNCTSalt(ctx context.Context) error {
	defer s.forget()
	return s.NCTSaltStore.DeleteNCTSalt(ctx)
}

func (s *salt) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.value = false, nil
}

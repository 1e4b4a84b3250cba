package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/jackc/pgx/v5"
)

// Pass is what somebody was let in with who stays: the hash of an API token, or of the
// cookie of a session. Its zero value is nobody's.
type Pass struct {
	Kind string // token or session
	Hash string // as its table has it, tokens in hex
}

// TokenPass is the pass of an API token.
func TokenPass(secret string) Pass { return Pass{"token", hex.EncodeToString(hashOf(secret))} }

// SessionPass is the pass of a session of the console, by its cookie. The hash is the
// one that scs makes.
func SessionPass(cookie string) Pass {
	sum := sha256.Sum256([]byte(cookie))
	return Pass{"session", base64.RawURLEncoding.EncodeToString(sum[:])}
}

// EndedPasses are those of passes that let nobody in any more: the token was removed or
// has expired, the session was signed out of or has expired.
func (s *Store) EndedPasses(ctx context.Context, passes []Pass) ([]Pass, error) {
	var kinds, hashes []string
	for _, p := range passes {
		kinds, hashes = append(kinds, p.Kind), append(hashes, p.Hash)
	}
	return many[Pass](ctx, s.pool, `
		select kind, hash from unnest(@kinds::text[], @hashes::text[]) as pass (kind, hash)
		where not case kind
		  when 'token' then exists (
		    select from token t where t.hash = decode(pass.hash, 'hex') and (t.expires_at is null or t.expires_at > clock()))
		  else exists (
		    select from sessions where token = pass.hash and expiry > now()) end`,
		pgx.NamedArgs{"kinds": kinds, "hashes": hashes})
}

package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
)

// Role is what the holder of a token or session may do.
type Role string

// The roles, strongest first (console.md).
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleAgent  Role = "agent"
	RoleViewer Role = "viewer"
)

// ErrNoEntry says that a token or link is unknown, used or expired.
var ErrNoEntry = errors.New("unknown or expired")

// AddToken creates an API token and returns its secret, which is kept only as a
// hash and so is shown this once.
func (s *Store) AddToken(ctx context.Context, name string, role Role) (secret string, err error) {
	secret = "fd_" + newSecret()
	_, err = s.pool.Exec(ctx, `insert into token (name, role, hash) values (@name, @role, @hash)`,
		pgx.NamedArgs{"name": name, "role": role, "hash": hashOf(secret)})
	return secret, err
}

// Bearer is who holds a token.
type Bearer struct {
	Name string
	Role Role
}

// Bearer is the holder of a live token; it also notes the use, at most once a
// minute. ErrNoEntry for any other secret.
func (s *Store) Bearer(ctx context.Context, secret string) (Bearer, error) {
	b, err := one[Bearer](ctx, s.pool, `
		with used as (
		  update token set last_used_at = clock()
		  where hash = @hash and (last_used_at is null or last_used_at < clock() - interval '1 minute'))
		select name, role from token where hash = @hash and (expires_at is null or expires_at > clock())`,
		pgx.NamedArgs{"hash": hashOf(secret)})
	if errors.Is(err, ErrNotFound) {
		return b, ErrNoEntry
	}
	return b, err
}

// AddSignInLink creates the secret of a link that signs in once within d.
func (s *Store) AddSignInLink(ctx context.Context, d time.Duration) (secret string, err error) {
	secret = newSecret()
	_, err = s.pool.Exec(ctx, `
		with old as (delete from sign_in_link where expires_at < clock()),
		gone as (delete from sessions where expiry < now())
		insert into sign_in_link (hash, expires_at) values (@hash, clock() + @valid::interval)`,
		pgx.NamedArgs{"hash": hashOf(secret), "valid": d})
	return secret, err
}

// UseSignInLink spends a link and returns its role; ErrNoEntry when it was spent
// before or has expired.
func (s *Store) UseSignInLink(ctx context.Context, secret string) (Role, error) {
	roles, err := column[Role](ctx, s.pool, `
		delete from sign_in_link where hash = @hash and expires_at > clock() returning role`,
		pgx.NamedArgs{"hash": hashOf(secret)})
	if err == nil && len(roles) == 0 {
		return "", ErrNoEntry
	}
	if err != nil {
		return "", err
	}
	return roles[0], nil
}

// Sessions is where the console's sessions live. Those that have expired go when
// the next sign-in link is made.
func (s *Store) Sessions() scs.Store { return pgxstore.NewWithCleanupInterval(s.pool, 0) }

func newSecret() string {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// hashOf needs no salt and no stretching: secrets have 256 bits of their own.
func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pairing is what a person needs to link an account: a code to scan, or one to
// type on the phone with the number Phone. Codes are empty until the account's
// owner has them. If the phone asks for a passkey, PasskeyRequest is what a
// browser is to sign, and PasskeyCode what the phone then shows as well.
type Pairing struct {
	Code           string
	ExpiresAt      time.Time
	Renewals       int
	WantedUntil    time.Time
	Fresh          bool // Code can be scanned now
	Phone          string
	TypedCode      string
	TypedExpiresAt time.Time
	TypedFresh     bool   // TypedCode can be typed now
	Problem        string // why the last try did not work

	PasskeyRequest   json.RawMessage
	PasskeyResponse  json.RawMessage
	PasskeyCode      string
	PasskeyConfirmed bool
}

const pairingColumns = `code, case when expires_at = '-infinity' then clock() else expires_at end as expires_at, renewals, wanted_until,
	expires_at > clock() as fresh, phone, typed_code, problem,
	case when typed_expires_at = '-infinity' then clock() else typed_expires_at end as typed_expires_at,
	typed_expires_at > clock() as typed_fresh, passkey_request, passkey_response, passkey_code, passkey_confirmed`

// WantPairing asks the account's owner for codes during the next d, and returns
// those of this moment.
func (s *Store) WantPairing(ctx context.Context, account int64, d time.Duration) (Pairing, error) {
	return one[Pairing](ctx, s.pool, `
		insert into pairing (account_id, wanted_until) values (@account, clock() + @wait::interval)
		on conflict (account_id) do update set wanted_until = excluded.wanted_until
		returning `+pairingColumns, pgx.NamedArgs{"account": account, "wait": d})
}

// WantTypedCode asks for a code to type on the phone with that number (digits).
// Another number than before forgets the former one's code.
func (s *Store) WantTypedCode(ctx context.Context, account int64, phone string, d time.Duration) (Pairing, error) {
	return one[Pairing](ctx, s.pool, `
		insert into pairing as p (account_id, wanted_until, phone) values (@account, clock() + @wait::interval, @phone)
		on conflict (account_id) do update set wanted_until = excluded.wanted_until, phone = excluded.phone,
		  problem = case when p.phone = excluded.phone then p.problem else '' end,
		  typed_code = case when p.phone = excluded.phone then p.typed_code else '' end,
		  typed_expires_at = case when p.phone = excluded.phone then p.typed_expires_at else '-infinity' end
		returning `+pairingColumns, pgx.NamedArgs{"account": account, "wait": d, "phone": phone})
}

// PairingNow is what is known of an account's pairing; ErrNotFound when nobody
// waits for one.
func (s *Store) PairingNow(ctx context.Context, account int64) (Pairing, error) {
	return one[Pairing](ctx, s.pool, `select `+pairingColumns+` from pairing where account_id = @account and wanted_until > clock()`,
		pgx.NamedArgs{"account": account})
}

// OfferPairing publishes a code to scan, good for the next d.
func (s *Store) OfferPairing(ctx context.Context, account int64, code string, d time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		update pairing set code = @code, expires_at = clock() + @valid::interval, renewals = renewals + 1 where account_id = @account`,
		pgx.NamedArgs{"account": account, "code": code, "valid": d})
	return err
}

// OfferTypedCode publishes a code to type, good for the next d.
func (s *Store) OfferTypedCode(ctx context.Context, account int64, code string, d time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		update pairing set typed_code = @code, typed_expires_at = clock() + @valid::interval, problem = '' where account_id = @account`,
		pgx.NamedArgs{"account": account, "code": code, "valid": d})
	return err
}

// PairingProblem says why a pairing does not go on. The number and passkey that
// led there are forgotten, so that people may try again.
func (s *Store) PairingProblem(ctx context.Context, account int64, problem string) error {
	_, err := s.pool.Exec(ctx, `
		update pairing set problem = @problem, phone = '', typed_code = '', typed_expires_at = '-infinity',
		  passkey_request = null, passkey_response = null, passkey_code = '', passkey_confirmed = false
		where account_id = @account`,
		pgx.NamedArgs{"account": account, "problem": problem})
	return err
}

// AskPasskey publishes what a browser is to sign with the owner's passkey.
func (s *Store) AskPasskey(ctx context.Context, account int64, request []byte) error {
	_, err := s.pool.Exec(ctx, `
		update pairing set passkey_request = @request::jsonb, passkey_response = null, passkey_code = '', passkey_confirmed = false
		where account_id = @account`, pgx.NamedArgs{"account": account, "request": string(request)})
	return err
}

// AnswerPasskey hands the browser's signature to the account's owner.
func (s *Store) AnswerPasskey(ctx context.Context, account int64, response []byte) error {
	return s.changePairing(ctx, `update pairing set passkey_response = @response::jsonb where account_id = @account and passkey_request is not null`,
		pgx.NamedArgs{"account": account, "response": string(response)})
}

// ShowPasskeyCode publishes the code that the phone shows as well.
func (s *Store) ShowPasskeyCode(ctx context.Context, account int64, code string) error {
	return s.changePairing(ctx, `update pairing set passkey_code = @code where account_id = @account`,
		pgx.NamedArgs{"account": account, "code": code})
}

// ConfirmPasskey says that a person has seen the same code on the phone.
func (s *Store) ConfirmPasskey(ctx context.Context, account int64) error {
	return s.changePairing(ctx, `update pairing set passkey_confirmed = true where account_id = @account and passkey_code <> ''`,
		pgx.NamedArgs{"account": account})
}

func (s *Store) changePairing(ctx context.Context, statement string, args pgx.NamedArgs) error {
	done, err := s.pool.Exec(ctx, statement, args)
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// EndPairing withdraws the codes: somebody cancelled, or nobody waits any more.
func (s *Store) EndPairing(ctx context.Context, account int64) error {
	_, err := s.pool.Exec(ctx, `delete from pairing where account_id = @account`, pgx.NamedArgs{"account": account})
	return err
}

// PairingLink lets somebody without a sign-in pair one account.
type PairingLink struct {
	ID        int64
	AccountID int64
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// AddPairingLink makes a link that is good for d, or until the account is linked.
// The secret is shown this once.
func (s *Store) AddPairingLink(ctx context.Context, account int64, by string, d time.Duration) (l PairingLink, secret string, err error) {
	secret = newSecret()
	l, err = one[PairingLink](ctx, s.pool, `
		insert into pairing_link (account_id, hash, created_by, expires_at) values (@account, @hash, @by, clock() + @valid::interval)
		returning id, account_id, created_by, created_at, expires_at`,
		pgx.NamedArgs{"account": account, "hash": hashOf(secret), "by": by, "valid": d})
	return l, secret, err
}

// PairingLinkOf is the link with that secret; ErrNotFound when it has expired or
// was withdrawn.
func (s *Store) PairingLinkOf(ctx context.Context, secret string) (PairingLink, error) {
	return one[PairingLink](ctx, s.pool, `
		select id, account_id, created_by, created_at, expires_at from pairing_link
		where hash = @hash and expires_at > clock() and ended_at is null`, pgx.NamedArgs{"hash": hashOf(secret)})
}

// PairingLinks are the account's links that are still good.
func (s *Store) PairingLinks(ctx context.Context, account int64) ([]PairingLink, error) {
	return many[PairingLink](ctx, s.pool, `
		select id, account_id, created_by, created_at, expires_at from pairing_link
		where account_id = @account and expires_at > clock() and ended_at is null order by id`, pgx.NamedArgs{"account": account})
}

// EndPairingLinks withdraws every link of an account.
func (s *Store) EndPairingLinks(ctx context.Context, account int64) error {
	_, err := s.pool.Exec(ctx, `update pairing_link set ended_at = clock() where account_id = @account and ended_at is null`,
		pgx.NamedArgs{"account": account})
	return err
}

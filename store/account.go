package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Status is what an account is doing, in the words people read.
type Status string

// The statuses of an account (interfaces.md).
const (
	StatusNew          Status = "new"          // never paired
	StatusPairing      Status = "pairing"      // a code waits to be scanned
	StatusConnecting   Status = "connecting"   // first connection under way
	StatusConnected    Status = "connected"    // messages flow
	StatusReconnecting Status = "reconnecting" // lost, coming back by itself
	StatusLoggedOut    Status = "logged_out"   // the phone removed us
	StatusRestricted   Status = "restricted"   // WhatsApp limits it for a time
	StatusOutdated     Status = "outdated"     // WhatsApp wants a newer client
	StatusStopped      Status = "stopped"      // disconnected by a person
	StatusFailed       Status = "failed"       // needs a person
)

// Wanted is what people asked of an account; the process that holds it obeys.
type Wanted string

// What may be wanted of an account.
const (
	WantRun    Wanted = "run"
	WantStop   Wanted = "stop"
	WantLogout Wanted = "logout"
	WantDelete Wanted = "delete"
)

// Kinds of account, and of the processes that hold them.
const (
	KindWhatsApp = "whatsapp"
	KindSandbox  = "sandbox"
)

// Account is one WhatsApp identity. JID is empty until it is paired.
type Account struct {
	ID           int64
	Kind         string
	Name         string
	Wanted       Wanted
	JID          *string `db:"jid"`
	Phone        *string
	LID          *string `db:"lid"`
	Status       Status
	StatusCause  string
	StatusSince  time.Time
	Paused       bool
	Persona      string
	DebounceMs   int
	Presence     bool
	Fallback     string
	FallbackText string
	ProviderPool string // only AI providers of this pool answer; "": all
	CreatedAt    time.Time

	ProgressAt      *time.Time // WhatsApp's last sign of life
	Restriction     Restriction
	RestrictedUntil *time.Time
	Proxy           []byte `json:"-"` // sealed; OpenProxy opens it
	ProxyHint       string // the proxy without its password; "": none
	CallText        string // the answer to calls, which are rejected then

	PaceAccount    int        // most messages in the rate window; 0: no limit
	PaceRecipient  int        // the same, to one person
	NewChatsPerDay *int       // most chats to begin in 24 hours; nil: the usual number for its age
	PairedAt       *time.Time // with its present device

	Language        string         // of our own sentences to customers, two letters
	Disclosure      *string        // opens the first answer of a session; nil: the usual words, "": none
	TakeoverMinutes int            // after which the bot has a conversation again; 0: never
	HandoffWords    []string       // a message with one of them goes to people
	HandoffText     *string        // told to the customer then; nil: the usual words, "": nothing
	Hours           map[string]any // see conversation.Hours; empty: always open
	AnswersLimit    int            // of the bot in ten minutes and chat; 0: any number
	SpendDay        *int64         // micros a day for all conversations; nil: any amount
	SpendContactDay *int64         // the same, for each
	Answering       Answering      // who sends what the bot has to say
}

// Answering says who sends what the bot has to say.
type Answering string

// Who may send.
const (
	AnsweringLive    Answering = "live"    // the bot
	AnsweringApprove Answering = "approve" // a person, for the bot
	AnsweringShadow  Answering = "shadow"  // nobody: people compare it with what they write themselves
)

// Paired says whether a phone is linked.
func (a Account) Paired() bool { return a.JID != nil }

// Debounce is how long a customer's message waits for a next one.
func (a Account) Debounce() time.Duration { return time.Duration(a.DebounceMs) * time.Millisecond }

// accountColumns read an account. One that is meant to be connected but that no
// process holds says so, whatever its last process wrote.
const accountColumns = `id, kind, name, wanted, jid, phone, lid, status_since, paused, persona,
	debounce_ms, presence, fallback, fallback_text, provider_pool, created_at, progress_at, restriction, restricted_until, proxy, proxy_hint, call_text,
	pace_account, pace_recipient, new_chats_per_day, paired_at,
	language, disclosure, takeover_minutes, handoff_words, handoff_text, hours, answers_limit, spend_day, spend_contact_day, answering,
	case when ` + orphaned + ` then 'reconnecting' else status end as status,
	case when ` + orphaned + ` then 'Waiting for a place: no process holds this account at the moment' else status_cause end as status_cause`

const orphaned = `status in ('connected', 'connecting', 'reconnecting', 'pairing') and wanted = 'run' and not exists (
	select from account_lease l where l.account_id = account.id and l.lease_until > clock())`

// LimitError refuses an account beyond the limit (L1).
type LimitError struct{ Limit int }

func (e *LimitError) Error() string {
	return fmt.Sprintf("Cannot initialize account: instance limit (%d) reached", e.Limit)
}

// accountLock serialises the counting of accounts: "fd" and a number of our own.
const accountLock = 0x6664_0002

// AddAccount creates an account that waits to be paired, with the usual pace; in the
// sandbox nobody is hurt by haste. Beyond perProcess accounts for each live process
// it returns a *LimitError and changes nothing.
func (s *Store) AddAccount(ctx context.Context, kind, name string, perProcess int) (Account, error) {
	var a Account
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.lockPlaces(ctx, tx, kind, perProcess); err != nil {
			return err
		}
		var err error
		a, err = one[Account](ctx, tx, `
			insert into account (kind, name, pace_account, pace_recipient)
			values (@kind, @name, case @kind when 'sandbox' then 0 else 20 end, case @kind when 'sandbox' then 0 else 6 end)
			returning `+accountColumns, pgx.NamedArgs{"kind": kind, "name": name})
		return err
	})
	return a, err
}

// lockPlaces holds the right to enable one more account until tx ends.
func (s *Store) lockPlaces(ctx context.Context, tx pgx.Tx, kind string, perProcess int) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, accountLock); err != nil {
		return err
	}
	var enabled, limit int
	err := tx.QueryRow(ctx, `
		select (select count(*) from account where kind = @kind and enabled),
		       @per * greatest(1, (select count(*) from process where kind = @kind and seen_at > clock() - interval '12 seconds'))`,
		pgx.NamedArgs{"kind": kind, "per": perProcess}).Scan(&enabled, &limit)
	if err != nil {
		return err
	}
	size, most := slog.Int("current_size", enabled), slog.Int("limit", limit)
	switch {
	case enabled >= limit:
		s.log.ErrorContext(ctx, "Instance limit reached", size, most)
		return &LimitError{Limit: limit}
	case (enabled+1)*10 >= limit*9:
		s.log.WarnContext(ctx, "Instance limit near", slog.Int("current_size", enabled+1), most)
	}
	return nil
}

// Accounts are all accounts, oldest first.
func (s *Store) Accounts(ctx context.Context) ([]Account, error) {
	return many[Account](ctx, s.pool, `select `+accountColumns+` from account order by id`, nil)
}

// Account is one account, or ErrNotFound.
func (s *Store) Account(ctx context.Context, id int64) (Account, error) {
	return one[Account](ctx, s.pool, `select `+accountColumns+` from account where id = @id`, pgx.NamedArgs{"id": id})
}

// AccountChange is what an admin may change; nil leaves a field as it is.
type AccountChange struct {
	Name         *string
	Paused       *bool
	Persona      *string
	DebounceMs   *int
	Presence     *bool
	Fallback     *string
	FallbackText *string
	CallText     *string
	ProviderPool *string

	PaceAccount    *int
	PaceRecipient  *int
	NewChatsPerDay *int // -1: the usual number

	Language        *string
	Disclosure      *string // UsualWords: those of its language
	TakeoverMinutes *int
	HandoffWords    *[]string
	HandoffText     *string        // UsualWords: those of its language
	Hours           map[string]any // nil: as they are
	AnswersLimit    *int
	SpendDay        *int64 // -1: any amount
	SpendContactDay *int64 // -1: any amount
	Answering       *Answering
}

// UsualWords stands for the sentence of the account's language.
const UsualWords = "(usual)"

// ChangeAccount changes the given fields.
func (s *Store) ChangeAccount(ctx context.Context, id int64, c AccountChange) (Account, error) {
	return one[Account](ctx, s.pool, `
		update account set
		  name = coalesce(@name, name),
		  paused = coalesce(@paused, paused),
		  persona = coalesce(@persona, persona),
		  debounce_ms = coalesce(@debounce, debounce_ms),
		  presence = coalesce(@presence, presence),
		  fallback = coalesce(@fallback, fallback),
		  fallback_text = coalesce(@text, fallback_text),
		  call_text = coalesce(@call, call_text),
		  provider_pool = coalesce(@pool, provider_pool),
		  pace_account = coalesce(@pace_account, pace_account),
		  pace_recipient = coalesce(@pace_recipient, pace_recipient),
		  new_chats_per_day = nullif(coalesce(@new_chats, new_chats_per_day), -1),
		  language = coalesce(@language, language),
		  disclosure = nullif(coalesce(@disclosure, disclosure), @usual),
		  takeover_minutes = coalesce(@takeover, takeover_minutes),
		  handoff_words = coalesce(@words, handoff_words),
		  handoff_text = nullif(coalesce(@handoff, handoff_text), @usual),
		  hours = coalesce(@hours::jsonb, hours),
		  answers_limit = coalesce(@answers, answers_limit),
		  spend_day = nullif(coalesce(@spend, spend_day), -1),
		  spend_contact_day = nullif(coalesce(@spend_contact, spend_contact_day), -1),
		  answering = coalesce(@answering, answering)
		where id = @id
		returning `+accountColumns, pgx.NamedArgs{
		"id": id, "name": c.Name, "paused": c.Paused, "persona": c.Persona, "debounce": c.DebounceMs,
		"presence": c.Presence, "fallback": c.Fallback, "text": c.FallbackText, "call": c.CallText, "pool": c.ProviderPool,
		"pace_account": c.PaceAccount, "pace_recipient": c.PaceRecipient, "new_chats": c.NewChatsPerDay,
		"language": c.Language, "disclosure": c.Disclosure, "takeover": c.TakeoverMinutes, "words": c.HandoffWords, "handoff": c.HandoffText,
		"usual": UsualWords, "hours": c.Hours, "answers": c.AnswersLimit, "spend": c.SpendDay, "spend_contact": c.SpendContactDay, "answering": c.Answering,
	})
}

// Want records what a person asked of an account and rings for its owner.
// Enabling one beyond the limit returns a *LimitError.
func (s *Store) Want(ctx context.Context, id int64, w Wanted, perProcess int) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		a, err := one[Account](ctx, tx, `select `+accountColumns+` from account where id = @id`, pgx.NamedArgs{"id": id})
		if err != nil {
			return err
		}
		if a.Wanted == WantStop && w != WantStop {
			if err := s.lockPlaces(ctx, tx, a.Kind, perProcess); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `
			update account set wanted = @wanted, status = case
			  when @wanted = 'stop' and not exists (
			    select from account_lease where account_id = @id and lease_until > clock()) then 'stopped' else status end
			where id = @id`, pgx.NamedArgs{"id": id, "wanted": w})
		return err
	})
}

// ErrPairedElsewhere says that the scanned phone already runs as another account.
var ErrPairedElsewhere = errors.New("this phone is already linked to another account here")

// SetIdentity records the phone that an account was paired with.
func (s *Store) SetIdentity(ctx context.Context, id int64, jid, phone, lid string) error {
	_, err := s.pool.Exec(ctx, `
		with done as (delete from pairing where account_id = @id)
		update account set jid = @jid, phone = @phone, lid = nullif(@lid, ''),
		  paired_at = case when jid is distinct from @jid then clock() else paired_at end
		where id = @id`,
		pgx.NamedArgs{"id": id, "jid": jid, "phone": phone, "lid": lid})
	if breaks(err, "account_jid_key") || breaks(err, "account_phone_key") {
		return ErrPairedElsewhere
	}
	return err
}

// ClearIdentity forgets the linked phone; conversations stay.
func (s *Store) ClearIdentity(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, `
		update account set jid = null, restriction = '', restricted_until = null, wanted = case wanted when 'logout' then 'run' else wanted end where id = @id`,
		pgx.NamedArgs{"id": id})
	return err
}

// DeleteAccount forgets an account with its conversations. Only its owner calls
// it, after the socket is closed.
func (s *Store) DeleteAccount(ctx context.Context, id int64) error {
	_, err := s.pool.Exec(ctx, `delete from account where id = @id`, pgx.NamedArgs{"id": id})
	return err
}

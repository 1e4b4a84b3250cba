package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"frontdesk/conversation"
	"frontdesk/store"
)

// Account is a WhatsApp account as the API tells it.
type Account struct {
	ID           int64     `json:"id"`
	Kind         string    `json:"kind" enum:"whatsapp,sandbox"`
	Name         string    `json:"name"`
	Status       string    `json:"status" enum:"new,pairing,connecting,connected,reconnecting,logged_out,restricted,outdated,stopped,failed"`
	Cause        string    `json:"cause,omitempty" doc:"Why it has this status"`
	NextStep     string    `json:"next_step,omitempty" doc:"What a person can do about it"`
	Since        time.Time `json:"since"`
	Phone        string    `json:"phone,omitempty"`
	LID          string    `json:"lid,omitempty"`
	Paused       bool      `json:"paused" doc:"True: the bot stays silent"`
	Persona      string    `json:"persona" doc:"Who the bot is and what it knows"`
	DebounceMs   int       `json:"debounce_ms"`
	Presence     bool      `json:"presence"`
	Fallback     string    `json:"fallback" enum:"silent,text,later,handoff" doc:"What happens when no provider can answer"`
	FallbackText string    `json:"fallback_text"`
	CreatedAt    time.Time `json:"created_at"`

	ProgressAt      *time.Time `json:"progress_at,omitempty" doc:"WhatsApp's last sign of life"`
	Restriction     string     `json:"restriction,omitempty" enum:"new_chats,all" doc:"What WhatsApp does not let this account do"`
	RestrictedUntil *time.Time `json:"restricted_until,omitempty"`
	Proxy           string     `json:"proxy,omitempty" doc:"The way to WhatsApp, without its password"`
	CallText        string     `json:"call_text" doc:"Calls are rejected and answered with this text; empty: they ring"`
	ProviderPool    string     `json:"provider_pool,omitempty" doc:"Only AI providers of this pool answer; empty: all"`

	PaceAccount    int        `json:"pace_account" doc:"Most messages a minute; 0: no limit"`
	PaceRecipient  int        `json:"pace_recipient" doc:"Most messages a minute to one person; 0: no limit"`
	NewChatsPerDay *int       `json:"new_chats_per_day,omitempty" doc:"Most chats to begin in 24 hours; none: 10 in the first 14 days after pairing, then 50"`
	PairedAt       *time.Time `json:"paired_at,omitempty"`

	Language        string         `json:"language" doc:"Of our own sentences to customers, two letters"`
	Disclosure      *string        `json:"disclosure,omitempty" doc:"Opens the first answer of a session; missing: the usual words, empty: none"`
	TakeoverMinutes int            `json:"takeover_minutes" doc:"After which the bot has a conversation again; 0: when somebody gives it back"`
	HandoffWords    []string       `json:"handoff_words" doc:"A message with one of them goes to people"`
	HandoffText     *string        `json:"handoff_text,omitempty" doc:"Told to the customer then; missing: the usual words, empty: nothing"`
	Hours           map[string]any `json:"hours" doc:"{\"zone\", \"week\": {\"mon\": [\"09:00-17:30\"]}, \"closed\": [\"12-25\"], \"when\": \"answer, text or silent\", \"text\"}; empty: always open"`
	AnswersLimit    int            `json:"answers_limit" doc:"Of the bot in ten minutes and chat; 0: any number, and nobody looks for machines that talk to it"`
	SpendDay        *int64         `json:"spend_day,omitempty" doc:"Millionths of the currency of the prices that all conversations may cost in a day; missing: any amount"`
	SpendContactDay *int64         `json:"spend_contact_day,omitempty" doc:"The same, for each conversation"`

	Answering store.Answering `json:"answering" enum:"live,approve,shadow" doc:"live: the bot sends its answers; approve: a person sends or edits its drafts; shadow: they are drafts only"`
}

func accountOf(a store.Account) Account {
	return Account{
		ID: a.ID, Kind: a.Kind, Name: a.Name, Status: string(a.Status), Cause: a.StatusCause, NextStep: nextStep(a), Since: a.StatusSince,
		Phone: value(a.Phone), LID: value(a.LID), Paused: a.Paused, Persona: a.Persona, DebounceMs: a.DebounceMs, Presence: a.Presence,
		Fallback: a.Fallback, FallbackText: a.FallbackText, CreatedAt: a.CreatedAt, ProgressAt: a.ProgressAt,
		Restriction: string(a.Restriction), RestrictedUntil: a.RestrictedUntil, Proxy: a.ProxyHint, CallText: a.CallText, ProviderPool: a.ProviderPool,
		PaceAccount: a.PaceAccount, PaceRecipient: a.PaceRecipient, NewChatsPerDay: a.NewChatsPerDay, PairedAt: a.PairedAt,
		Language: a.Language, Disclosure: a.Disclosure, TakeoverMinutes: a.TakeoverMinutes, HandoffWords: a.HandoffWords, HandoffText: a.HandoffText,
		Hours: a.Hours, AnswersLimit: a.AnswersLimit, SpendDay: a.SpendDay, SpendContactDay: a.SpendContactDay,
		Answering: a.Answering,
	}
}

// nextStep is what a person can do for an account that does not simply work.
func nextStep(a store.Account) string {
	switch a.Status {
	case store.StatusNew, store.StatusLoggedOut:
		return "Show its code and scan it with the phone: WhatsApp, Linked devices, Link a device"
	case store.StatusPairing:
		return "Scan the code with the phone: WhatsApp, Linked devices, Link a device"
	case store.StatusConnecting, store.StatusReconnecting:
		return "Wait; it comes back by itself"
	case store.StatusRestricted:
		if a.Restriction == store.NoNewChats {
			return "Customers in running chats are answered; wait with new chats until then"
		}
		return "Wait until the ban ends; frontdesk connects again by itself then"
	case store.StatusOutdated:
		return "Upgrade frontdesk if this lasts longer than an hour"
	case store.StatusStopped:
		return "Connect it when it shall answer again"
	case store.StatusFailed:
		return "Check this machine's way to the internet with: frontdesk doctor"
	case store.StatusConnected:
	}
	return ""
}

func (s *Server) listAccounts(ctx context.Context, _ *struct{}) (*list[Account], error) {
	found, err := s.store.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	items := make([]Account, len(found))
	for i, a := range found {
		items[i] = accountOf(a)
	}
	return listOf(items, ""), nil
}

type newAccount struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100" doc:"What people of the house call it"`
		Kind string `json:"kind,omitempty" enum:"whatsapp,sandbox" default:"whatsapp"`
	}
}

func (s *Server) addAccount(ctx context.Context, in *newAccount) (*one[Account], error) {
	if in.Body.Kind == store.KindSandbox && s.sandbox == nil {
		return nil, problem(http.StatusConflict, "no_sandbox", "There is no sandbox here; start frontdesk with FRONTDESK_SANDBOX=on")
	}
	a, err := s.store.AddAccount(ctx, in.Body.Kind, strings.TrimSpace(in.Body.Name), s.o.AccountsPerProcess)
	if err != nil {
		return nil, err
	}
	return &one[Account]{accountOf(a)}, nil
}

func (s *Server) readAccount(ctx context.Context, in *ByID) (*one[Account], error) {
	a, err := s.store.Account(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &one[Account]{accountOf(a)}, nil
}

type changedAccount struct {
	ByID

	Body struct {
		Name         *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Paused       *bool   `json:"paused,omitempty"`
		Persona      *string `json:"persona,omitempty" maxLength:"20000"`
		DebounceMs   *int    `json:"debounce_ms,omitempty" minimum:"0" maximum:"10000"`
		Presence     *bool   `json:"presence,omitempty"`
		Fallback     *string `json:"fallback,omitempty" enum:"silent,text,later,handoff"`
		FallbackText *string `json:"fallback_text,omitempty" maxLength:"2000"`
		CallText     *string `json:"call_text,omitempty" maxLength:"1000" doc:"Calls are rejected and answered with this text; empty: they ring"`
		ProviderPool *string `json:"provider_pool,omitempty" maxLength:"100" doc:"Only AI providers of this pool answer; empty: all"`

		PaceAccount    *int `json:"pace_account,omitempty" minimum:"0" maximum:"600" doc:"Most messages a minute; 0: no limit"`
		PaceRecipient  *int `json:"pace_recipient,omitempty" minimum:"0" maximum:"100" doc:"Most messages a minute to one person; 0: no limit"`
		NewChatsPerDay *int `json:"new_chats_per_day,omitempty" minimum:"-1" maximum:"10000" doc:"Most chats to begin in 24 hours, 0 none; -1: the usual number, 10 in the first 14 days after pairing, then 50"`

		Language        *string        `json:"language,omitempty" pattern:"^[a-z]{2}$" doc:"Of our own sentences to customers: en, es, de, fr, pt or it; others get English"`
		Disclosure      *string        `json:"disclosure,omitempty" maxLength:"500" doc:"\"(usual)\": the usual words, empty: none"`
		TakeoverMinutes *int           `json:"takeover_minutes,omitempty" minimum:"0" maximum:"43200"`
		HandoffWords    *[]string      `json:"handoff_words,omitempty" maxItems:"50"`
		HandoffText     *string        `json:"handoff_text,omitempty" maxLength:"1000" doc:"\"(usual)\": the usual words, empty: nothing"`
		Hours           map[string]any `json:"hours,omitempty" doc:"{}: always open"`
		AnswersLimit    *int           `json:"answers_limit,omitempty" minimum:"0" maximum:"1000"`
		SpendDay        *int64         `json:"spend_day,omitempty" minimum:"-1" doc:"-1: any amount"`
		SpendContactDay *int64         `json:"spend_contact_day,omitempty" minimum:"-1" doc:"-1: any amount"`

		Answering *store.Answering `json:"answering,omitempty" enum:"live,approve,shadow"`
	}
}

func (s *Server) changeAccount(ctx context.Context, in *changedAccount) (*one[Account], error) {
	if in.Body.Hours != nil {
		if err := checkHours(in.Body.Hours); err != nil {
			return nil, err
		}
	}
	a, err := s.store.ChangeAccount(ctx, in.ID, store.AccountChange(in.Body))
	if err != nil {
		return nil, err
	}
	return &one[Account]{accountOf(a)}, nil
}

// checkHours says what is wrong with an account's hours.
func checkHours(hours map[string]any) error {
	data, err := json.Marshal(hours)
	if err == nil {
		_, err = conversation.ReadHours(data)
	}
	if err != nil {
		return problem(http.StatusUnprocessableEntity, "bad_hours", err.Error())
	}
	return nil
}

type newProxy struct {
	ByID

	Body struct {
		URL string `json:"url" maxLength:"500" doc:"http://user:password@host:port or socks5://host:port; empty: the direct way" writeOnly:"true"`
	}
}

// setProxy changes the way to WhatsApp; the account connects anew, through the
// proxy or not at all.
func (s *Server) setProxy(ctx context.Context, in *newProxy) (*one[Account], error) {
	if err := s.store.SetProxy(ctx, in.ID, strings.TrimSpace(in.Body.URL)); err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "account.proxy", accountSubject(in.ID), nil); err != nil {
		return nil, err
	}
	return s.readAccount(ctx, &in.ByID)
}

func (s *Server) removeAccount(ctx context.Context, in *ByID) (*struct{}, error) {
	_, err := s.want(ctx, in.ID, store.WantDelete)
	return nil, err
}

func (s *Server) connectAccount(ctx context.Context, in *ByID) (*one[Account], error) {
	return s.want(ctx, in.ID, store.WantRun)
}

func (s *Server) disconnectAccount(ctx context.Context, in *ByID) (*one[Account], error) {
	return s.want(ctx, in.ID, store.WantStop)
}

func (s *Server) logOutAccount(ctx context.Context, in *ByID) (*one[Account], error) {
	return s.want(ctx, in.ID, store.WantLogout)
}

// want notes what people want of an account; the process that holds it obeys.
func (s *Server) want(ctx context.Context, id int64, w store.Wanted) (*one[Account], error) {
	if err := s.store.Want(ctx, id, w, s.o.AccountsPerProcess); err != nil {
		return nil, err
	}
	if err := s.store.Audit(ctx, asker(ctx), "account."+string(w), accountSubject(id), nil); err != nil {
		return nil, err
	}
	return s.readAccount(ctx, &ByID{id})
}

func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

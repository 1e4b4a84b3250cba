package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Contact is one person. Phone and LID are bare (digits, without a server); each
// may be unknown.
type Contact struct {
	ID         int64
	Phone      *string
	LID        *string `db:"lid"`
	Username   *string
	Name       string
	MergedInto *int64 // it turned out to be this person
	Attributes map[string]string
	Tags       []string
	CreatedAt  time.Time
}

const contactColumns = `id, phone, lid, username, name, merged_into, attributes, tags, created_at`

// ErrNoAddress says that a contact was asked for with neither number nor LID.
var ErrNoAddress = errors.New("neither a phone number nor a LID is known")

// byWhatsApp is who merges contacts when WhatsApp shows that they are one person.
const byWhatsApp = "whatsapp"

// ResolveContact is the id of the one person behind a phone number and a LID,
// either of which may be empty. A new person is created, a newly learned address
// is added, and two contacts that turn out to be one person are merged.
func (s *Store) ResolveContact(ctx context.Context, phone, lid, name string) (id int64, err error) {
	if phone == "" && lid == "" {
		return 0, ErrNoAddress
	}
	for range resolveTries {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			id, err = resolve(ctx, tx, phone, lid, name)
			return err
		})
		if err == nil && id != 0 {
			return id, nil
		}
		if err != nil && !breaks(err, "contact_phone_key") && !breaks(err, "contact_lid_key") {
			return 0, err
		}
	}
	return 0, err
}

// resolveTries is how often another process may be faster with the same person.
const resolveTries = 10

// living is the contact, or the one that it was merged into, whom nobody merges
// before tx ends. None: ErrNotFound.
func living(ctx context.Context, tx pgx.Tx, contact int64) (id int64, err error) {
	for range resolveTries {
		err = tx.QueryRow(ctx, `
			select id from contact
			where id = (select coalesce(merged_into, id) from contact where id = $1) and merged_into is null for key share`, contact).Scan(&id)
		if !errors.Is(err, pgx.ErrNoRows) {
			return id, err
		}
	} // it was merged while the statement waited, or never was
	return 0, ErrNotFound
}

// resolve finds or makes the person, with every row that it may change locked.
// 0: somebody else has just made it.
func resolve(ctx context.Context, tx pgx.Tx, phone, lid, name string) (int64, error) {
	args := pgx.NamedArgs{"phone": phone, "lid": lid, "name": name}
	found, err := many[Contact](ctx, tx, `
		select `+contactColumns+` from contact where phone = nullif(@phone, '') or lid = nullif(@lid, '') order by id for update`, args)
	if err != nil {
		return 0, err
	}
	byLID, byPhone := holder(found, func(c Contact) *string { return c.LID }, lid), holder(found, func(c Contact) *string { return c.Phone }, phone)
	switch {
	case byLID == nil && byPhone == nil:
		return addContact(ctx, tx, args)
	case byLID == nil && byPhone.LID == nil || byLID == nil && lid == "":
		return byPhone.ID, setAddresses(ctx, tx, byPhone.ID, phone, lid)
	case byLID == nil: // the number has gone to another person: a LID is never handed on
		if err := leavePhone(ctx, tx, byPhone.ID); err != nil {
			return 0, err
		}
		return addContact(ctx, tx, args)
	case byPhone == nil || byPhone.ID == byLID.ID:
		return byLID.ID, setAddresses(ctx, tx, byLID.ID, phone, lid)
	case byPhone.LID == nil:
		if _, err := merge(ctx, tx, byLID.ID, byPhone.ID, byWhatsApp); err != nil {
			return 0, err
		}
		return byLID.ID, setAddresses(ctx, tx, byLID.ID, phone, lid)
	}
	if err := leavePhone(ctx, tx, byPhone.ID); err != nil {
		return 0, err
	}
	return byLID.ID, setAddresses(ctx, tx, byLID.ID, phone, lid)
}

func holder(found []Contact, of func(Contact) *string, address string) *Contact {
	for i, c := range found {
		if has := of(c); has != nil && *has == address {
			return &found[i]
		}
	}
	return nil
}

func addContact(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (int64, error) {
	ids, err := column[int64](ctx, tx, `
		insert into contact (phone, lid, name) values (nullif(@phone, ''), nullif(@lid, ''), @name)
		on conflict do nothing returning id`, args)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return ids[0], nil
}

func setAddresses(ctx context.Context, tx pgx.Tx, id int64, phone, lid string) error {
	_, err := tx.Exec(ctx, `
		update contact set phone = coalesce(nullif(@phone, ''), phone), lid = coalesce(nullif(@lid, ''), lid)
		where id = @id and (phone, lid) is distinct from (coalesce(nullif(@phone, ''), phone), coalesce(nullif(@lid, ''), lid))`,
		pgx.NamedArgs{"id": id, "phone": phone, "lid": lid})
	return err
}

// leavePhone takes a number from a person who is known by a LID. Replies go there,
// for the number is somebody else's now.
func leavePhone(ctx context.Context, tx pgx.Tx, id int64) error {
	_, err := tx.Exec(ctx, `
		with left_behind as (
		  update conversation c set chat = p.lid || '@lid' from contact p
		  where p.id = @id and c.contact_id = p.id and p.lid is not null and c.chat = p.phone || '@s.whatsapp.net')
		update contact set phone = null where id = @id`, pgx.NamedArgs{"id": id})
	return err
}

// Contact is one person, or ErrNotFound. A merged one is returned as it is.
func (s *Store) Contact(ctx context.Context, id int64) (Contact, error) {
	return one[Contact](ctx, s.pool, `select `+contactColumns+` from contact where id = @id`, pgx.NamedArgs{"id": id})
}

// Contacts are people whose name or address holds words, or all (""), newest first.
func (s *Store) Contacts(ctx context.Context, words string, p Page) ([]Contact, error) {
	return many[Contact](ctx, s.pool, `
		select `+contactColumns+` from contact c
		where merged_into is null and (@before = 0::bigint or id < @before) and (@like = '%%' or name ilike @like
		  or exists (select from contact_address a where a.contact_id = c.id and a.value ilike @like))
		order by id desc limit @limit`,
		pgx.NamedArgs{"like": "%" + likeable.Replace(words) + "%", "before": p.Before, "limit": p.Limit})
}

var likeable = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// FindContact is the person who has an address now, or ErrNotFound.
func (s *Store) FindContact(ctx context.Context, a Address) (Contact, error) {
	return one[Contact](ctx, s.pool, `
		select `+contactColumns+` from contact
		where phone = nullif(@phone, '') or lid = nullif(@lid, '') or username = nullif(@username, '')`,
		pgx.NamedArgs{"phone": a.Phone, "lid": a.LID, "username": a.Username})
}

// KnownAddress is an address that a person has or had.
type KnownAddress struct {
	Kind   string // phone, lid or username
	Value  string
	Since  time.Time
	LeftAt *time.Time // nil: it is theirs now
}

// Addresses are all addresses that a person has or had, the present ones first.
func (s *Store) Addresses(ctx context.Context, contact int64) ([]KnownAddress, error) {
	return many[KnownAddress](ctx, s.pool, `
		select kind, value, since, left_at from contact_address where contact_id = @id
		order by left_at is not null, kind desc, since`, pgx.NamedArgs{"id": contact})
}

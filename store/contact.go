package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Contact is one person. Phone and LID are bare (digits, without a server) and
// may each be unknown.
type Contact struct {
	ID    int64
	Phone *string
	LID   *string `db:"lid"`
	Name  string
}

// ErrNoAddress says that a contact was asked for with neither number nor LID.
var ErrNoAddress = errors.New("neither a phone number nor a LID is known")

// ResolveContact is the id of the one person behind a phone number and a LID,
// either of which may be empty. A new person is created, a newly learned address
// is added.
func (s *Store) ResolveContact(ctx context.Context, phone, lid, name string) (int64, error) {
	if phone == "" && lid == "" {
		return 0, ErrNoAddress
	}
	args := pgx.NamedArgs{"phone": phone, "lid": lid, "name": name}
	for {
		found, err := many[Contact](ctx, s.pool, `
			select id, phone, lid, name from contact
			where phone = nullif(@phone, '') or lid = nullif(@lid, '') order by id`, args)
		if err != nil {
			return 0, err
		}
		switch {
		case len(found) == 1:
			return found[0].ID, s.learnAddress(ctx, found[0], phone, lid)
		case len(found) > 1:
			// Two persons so far, one in truth. Part 2 merges them with their
			// conversations; until then the one known by the LID speaks, because a
			// LID is never handed to somebody else.
			return byLID(found, lid), nil
		}
		ids, err := column[int64](ctx, s.pool, `
			insert into contact (phone, lid, name) values (nullif(@phone, ''), nullif(@lid, ''), @name)
			on conflict do nothing returning id`, args)
		if err != nil || len(ids) == 1 {
			return first(ids), err
		}
	}
}

// Contact is one person, or ErrNotFound.
func (s *Store) Contact(ctx context.Context, id int64) (Contact, error) {
	return one[Contact](ctx, s.pool, `select id, phone, lid, name from contact where id = @id`, pgx.NamedArgs{"id": id})
}

func (s *Store) learnAddress(ctx context.Context, c Contact, phone, lid string) error {
	if (c.Phone != nil || phone == "") && (c.LID != nil || lid == "") {
		return nil
	}
	_, err := s.pool.Exec(ctx, `
		update contact set phone = coalesce(phone, nullif(@phone, '')), lid = coalesce(lid, nullif(@lid, '')) where id = @id`,
		pgx.NamedArgs{"id": c.ID, "phone": phone, "lid": lid})
	return err
}

func byLID(found []Contact, lid string) int64 {
	for _, c := range found {
		if c.LID != nil && *c.LID == lid {
			return c.ID
		}
	}
	return found[0].ID
}

func first(ids []int64) int64 {
	if len(ids) == 0 {
		return 0
	}
	return ids[0]
}

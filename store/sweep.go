package store

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// How long a file stays that nothing names: whoever uploads it sends it later, and what
// names it is stored behind it. Files of tests go with them.
const (
	looseDays      = 7
	looseTestHours = 2
)

// sweptUpTo is the setting that holds the last file that a sweep looked at.
const sweptUpTo = "files_swept"

// loose is a file that may go: it is old, and nothing names it. Whatever names files
// does so by a foreign key, and stands here.
const loose = ` f.created_at < clock() - case when f.of_test then @tests * interval '1 hour' else @days * interval '1 day' end
	and` + nobodyNames

// nobodyNames is true of a file f that no row speaks of.
const nobodyNames = ` not exists (select from media where file_id = f.id)
	and not exists (select from outbound where file_id = f.id)
	and not exists (select from execution_file where file_id = f.id)
	and not exists (select from flow_file where file_id = f.id)`

// DropFiles looks at the next limit files and removes those that nothing has named for
// long. It goes on where the last call ended, of whichever process, and begins anew at
// the end. It says how many files it removed. A process that dies meanwhile leaves at
// most bytes behind that no row speaks of.
func (s *Store) DropFiles(ctx context.Context, files Files, limit int) (int, error) {
	if files == nil {
		return 0, nil
	}
	var dropped []File
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		seen, err := nextFiles(ctx, tx, limit)
		if err != nil || len(seen) == 0 {
			return err
		}
		dropped, err = dropLoose(ctx, tx, seen)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(dropped), s.removeFiles(ctx, files, dropped)
}

// nextFiles are the files that this sweep looks at. The place of the sweep is held
// until it is through, so that no other process looks at them as well.
func nextFiles(ctx context.Context, tx pgx.Tx, limit int) ([]int64, error) {
	_, err := tx.Exec(ctx, `insert into setting (name, value) values ($1, '0') on conflict (name) do nothing`, sweptUpTo)
	if err != nil {
		return nil, err
	}
	var last int64
	if err := tx.QueryRow(ctx, `select value::bigint from setting where name = $1 for update`, sweptUpTo).Scan(&last); err != nil {
		return nil, err
	}
	seen, err := column[int64](ctx, tx, `select id from file where id > @last order by id limit @limit`, pgx.NamedArgs{"last": last, "limit": limit})
	if err != nil {
		return nil, err
	}
	last = 0
	if len(seen) == limit {
		last = seen[len(seen)-1]
	}
	_, err = tx.Exec(ctx, `update setting set value = $2 where name = $1`, sweptUpTo, strconv.FormatInt(last, 10))
	return seen, err
}

// dropLoose forgets those files that nothing names. They are locked first: what somebody
// is about to name stays, and once they are locked nobody can.
func dropLoose(ctx context.Context, tx pgx.Tx, seen []int64) ([]File, error) {
	args := pgx.NamedArgs{"ids": seen, "days": looseDays, "tests": looseTestHours}
	locked, err := column[int64](ctx, tx, `select id from file f where id = any(@ids) and`+loose+` order by id for update skip locked`, args)
	if err != nil || len(locked) == 0 {
		return nil, err
	}
	args["ids"] = locked
	return many[File](ctx, tx, `delete from file f where id = any(@ids) and`+loose+` returning `+fileColumns, args)
}

// removeFiles removes what rows no longer speak of. What cannot be removed now gets a
// row again, to be tried in a week.
func (s *Store) removeFiles(ctx context.Context, files Files, dropped []File) error {
	var failed error
	for _, f := range dropped {
		if err := files.Remove(ctx, f.Name); err != nil {
			_, again := s.AddFile(context.WithoutCancel(ctx), f)
			failed = errors.Join(failed, err, again)
		}
	}
	return failed
}

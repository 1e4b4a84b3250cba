package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Source is a document that the bot may answer from.
type Source struct {
	ID        int64
	AccountID *int64 // nil: for all accounts
	Kind      string // text, markdown, qa or page
	Title     string
	Address   string // of a page
	Body      string
	Language  string // a text search configuration of Postgres
	State     string // waiting, indexing, ready or failed
	Failure   string
	Passages  int // that answer now
	Done      int // of the version being indexed
	Attempts  int
	CreatedAt time.Time
	UpdatedAt time.Time
}

const sourceColumns = `id, account_id, kind, title, address, body, language, state, failure, passages, done, attempts, created_at, updated_at`

// mostSources is how many documents an installation holds.
const mostSources = 2000

// ErrTooManySources refuses a document beyond that.
var ErrTooManySources = errors.New("there are 2,000 documents already; remove some first")

// AddSource adds a document, which is indexed soon.
func (s *Store) AddSource(ctx context.Context, d Source) (Source, error) {
	added, err := one[Source](ctx, s.pool, `
		insert into source (account_id, kind, title, address, body, language)
		select @account, @kind, @title, @address, @body, @language where (select count(*) from source) < @most
		returning `+sourceColumns, d.args())
	if errors.Is(err, ErrNotFound) {
		return added, ErrTooManySources
	}
	return added, err
}

// ChangeSource replaces a document, or ErrNotFound. Its old passages answer until the
// new ones are there.
func (s *Store) ChangeSource(ctx context.Context, d Source) (Source, error) {
	return one[Source](ctx, s.pool, `
		update source set account_id = @account, kind = @kind, title = @title, address = @address, body = @body, language = @language,
		  state = 'waiting', failure = '', done = 0, attempts = 0, due_at = clock(), updated_at = clock()
		where id = @id returning `+sourceColumns, d.args())
}

// PutSource adds a document, or replaces the one with the same title of the same
// account.
func (s *Store) PutSource(ctx context.Context, d Source) (put Source, added bool, err error) {
	old, err := column[int64](ctx, s.pool, `
		select id from source where title = @title and account_id is not distinct from @account order by id desc limit 1`, d.args())
	if err != nil {
		return put, false, err
	}
	if len(old) == 0 {
		put, err = s.AddSource(ctx, d)
		return put, true, err
	}
	d.ID = old[0]
	put, err = s.ChangeSource(ctx, d)
	return put, false, err
}

func (d Source) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": d.ID, "account": d.AccountID, "kind": d.Kind, "title": clean(d.Title), "address": d.Address, "body": clean(d.Body), "language": d.Language,
		"most": mostSources,
	}
}

// Sources are the documents of an account and those for all, without their bodies, the
// newest first; with account 0, every one.
func (s *Store) Sources(ctx context.Context, account int64, p Page) ([]Source, error) {
	return many[Source](ctx, s.pool, `
		select id, account_id, kind, title, address, '' as body, language, state, failure, passages, done, attempts, created_at, updated_at from source
		where (@account = 0::bigint or account_id is null or account_id = @account) and (@before = 0::bigint or id < @before)
		order by id desc limit @limit`, pgx.NamedArgs{"account": account, "before": p.Before, "limit": p.Limit})
}

// Source is one document, or ErrNotFound.
func (s *Store) Source(ctx context.Context, id int64) (Source, error) {
	return one[Source](ctx, s.pool, `select `+sourceColumns+` from source where id = @id`, pgx.NamedArgs{"id": id})
}

// RemoveSource forgets a document, or ErrNotFound.
func (s *Store) RemoveSource(ctx context.Context, id int64) error {
	done, err := s.pool.Exec(ctx, `delete from source where id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// HasSources says whether an account has documents that answer.
func (s *Store) HasSources(ctx context.Context, account int64) (bool, error) {
	found, err := column[bool](ctx, s.pool, `
		select exists (select from source where passages > 0 and (account_id is null or account_id = @account))`, pgx.NamedArgs{"account": account})
	return err == nil && found[0], err
}

// indexTime is how long one process may take for a document before others take it up.
const indexTime = 10 * time.Minute

// ClaimSource is the document that waits longest to be indexed, or the page to be read
// again, for the caller alone, or ErrNotFound.
func (s *Store) ClaimSource(ctx context.Context) (Source, error) {
	return one[Source](ctx, s.pool, `
		with deadly as (
		  update source set state = 'failed', failure = 'Indexing it ended the process again and again', due_at = clock() + @every::interval
		  where state = 'indexing' and attempts >= @most and due_at <= clock() returning id)
		update source set state = 'indexing', done = 0, attempts = attempts + 1, due_at = clock() + @time::interval
		where id = (
		  select id from source where (state in ('waiting', 'indexing') or kind = 'page') and due_at <= clock()
		    and not (state = 'indexing' and attempts >= @most)
		  order by due_at limit 1 for update skip locked)
		returning `+sourceColumns, pgx.NamedArgs{"time": indexTime, "most": mostIndexing, "every": pageEvery})
}

// Passage is a part of a document.
type Passage struct {
	ID       int64
	SourceID int64
	Title    string // of the document
	Place    int
	Heading  string
	Body     string
	Plain    string    `db:"-"` // its words without accents
	Vector   []float32 `db:"-"`
	Model    string    `db:"-"` // that made the vector
	Score    float64
	Share    float64 // of what the query says, that the words found make up: 0 to 1
}

// NoteIndexed says how many passages of a document are ready.
func (s *Store) NoteIndexed(ctx context.Context, source int64, done int) error {
	_, err := s.hasty.Exec(ctx, `update source set done = @done where id = @id`, pgx.NamedArgs{"id": source, "done": done})
	return err
}

// pageEvery is how often web pages are read again.
const pageEvery = 24 * time.Hour

// KeepSource notes that a page says what it said before.
func (s *Store) KeepSource(ctx context.Context, d Source) error {
	_, err := s.pool.Exec(ctx, `
		update source set state = 'ready', failure = '', done = passages, attempts = 0, due_at = clock() + @every::interval
		where id = @id and updated_at = @version and state = 'indexing'`, pgx.NamedArgs{"id": d.ID, "version": d.UpdatedAt, "every": pageEvery})
	return err
}

// KeepPassages replaces the passages of a document by those made of the version that
// was claimed, and the text of a page. False: it has changed meanwhile, and waits again.
func (s *Store) KeepPassages(ctx context.Context, d Source, all []Passage) (kept bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `
			update source set state = 'ready', failure = '', passages = @n, done = @n, attempts = 0, due_at = clock() + @every::interval,
			  body = @body, language = @language
			where id = @id and updated_at = @version and state = 'indexing'`,
			pgx.NamedArgs{"id": d.ID, "version": d.UpdatedAt, "n": len(all), "every": pageEvery, "body": clean(d.Body), "language": d.Language})
		if kept = err == nil && done.RowsAffected() == 1; !kept {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from passage where source_id = @id`, pgx.NamedArgs{"id": d.ID}); err != nil {
			return err
		}
		b := &pgx.Batch{}
		for _, p := range all {
			b.Queue(`
				insert into passage (source_id, place, heading, body, terms, plain, vector, model)
				values (@id, @place, @heading, @body, to_tsvector(@language::regconfig, @text), to_tsvector('simple', @plain), @vector, @model)`,
				pgx.NamedArgs{
					"id": d.ID, "place": p.Place, "heading": p.Heading, "body": p.Body, "language": d.Language, "text": d.Title + "\n" + p.Heading + "\n" + p.Body,
					"plain": p.Plain, "vector": p.Vector, "model": p.Model,
				})
		}
		return tx.SendBatch(ctx, b).Close()
	})
	return kept, err
}

// mostIndexing is how often a document is tried before it counts as failed.
const mostIndexing = 5

// PutOffSource notes why a document could not be indexed; it is tried again later, a
// few times, and a page every day. What it said before still answers.
func (s *Store) PutOffSource(ctx context.Context, d Source, why string) error {
	_, err := s.pool.Exec(ctx, `
		update source set state = case when attempts >= @most then 'failed' else 'waiting' end, failure = @why,
		  due_at = clock() + case when attempts >= @most then @every::interval else attempts * attempts * interval '10 seconds' end
		where id = @id and updated_at = @version and state = 'indexing'`,
		pgx.NamedArgs{"id": d.ID, "version": d.UpdatedAt, "why": clean(why), "most": mostIndexing, "every": pageEvery})
	return err
}

// ReleaseSource gives a claimed document back, as if it had not been claimed.
func (s *Store) ReleaseSource(ctx context.Context, d Source) error {
	_, err := s.pool.Exec(ctx, `
		update source set state = 'waiting', attempts = attempts - 1, due_at = clock() where id = @id and updated_at = @version and state = 'indexing'`,
		pgx.NamedArgs{"id": d.ID, "version": d.UpdatedAt})
	return err
}

// Query is what is looked for in the documents of an account.
type Query struct {
	Account int64
	Text    string
	Plain   string    // its words without accents
	Vector  []float32 // nil: none
	Model   string    // that made the vector
	Limit   int
}

// mine are the documents d that an account may see: its own and those for all.
const mine = `d.passages > 0 and (d.account_id is null or d.account_id = @account)`

// FindWords are the passages with the words of a query, the best first, by BM25
// (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75). Words count in each document's own
// language, and as they stand, without accents, for half as much.
func (s *Store) FindWords(ctx context.Context, q Query) ([]Passage, error) {
	return many[Passage](ctx, s.pool, `
		with languages as (select distinct d.language from source d where `+mine+`),
		wanted as (
		  select l.language, t.lexeme, 1.0 as weight from languages l, unnest(to_tsvector(l.language::regconfig, @text)) t
		  union all select '', t.lexeme, 0.5 from unnest(to_tsvector('simple', @plain)) t),
		own as (
		  select p.id, d.language, p.terms, p.plain, length(p.plain) as size from passage p join source d on d.id = p.source_id where `+mine+`),
		hits as (
		  select o.id, o.size, w.lexeme, w.language, w.weight, coalesce(array_length(t.positions, 1), 1) as times
		  from own o join wanted w on w.language = o.language and o.terms @@ quote_literal(w.lexeme)::tsquery, unnest(o.terms) t where t.lexeme = w.lexeme
		  union all
		  select o.id, o.size, w.lexeme, '', w.weight, coalesce(array_length(t.positions, 1), 1)
		  from own o join wanted w on w.language = '' and o.plain @@ quote_literal(w.lexeme)::tsquery, unnest(o.plain) t where t.lexeme = w.lexeme),
		known as (
		  select h.lexeme, h.language, ln(1 + (n.all_of_them - count(*) + 0.5) / (count(*) + 0.5)) as rarity
		  from hits h, (select count(*)::float8 as all_of_them, avg(size) as usual from own) n group by h.lexeme, h.language, n.all_of_them),
		total as (
		  select w.language, sum(coalesce(k.rarity, (select ln(1 + (count(*) + 0.5) / 0.5) from own))) as rarity
		  from wanted w left join known k on k.lexeme = w.lexeme and k.language = w.language where w.language <> '' group by w.language),
		scored as (
		  select h.id, sum(k.rarity) filter (where h.language <> '') as met, sum(h.weight * k.rarity * h.times * 2.2 / (h.times + 1.2 * (0.25 + 0.75 * h.size / (select greatest(avg(size), 1) from own)))) as score
		  from hits h join known k on k.lexeme = h.lexeme and k.language = h.language group by h.id)
		select p.id, p.source_id, d.title, p.place, p.heading, p.body, scored.score::float8 as score,
		  coalesce(scored.met / nullif(total.rarity, 0), 0)::float8 as share
		from scored join passage p on p.id = scored.id join source d on d.id = p.source_id left join total on total.language = d.language
		order by scored.score desc, p.id limit @limit`,
		pgx.NamedArgs{"account": q.Account, "text": clean(q.Text), "plain": clean(q.Plain), "limit": q.Limit})
}

// FindMeanings are the passages whose vectors are nearest to a query's, the best
// first, by the cosine between them. Vectors have length one.
func (s *Store) FindMeanings(ctx context.Context, q Query) ([]Passage, error) {
	return many[Passage](ctx, s.pool, `
		select p.id, p.source_id, d.title, p.place, p.heading, p.body,
		  (select sum(a * b) from unnest(p.vector, @vector::real[]) as v (a, b))::float8 as score, 0::float8 as share
		from passage p join source d on d.id = p.source_id
		where `+mine+` and p.model = @model and array_length(p.vector, 1) = array_length(@vector::real[], 1)
		order by score desc, p.id limit @limit`,
		pgx.NamedArgs{"account": q.Account, "vector": q.Vector, "model": q.Model, "limit": q.Limit})
}

// Languages are the text search configurations that Postgres has here.
func (s *Store) Languages(ctx context.Context) ([]string, error) {
	return column[string](ctx, s.pool, `select cfgname::text from pg_ts_config where cfgnamespace = 'pg_catalog'::regnamespace order by 1`, nil)
}

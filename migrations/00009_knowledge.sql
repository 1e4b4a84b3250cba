-- +goose Up

-- Documents that the bot may answer from; account null: for all accounts.
create table source (
  id          bigint generated always as identity primary key,
  account_id  bigint references account on delete cascade,
  kind        text not null check (kind in ('text', 'markdown', 'qa', 'page')),
  title       text not null check (length(title) between 1 and 200),
  address     text not null default '',                 -- of a page
  body        text not null check (length(body) <= 400000),
  language    text not null default 'simple',           -- a text search configuration of Postgres
  state       text not null default 'waiting' check (state in ('waiting', 'indexing', 'ready', 'failed')),
  failure     text not null default '',
  passages    int not null default 0,                   -- that answer now
  done        int not null default 0,                   -- of the version being indexed
  attempts    int not null default 0,
  due_at      timestamptz not null default clock(),     -- index it then; while it is indexed, when others may take it up
  created_at  timestamptz not null default clock(),
  updated_at  timestamptz not null default clock()
);
create index source_waiting on source (due_at) where state in ('waiting', 'indexing');
create trigger source_rings after insert or delete or update of body, account_id on source for each row execute function ring('knowledge');

-- Parts of documents. terms holds them in the document's language, and without accents as they stand.
create table passage (
  id         bigint generated always as identity primary key,
  source_id  bigint not null references source on delete cascade,
  place      int not null,
  heading    text not null default '',
  body       text not null,
  terms      tsvector not null,
  plain      tsvector not null,
  vector     real[],
  model      text not null default '', -- that made the vector
  unique (source_id, place)
);
create index passage_terms on passage using gin (terms);
create index passage_plain on passage using gin (plain);

-- +goose Down
drop table passage;
drop table source;

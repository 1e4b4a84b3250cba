-- +goose Up

-- What is kept outside the database (store.Files), by its random name.
create table file (
  id         bigint generated always as identity primary key,
  name       text not null unique,
  label      text not null default '', -- the name that people gave it
  mime       text not null,
  bytes      bigint not null,
  sha256     bytea not null,
  created_at timestamptz not null default clock()
);

-- What a message holds beyond its words.
alter table message
  add column quoted_wa_id text not null default '',
  add column extra        jsonb not null default '{}', -- a place, contact cards, seconds until it disappears
  add column edited_at    timestamptz,
  add column deleted_at   timestamptz;

-- A file that a message brought. reference is what WhatsApp needs to hand it out, sealed.
create table media (
  message_id bigint primary key references message on delete cascade,
  account_id bigint not null references account on delete cascade,
  state      text not null default 'wanted' check (state in ('wanted', 'stored', 'failed', 'too_large', 'gone')),
  label      text not null default '',
  mime       text not null default '', -- as its sender says; file.mime is what it is
  bytes      bigint not null default 0,
  seconds    int not null default 0,
  width      int not null default 0,
  height     int not null default 0,
  reference  bytea not null,
  file_id    bigint references file,
  attempts   int not null default 0,
  asked      int not null default 0, -- how often the phone was asked to upload it again
  failure    text not null default '',
  due_at     timestamptz not null default clock()
);
create index media_wanted on media (account_id, due_at) where state = 'wanted';

-- What people think of a message, ours or theirs; one sign for each side.
create table reaction (
  conversation_id bigint not null references conversation on delete cascade,
  wa_id           text not null,
  ours            boolean not null,
  sign            text not null,
  at              timestamptz not null default clock(),
  primary key (conversation_id, wa_id, ours)
);

-- A message of ours may hold a file, a place or a change of an earlier message.
alter table outbound
  add column kind      text not null default 'text',
  add column file_id   bigint references file,
  add column extra     jsonb not null default '{}',
  add column reference bytea; -- once WhatsApp has the file: what a repeated send needs, sealed

-- +goose Down

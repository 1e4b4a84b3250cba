-- +goose Up

-- What a model may have done before it answers, by a call to a service of the house; account null: for all.
create table tool (
  id          bigint generated always as identity primary key,
  account_id  bigint references account on delete cascade,
  name        text not null check (name ~ '^[a-z][a-z0-9_]{1,39}$'),
  description text not null check (length(description) between 1 and 1000),
  parameters  jsonb not null default '{"type": "object", "additionalProperties": false}', -- JSON Schema of the arguments
  method      text not null default 'POST' check (method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
  url         text not null,
  headers     jsonb not null default '{}', -- "{{secret}}" in a value stands for the secret
  secret      bytea,                       -- sealed
  is_active   boolean not null default true,
  created_at  timestamptz not null default clock(),
  updated_at  timestamptz not null default clock()
);
create unique index tool_name on tool (coalesce(account_id, 0), name);

-- What a model was asked to remember of a customer, for one account.
create table fact (
  id         bigint generated always as identity primary key,
  account_id bigint not null references account on delete cascade,
  contact_id bigint not null references contact on delete cascade,
  body       text not null check (length(body) between 1 and 300),
  at         timestamptz not null default clock(),
  unique (account_id, contact_id, body)
);

-- The exact prompt of an answer, for thirty days; seq is the last message it answers.
create table prompt (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversation on delete cascade,
  seq             bigint not null,
  provider        text not null,
  model           text not null,
  messages        jsonb not null,
  at              timestamptz not null default clock()
);
create index prompt_conversation on prompt (conversation_id, seq);
create index prompt_at on prompt (at);

-- What was said before summary_seq, in a model's words.
alter table conversation
  add column summary     text not null default '',
  add column summary_seq bigint not null default 0;

-- Every text that the bot was told to be, with who wrote it.
create table persona (
  id         bigint generated always as identity primary key,
  account_id bigint not null references account on delete cascade,
  body       text not null,
  at         timestamptz not null default clock()
);
create index persona_account on persona (account_id, id);

-- +goose StatementBegin
create function keep_persona() returns trigger language plpgsql as $$
begin
  insert into persona (account_id, body) values (new.id, new.persona);
  return null;
end $$;
-- +goose StatementEnd
create trigger account_persona_is_kept after insert or update of persona on account for each row when (new.persona <> '') execute function keep_persona();
insert into persona (account_id, body) select id, persona from account where persona <> '';

-- +goose Down
drop trigger account_persona_is_kept on account;
drop function keep_persona();
drop table persona;
alter table conversation drop column summary, drop column summary_seq;
drop table prompt;
drop table fact;
drop table tool;

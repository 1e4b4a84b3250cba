-- +goose Up

-- Accounts may ask the providers of one pool only, and a provider may be in several.
alter table provider add column pools text[] not null default '{}';
alter table account add column provider_pool text not null default '';

-- Every call of a provider: why a customer's answer came from where it did, or not at all. Providers and conversations may
-- be gone by now, their names stay.
create table provider_attempt (
  id                bigint generated always as identity primary key,
  at                timestamptz not null,
  turn_id           bigint not null,   -- the same for all attempts at one answer
  kind              text not null,     -- chat, transcription, embedding or test
  provider_id       bigint not null,
  provider          text not null,
  model             text not null,
  conversation_id   bigint,
  class             text not null,
  error             text not null default '',
  took              interval not null,
  first             interval,          -- until the first sign of life
  prompt_tokens     bigint not null default 0,
  completion_tokens bigint not null default 0,
  cost              bigint
);
create index provider_attempt_provider on provider_attempt (provider_id, id);
create index provider_attempt_conversation on provider_attempt (conversation_id, id);
create index provider_attempt_at on provider_attempt (at);

-- +goose Down
drop table provider_attempt;
alter table account drop column provider_pool;
alter table provider drop column pools;

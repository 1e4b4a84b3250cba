-- +goose Up

-- The clock without a skew is now() itself, which Postgres puts in place of the call: a function that reads a table
-- was called 23 times for each answered message. Tests replace it (store.Skew).
create or replace function clock() returns timestamptz language sql stable as 'select now()';

-- What an account's status says beyond one word.
alter table account
  add column progress_at      timestamptz,           -- WhatsApp's last sign of life
  add column restriction      text not null default '' check (restriction in ('', 'new_chats', 'all')),
  add column restricted_until timestamptz,           -- end of the restriction
  add column proxy            bytea,                 -- sealed address of the way to WhatsApp; null: direct
  add column proxy_hint       text not null default '',
  add column call_text        text not null default ''; -- answer to calls, which are rejected then; '': they ring

drop trigger account_rings on account;
create trigger account_rings after insert or delete or update of wanted, paused, persona, debounce_ms, presence, fallback, fallback_text,
  proxy, call_text on account for each row execute function ring('account');

-- Every status an account has had; the newest is the one it has.
create table status_event (
  id         bigint generated always as identity primary key,
  account_id bigint not null references account on delete cascade,
  status     text not null,
  cause      text not null,
  at         timestamptz not null default clock()
);
create index status_event_account on status_event (account_id, id);

-- +goose StatementBegin
create function note_status() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and (old.status, old.status_cause) is not distinct from (new.status, new.status_cause) then
    return null;
  end if;
  insert into status_event (account_id, status, cause) values (new.id, new.status, new.status_cause);
  return null;
end $$;
-- +goose StatementEnd
create trigger account_status_is_noted after insert or update of status, status_cause on account for each row execute function note_status();

-- What somebody must look at. An open alert of a kind is there once per account.
create table alert (
  id          bigint generated always as identity primary key,
  account_id  bigint references account on delete cascade,
  kind        text not null,
  says        text not null,
  times       int not null default 1,
  at          timestamptz not null default clock(),
  seen_at     timestamptz, -- by a person
  resolved_at timestamptz  -- by itself
);
create unique index alert_open on alert (coalesce(account_id, 0), kind) where resolved_at is null;

-- Who did what; subject is table:id.
create table audit (
  id      bigint generated always as identity primary key,
  at      timestamptz not null default clock(),
  by      text not null,
  action  text not null,
  subject text not null,
  detail  jsonb not null default '{}'
);
create index audit_subject on audit (subject, id);

-- Pairing takes three ways: a code to scan, a code to type for a phone number, and a passkey if the phone asks for one.
alter table pairing
  add column phone              text not null default '',  -- wanted: a code to type on this phone
  add column typed_code         text not null default '',
  add column typed_expires_at   timestamptz not null default '-infinity',
  add column problem            text not null default '',  -- why the last try did not work
  add column passkey_request    jsonb,                     -- what the browser is to sign
  add column passkey_response   jsonb,                     -- what it signed
  add column passkey_code       text not null default '',  -- to compare with the phone
  add column passkey_confirmed  boolean not null default false;
drop trigger pairing_rings on pairing;
create trigger pairing_rings after insert or delete or update of phone, passkey_response, passkey_confirmed
  on pairing for each row execute function ring_account();
-- +goose StatementBegin
create or replace function ring_account() returns trigger language plpgsql as $$
begin
  perform pg_notify('frontdesk', json_build_object('topic', 'account', 'id', coalesce(new.account_id, old.account_id))::text);
  return null;
end $$;
-- +goose StatementEnd

-- A link with which somebody without a sign-in pairs one account.
create table pairing_link (
  id         bigint generated always as identity primary key,
  account_id bigint not null references account on delete cascade,
  hash       bytea not null unique,
  created_by text not null,
  created_at timestamptz not null default clock(),
  expires_at timestamptz not null,
  ended_at   timestamptz -- it was used or withdrawn
);

-- What people see of a process.
alter table process
  add column host    text not null default '',
  add column version text not null default '';

-- +goose Down

-- +goose Up

-- What other systems, customers' messages and events start. A version never changes; new executions take the last one.
create table flow (
  id         bigint generated always as identity primary key,
  name       text not null unique check (name ~ '^[a-z][a-z0-9_-]{1,59}$'),
  version    int not null default 1,
  is_active  boolean not null default true,
  created_at timestamptz not null default clock(),
  updated_at timestamptz not null default clock()
);
create trigger flow_rings after insert or update or delete on flow for each row execute function ring('flow');

create table flow_version (
  flow_id    bigint not null references flow on delete cascade,
  version    int not null,
  definition jsonb not null,
  by         text not null,
  at         timestamptz not null default clock(),
  primary key (flow_id, version)
);

-- An address that other systems call: /webhook/{id}. One that was deleted says so (410) as long as its flow is there.
create table webhook (
  id         text primary key check (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  flow_id    bigint not null references flow on delete cascade,
  label      text not null default '',
  auth       text not null default 'none' check (auth in ('none', 'bearer', 'basic', 'standard', 'github', 'stripe', 'hmac')),
  header     text not null default '', -- hmac: where the signature stands
  secret     bytea,                    -- sealed
  old_secret bytea,                    -- sealed; still good beside secret, until somebody ends that
  quota      int check (quota between 1 and 100000), -- correctly signed requests in 60 s, instead of those of an address
  deleted_at timestamptz,
  created_at timestamptz not null default clock()
);
create index webhook_of_flow on webhook (flow_id);

-- What steps may send to services of the house, by name.
create table secret (
  name       text primary key check (name ~ '^[a-z][a-z0-9_]{1,39}$'),
  value      bytea not null, -- sealed
  updated_at timestamptz not null default clock()
);

alter table contact
  add column attributes jsonb not null default '{}',
  add column tags       text[] not null default '{}';
create index contact_merged on contact (merged_into) where merged_into is not null;

-- An execution is one delivery, one version of a flow and one contact. Its row is the queue, as a conversation's is:
-- who runs it is its owner, and writes only as long as owner and epoch are still its own.
create table execution (
  id              bigint generated always as identity primary key,
  flow_id         bigint not null,
  version         int not null,
  webhook_id      text references webhook on delete set null,
  account_id      bigint references account on delete cascade,
  contact_id      bigint references contact,
  chat            text not null default '',  -- where it sends
  conversation_id bigint references conversation on delete cascade, -- that its trigger came from, or that it began
  trigger         jsonb not null,
  test            text not null default '' check (test in ('', 'simulated', 'live')), -- simulated: without AI too
  delivery_key    text,                      -- names the delivery, for seven days
  request_hash    bytea,
  status          text not null default 'queued' check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
  step            int not null default 0,    -- the next one
  tries           int not null default 0,    -- of it
  step_began_at   timestamptz,               -- its first try
  due_at          timestamptz not null default clock(), -- queued or waiting: not before
  awaits          text not null default '' check (awaits in ('', 'time', 'reply', 'sent', 'delivered', 'retry')),
  awaits_seq      bigint,                    -- reply: the conversation's last message then
  awaits_outbound bigint,                    -- sent, delivered: of this message
  owner           text,                      -- process
  epoch           bigint not null default 0, -- grows with every owner
  event_seq       bigint not null default 0, -- of its last event
  ran_ms          bigint not null default 0, -- without waits
  cancel_at       timestamptz,               -- somebody wants it to end
  response        jsonb,                     -- what its respond step says
  failure         text not null default '',
  replay_of       bigint,
  created_at      timestamptz not null default clock(),
  started_at      timestamptz,
  finished_at     timestamptz,
  foreign key (flow_id, version) references flow_version on delete cascade
);
create index execution_due on execution (due_at, id) where status in ('queued', 'waiting');
create index execution_running on execution (owner) where status = 'running';
create unique index execution_contact on execution (contact_id) where status = 'running'; -- one contact at a time
create unique index execution_delivery on execution (flow_id, coalesce(webhook_id, ''), delivery_key) where delivery_key is not null;
create index execution_of_account on execution (account_id) where account_id is not null;
create index execution_of_contact on execution (contact_id) where contact_id is not null;
create index execution_of_conversation on execution (conversation_id) where conversation_id is not null;
create index execution_of_webhook on execution (webhook_id) where webhook_id is not null;
create index execution_reply on execution (conversation_id) where status = 'waiting' and awaits = 'reply';
create index execution_outbound on execution (awaits_outbound) where status = 'waiting' and awaits_outbound is not null;
create index execution_flow on execution (flow_id, id);
create index execution_finished on execution (finished_at) where finished_at is not null;
create index execution_tests on execution (finished_at) where test <> '';
create index execution_named on execution (created_at) where delivery_key is not null;

-- What a step came to; position counts from 0.
create table execution_step (
  execution_id bigint not null references execution on delete cascade,
  position     int not null,
  name         text not null,
  type         text not null,
  status       text not null check (status in ('completed', 'failed', 'skipped')),
  result       jsonb not null default '{}',
  failure      text not null default '',
  tries        int not null default 0,
  began_at     timestamptz not null,
  ended_at     timestamptz not null default clock(),
  primary key (execution_id, position)
);

-- A file that came with a test goes with it.
alter table file add column of_test boolean not null default false;

-- The files that an execution's trigger brought, and those that a version of a flow sends by their numbers. What names
-- a file keeps it; what nothing names goes after a while (DropFiles).
create table execution_file (
  execution_id bigint not null references execution on delete cascade,
  file_id      bigint not null references file,
  primary key (execution_id, file_id)
);
create table flow_file (
  flow_id bigint not null,
  version int not null,
  file_id bigint not null references file,
  primary key (flow_id, version, file_id),
  foreign key (flow_id, version) references flow_version on delete cascade
);
create index execution_file_file on execution_file (file_id);
create index flow_file_file on flow_file (file_id);
create index media_file on media (file_id) where file_id is not null;
create index outbound_file on outbound (file_id) where file_id is not null;

-- +goose StatementBegin
create function file_number(text) returns bigint language sql immutable as $$
  select case when $1 ~ '^[0-9]{1,18}$' then $1::bigint end
$$;
-- +goose StatementEnd

-- Numbers of files that are not there, or no numbers, are nothing to keep.
-- +goose StatementBegin
create function note_execution_files() returns trigger language plpgsql as $$
begin
  insert into execution_file (execution_id, file_id)
  select new.id, f.id from file f
  where f.id in (select file_number(e->>'id') from jsonb_path_query(new.trigger, 'lax $.files[*]') as e)
  for key share;
  update file f set of_test = true where new.test <> '' and new.replay_of is null and f.id in (select file_id from execution_file where execution_id = new.id);
  return null;
end $$;
-- +goose StatementEnd
create trigger execution_keeps_files after insert on execution for each row when (new.trigger->'files' <> '[]') execute function note_execution_files();

-- +goose StatementBegin
create function note_flow_files() returns trigger language plpgsql as $$
begin
  insert into flow_file (flow_id, version, file_id)
  select new.flow_id, new.version, f.id from file f
  where f.id in (select file_number(m #>> '{}') from jsonb_path_query(new.definition, 'lax $.**.media') as m)
  for key share;
  return null;
end $$;
-- +goose StatementEnd
create trigger flow_version_keeps_files after insert on flow_version for each row execute function note_flow_files();

-- What happened, for those who follow it, for a day. Readers go by (xid, id) below the oldest transaction under way:
-- that order has no gaps, while ids alone may be seen out of order.
create table event (
  id              bigint generated always as identity primary key,
  xid             xid8 not null default pg_current_xact_id(),
  type            text not null,
  execution_id    bigint,
  flow_id         bigint,
  account_id      bigint,
  conversation_id bigint,
  message_id      bigint,
  outbound_id     bigint,
  epoch           bigint not null default 0,
  seq             bigint not null default 0, -- dense for each execution
  test            boolean not null default false,
  data            jsonb not null default '{}',
  at              timestamptz not null default clock()
);
create index event_order on event (xid, id);
create index event_execution on event (execution_id, seq) where execution_id is not null;

-- How far those who follow all events for everybody have come.
create table event_cursor (
  name text primary key,
  xid  xid8 not null,
  id   bigint not null
);

-- +goose StatementBegin
create function note_message() returns trigger language plpgsql as $$
begin
  insert into event (type, account_id, conversation_id, message_id)
  select case new.direction when 'in' then 'message.received' else 'message.sent' end, c.account_id, c.id, new.id
  from conversation c where c.id = new.conversation_id;
  return null;
end $$;
-- +goose StatementEnd
-- Messages from before the pairing have a seq of 0 or less.
create trigger message_is_noted after insert on message for each row when (new.seq > 0) execute function note_message();

-- +goose StatementBegin
create function note_outbound() returns trigger language plpgsql as $$
begin
  insert into event (type, account_id, conversation_id, outbound_id) select t, new.account_id, new.conversation_id, new.id
  from unnest(case when tg_op = 'INSERT' then array['message.queued'] else array[
    case when new.sent_at is not null and old.sent_at is null then 'message.sent' end,
    case when new.delivered_at is not null and old.delivered_at is null then 'message.delivered' end,
    case when new.read_at is not null and old.read_at is null then 'message.read' end,
    case when new.failed_at is not null and old.failed_at is null then 'message.failed' end] end) as t where t is not null;
  return null;
end $$;
-- +goose StatementEnd
create trigger outbound_is_noted after insert on outbound for each row execute function note_outbound();
create trigger outbound_progress_is_noted after update of sent_at, delivered_at, read_at, failed_at on outbound for each row
  when ((new.sent_at, new.delivered_at, new.read_at, new.failed_at) is distinct from (old.sent_at, old.delivered_at, old.read_at, old.failed_at))
  execute function note_outbound();

-- +goose StatementBegin
create function note_timeline() returns trigger language plpgsql as $$
begin
  insert into event (type, account_id, conversation_id, data)
  select 'conversation.' || new.kind, c.account_id, c.id, jsonb_build_object('seq', new.seq, 'detail', new.detail) from conversation c where c.id = new.conversation_id;
  return null;
end $$;
-- +goose StatementEnd
create trigger timeline_is_noted after insert on timeline for each row execute function note_timeline();

-- +goose StatementBegin
create function note_account() returns trigger language plpgsql as $$
begin
  insert into event (type, account_id, data) values ('account.status', new.account_id, jsonb_build_object('status', new.status, 'cause', new.cause));
  return null;
end $$;
-- +goose StatementEnd
create trigger status_event_is_noted after insert on status_event for each row execute function note_account();

-- +goose StatementBegin
-- The code itself is a key: whoever may scan it asks for it.
create function note_code() returns trigger language plpgsql as $$
begin
  insert into event (type, account_id, data) values ('account.qr', new.account_id, jsonb_build_object('expires_at', new.expires_at));
  return null;
end $$;
-- +goose StatementEnd
create trigger pairing_code_is_noted after update of code on pairing for each row when (new.code <> '' and new.code <> old.code) execute function note_code();

-- +goose StatementBegin
create function note_provider() returns trigger language plpgsql as $$
begin
  insert into event (type, data) values (case when new.auto_disabled_until > clock() then 'provider.disabled' else 'provider.enabled' end,
    jsonb_build_object('provider_id', new.id, 'name', new.name, 'until', new.auto_disabled_until, 'reason', new.auto_disabled_reason));
  return null;
end $$;
-- +goose StatementEnd
create trigger provider_state_is_noted after update of auto_disabled_until on provider for each row
  when (new.auto_disabled_until is distinct from old.auto_disabled_until) execute function note_provider();

-- +goose Down
drop trigger provider_state_is_noted on provider;
drop function note_provider();
drop trigger pairing_code_is_noted on pairing;
drop function note_code();
drop trigger status_event_is_noted on status_event;
drop function note_account();
drop trigger timeline_is_noted on timeline;
drop function note_timeline();
drop trigger outbound_progress_is_noted on outbound;
drop trigger outbound_is_noted on outbound;
drop function note_outbound();
drop trigger message_is_noted on message;
drop function note_message();
drop table event_cursor;
drop table event;
drop index media_file;
drop index outbound_file;
drop table flow_file;
drop table execution_file;
drop table execution_step;
drop table execution;
drop function note_execution_files();
alter table file drop column of_test;
drop index contact_merged;
alter table contact drop column attributes, drop column tags;
drop table secret;
drop table webhook;
drop table flow_version;
drop function note_flow_files();
drop function file_number(text);
drop table flow;

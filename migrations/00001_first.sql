-- +goose Up

-- Settings of the whole installation. clock_skew moves the business clock in tests.
create table setting (
  name  text primary key,
  value text not null
);

-- +goose StatementBegin
-- clock is the one clock that business time is read from: due times, leases, quota days.
create function clock() returns timestamptz language sql stable as $$
  select now() + coalesce((select value::interval from frontdesk.setting where name = 'clock_skew'), interval '0')
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- ring tells every process that a row of a rarely changed table is new, changed or gone.
create function ring() returns trigger language plpgsql as $$
begin
  perform pg_notify('frontdesk', json_build_object('topic', tg_argv[0], 'id', coalesce(new.id, old.id))::text);
  return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- ring_account does the same for a row that belongs to an account.
create function ring_account() returns trigger language plpgsql as $$
begin
  perform pg_notify('frontdesk', json_build_object('topic', 'account', 'id', new.account_id)::text);
  return null;
end $$;
-- +goose StatementEnd

-- Processes and the accounts they hold ---------------------------------------

create table process (
  id         text primary key,
  kind       text not null check (kind in ('whatsapp', 'sandbox')),
  cap        int not null,
  started_at timestamptz not null default clock(),
  seen_at    timestamptz not null default clock()
);

-- An account is one WhatsApp identity. wanted is what people asked for, status what is.
create table account (
  id            bigint generated always as identity primary key,
  kind          text not null default 'whatsapp' check (kind in ('whatsapp', 'sandbox')),
  name          text not null check (length(name) between 1 and 100),
  wanted        text not null default 'run' check (wanted in ('run', 'stop', 'logout', 'delete')),
  enabled       boolean not null generated always as (wanted <> 'stop') stored,
  jid           text unique,
  phone         text,
  lid           text,
  status        text not null default 'new' check (status in ('new', 'pairing', 'connecting', 'connected', 'reconnecting',
                  'logged_out', 'restricted', 'outdated', 'stopped', 'failed')),
  status_cause  text not null default '',
  status_since  timestamptz not null default clock(),
  paused        boolean not null default false,
  persona       text not null default '',
  debounce_ms   int not null default 2500 check (debounce_ms between 0 and 10000),
  presence      boolean not null default false,
  fallback      text not null default 'later' check (fallback in ('silent', 'text', 'later', 'handoff')),
  fallback_text text not null default '',
  created_at    timestamptz not null default clock()
);

-- One phone, one account: two would both answer its customers.
create unique index account_phone_key on account (phone) where jid is not null;

create trigger account_rings after insert or delete or update of wanted, paused, persona, debounce_ms, presence, fallback, fallback_text
  on account for each row execute function ring('account');

create table account_lease (
  account_id  bigint primary key references account on delete cascade,
  owner       text,
  lease_until timestamptz not null default '-infinity',
  epoch       bigint not null default 0
);

-- +goose StatementBegin
create function lease_account() returns trigger language plpgsql as $$
begin
  insert into account_lease (account_id) values (new.id);
  return null;
end $$;
-- +goose StatementEnd
create trigger account_has_lease after insert on account for each row execute function lease_account();

-- Somebody wants to link the account until wanted_until; the process that holds it writes what to scan.
create table pairing (
  account_id   bigint primary key references account on delete cascade,
  wanted_until timestamptz not null,
  code         text not null default '',
  expires_at   timestamptz not null default '-infinity',
  renewals     int not null default 0
);
create trigger pairing_rings after insert on pairing for each row execute function ring_account();

-- Customers ------------------------------------------------------------------

-- A contact is one person. Number and LID may each be unknown.
create table contact (
  id          bigint generated always as identity primary key,
  phone       text unique,
  lid         text unique,
  name        text not null default '',
  merged_into bigint references contact,
  created_at  timestamptz not null default clock()
);

-- The conversation row is the queue: last_seq is what came, answered_seq what is settled.
create table conversation (
  id            bigint generated always as identity primary key,
  account_id    bigint not null references account on delete cascade,
  contact_id    bigint not null references contact,
  chat          text not null,
  state         text not null default 'bot' check (state in ('bot', 'human', 'paused', 'closed')),
  state_since   timestamptz not null default clock(),
  last_seq      bigint not null default 0,
  answered_seq  bigint not null default 0,
  out_seq       bigint not null default 0,
  pending_since timestamptz,
  due_at        timestamptz,
  retry_at      timestamptz,
  attempts      int not null default 0,
  active_at     timestamptz not null default clock(),
  created_at    timestamptz not null default clock(),
  unique (account_id, contact_id),
  check (answered_seq <= last_seq)
);
create index conversation_pending on conversation (account_id, due_at) where last_seq > answered_seq;
create index conversation_active on conversation (active_at desc, id desc);

-- What came in, and what was typed on the phone itself (direction 'out').
create table message (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversation on delete cascade,
  seq             bigint not null,
  direction       text not null check (direction in ('in', 'out')),
  wa_id           text not null,
  kind            text not null default 'text',
  body            text not null default '',
  sent_at         timestamptz not null,
  received_at     timestamptz not null default clock(),
  constraint message_wa_id_key unique (conversation_id, wa_id),
  unique (conversation_id, seq)
);

-- What we send. A row is one bubble, with the WhatsApp id it keeps through every repetition.
create table outbound (
  id              bigint generated always as identity primary key,
  wa_id           text not null unique,
  conversation_id bigint not null references conversation on delete cascade,
  account_id      bigint not null references account on delete cascade,
  origin          text not null check (origin in ('bot', 'api', 'person', 'flow', 'system')),
  out_seq         bigint not null,
  after_seq       bigint not null,
  body            text not null,
  provider        text not null default '',
  model           text not null default '',
  due_at          timestamptz not null default clock(),
  claimed_at      timestamptz,
  attempts        int not null default 0,
  sent_at         timestamptz,
  delivered_at    timestamptz,
  read_at         timestamptz,
  failed_at       timestamptz,
  cancelled_at    timestamptz,
  failure         text not null default '',
  idempotency_key text,
  request_hash    bytea,
  created_at      timestamptz not null default clock(),
  unique (conversation_id, out_seq)
);
create unique index outbound_idempotency on outbound (account_id, idempotency_key) where idempotency_key is not null;
create index outbound_pending on outbound (account_id, conversation_id, out_seq)
  where sent_at is null and failed_at is null and cancelled_at is null;

-- Why the bot did or did not answer; seq is the last message the entry speaks of.
create table timeline (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversation on delete cascade,
  seq             bigint not null,
  kind            text not null,
  detail          jsonb not null default '{}',
  at              timestamptz not null default clock()
);
create index timeline_conversation on timeline (conversation_id, id);

-- AI providers ---------------------------------------------------------------

create table provider (
  id                   bigint generated always as identity primary key,
  name                 text not null unique check (length(name) between 1 and 100),
  base_url             text not null,
  model                text not null,
  api_key              bytea,
  key_hint             text not null default '',
  priority             int not null default 0,
  weight               int not null default 1 check (weight > 0),
  is_active            boolean not null default true,
  demo                 boolean not null default false,
  timeout_ms           int not null default 60000 check (timeout_ms > 0),
  capabilities         text[] not null default '{streaming,tools}',
  context_tokens       int not null default 128000,
  max_output_tokens    int not null default 1024,
  temperature          real,
  param_style          text not null default 'classic' check (param_style in ('classic', 'reasoning')),
  answer_filtered      boolean not null default false,
  request_limit        bigint check (request_limit >= 0),
  token_limit          bigint check (token_limit >= 0),
  cost_limit           bigint check (cost_limit >= 0),
  input_price          bigint check (input_price >= 0),
  output_price         bigint check (output_price >= 0),
  reset_tz             text not null default 'UTC' check (to_timestamp(0) at time zone reset_tz is not null),
  requests_per_minute  int check (requests_per_minute > 0),
  concurrency          int check (concurrency > 0),
  auto_disabled_until  timestamptz,
  auto_disabled_reason text not null default '',
  auto_disabled_times  int not null default 0,
  created_at           timestamptz not null default clock(),
  updated_at           timestamptz not null default clock(),
  check (cost_limit is null or (input_price is not null and output_price is not null))
);
create trigger provider_rings after insert or update or delete on provider for each row execute function ring('provider');

-- Books by local day of the provider; cost in micros of the currency the prices are in, null when no price was known.
create table provider_usage (
  provider_id       bigint not null references provider on delete cascade,
  day               date not null,
  requests          bigint not null default 0,
  prompt_tokens     bigint not null default 0,
  completion_tokens bigint not null default 0,
  tokens            bigint not null default 0,
  cost              bigint,
  reserved_tokens   bigint not null default 0,
  reserved_cost     bigint not null default 0,
  input_price       bigint,
  output_price      bigint,
  primary key (provider_id, day)
);

-- A claim on the day's quota while a call is under way. settled_at: the sweeper gave the call up and booked the estimate.
create table provider_reservation (
  id          uuid primary key default gen_random_uuid(),
  provider_id bigint not null references provider on delete cascade,
  day         date not null,
  tokens      bigint not null,
  cost        bigint not null,
  created_at  timestamptz not null default clock(),
  settled_at  timestamptz
);
create index provider_reservation_open on provider_reservation (created_at) where settled_at is null;
create index provider_reservation_swept on provider_reservation (settled_at) where settled_at is not null;

-- Doors ----------------------------------------------------------------------

create table token (
  id           bigint generated always as identity primary key,
  name         text not null,
  role         text not null check (role in ('owner', 'admin', 'agent', 'viewer')),
  hash         bytea not null unique,
  created_at   timestamptz not null default clock(),
  expires_at   timestamptz,
  last_used_at timestamptz
);

create table sign_in_link (
  hash       bytea primary key,
  role       text not null default 'owner' check (role in ('owner', 'admin', 'agent', 'viewer')),
  expires_at timestamptz not null
);

create table sessions (
  token  text primary key,
  data   bytea not null,
  expiry timestamptz not null
);
create index sessions_expiry on sessions (expiry);

-- +goose Down

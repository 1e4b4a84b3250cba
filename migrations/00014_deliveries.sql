-- +goose Up

-- Who wants to be told of what happened, at an address of their own.
create table subscription (
  id              bigint generated always as identity primary key,
  account_id      bigint references account on delete cascade, -- null: of all accounts, and what belongs to none
  url             text not null,
  events          text[] not null,          -- types, beginnings such as message.*, or *
  label           text not null default '',
  secret          bytea,                    -- sealed
  old_secret      bytea,                    -- sealed; signs beside secret, until somebody ends that
  is_active       boolean not null default true,
  active_since    timestamptz not null default clock(), -- what happened before is not for it
  seq             bigint not null default 0,            -- of its last delivery
  failing_since   timestamptz,                          -- nothing arrived since
  resting_until   timestamptz not null default '-infinity', -- the receiver asked for it
  disabled_at     timestamptz,                          -- nobody of the house did that
  disabled_reason text not null default '',
  created_at      timestamptz not null default clock()
);
create trigger subscription_rings after insert or delete or update of account_id, url, events, secret, is_active on subscription
  for each row execute function ring('subscription');

-- What one subscription is to be told: a copy of the event, which lives for a day only, without any words of people. They
-- are read from the message each time. Deliveries of a lane (a conversation, or what else the event speaks of) leave one
-- after the other: an earlier one goes first until it has failed three times, and those behind it are marked so.
create table delivery (
  id              bigint generated always as identity primary key,
  subscription_id bigint not null references subscription on delete cascade,
  seq             bigint not null, -- dense for each subscription
  lane            text not null,
  event_id        bigint not null,
  type            text not null,
  execution_id    bigint,
  flow_id         bigint,
  account_id      bigint references account on delete cascade,
  conversation_id bigint references conversation on delete cascade,
  message_id      bigint,
  outbound_id     bigint,
  epoch           bigint not null,
  event_seq       bigint not null,
  test            boolean not null,
  data            jsonb not null,
  at              timestamptz not null,
  status          text not null default 'waiting' check (status in ('waiting', 'delivered', 'dead')),
  behind          boolean not null default false, -- an earlier one of its lane goes first
  tries           int not null default 0,         -- that failed
  claims          bigint not null default 0,      -- grows with every try that begins
  due_at          timestamptz not null default clock(),
  claimed_by      text,                           -- process
  claimed_until   timestamptz not null default '-infinity',
  tried_at        timestamptz,
  answered        int not null default 0,         -- the receiver's last status; 0: none came
  failure         text not null default '',       -- of the last try
  reason          text not null default '' check (reason in ('', 'tries', 'gone', 'disabled', 'overflow')), -- of its death
  created_at      timestamptz not null default clock(),
  ended_at        timestamptz,
  unique (subscription_id, seq)
);
create index delivery_listed on delivery (subscription_id, id);
create index delivery_due on delivery (subscription_id, due_at, id) where status = 'waiting' and not behind;
create index delivery_waiting on delivery (subscription_id, seq) where status = 'waiting';
create unique index delivery_head on delivery (subscription_id, lane) where status = 'waiting' and not behind and tries < 3;
create index delivery_behind on delivery (subscription_id, lane, seq) where status = 'waiting' and behind;
create index delivery_at on delivery (subscription_id, at);
create index delivery_ended on delivery (status, ended_at) where ended_at is not null;
create index delivery_of_account on delivery (account_id) where account_id is not null;
create index delivery_conversation on delivery (conversation_id) where conversation_id is not null;

-- +goose Down
drop table delivery;
drop table subscription;

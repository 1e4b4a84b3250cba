-- +goose Up

-- How an account deals with people and when the bot speaks.
alter table account
  add column language          text not null default 'en' check (language ~ '^[a-z]{2}$'), -- of our own sentences to customers
  add column disclosure        text,                       -- opens the first answer of a session; null: the usual words, '': none
  add column takeover_minutes  int not null default 720 check (takeover_minutes between 0 and 43200), -- then the bot has the ball again; 0: never
  add column handoff_words     text[] not null default '{}', -- a message with one of them goes to people
  add column handoff_text      text,                       -- told to the customer then; null: the usual words, '': nothing
  add column hours             jsonb not null default '{}', -- see conversation.Hours; {}: always open
  add column answers_limit     int not null default 20 check (answers_limit between 0 and 1000), -- of the bot in ten minutes and chat; 0: any number
  add column spend_day         bigint check (spend_day >= 0),         -- micros a day for all its conversations; null: any amount
  add column spend_contact_day bigint check (spend_contact_day >= 0); -- the same, for each

create trigger account_people_rings after update of language, disclosure, takeover_minutes, handoff_words, handoff_text, hours, answers_limit,
  spend_day, spend_contact_day on account for each row execute function ring('account');

alter table conversation
  add column return_at    timestamptz,                   -- the bot has the ball again then; null: when somebody gives it back
  add column opted_out_at timestamptz,                   -- the customer wants no automated messages
  add column session_seq  bigint not null default 0,     -- what models read begins behind this message
  add column seen_seq     bigint not null default 0,     -- people have seen it up to here
  add column assigned_to  text not null default '',
  add column tags         text[] not null default '{}';
create index conversation_return on conversation (account_id, return_at) where return_at is not null;

-- What people write for each other; customers and models never see it.
create table note (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversation on delete cascade,
  body            text not null check (length(body) between 1 and 4000),
  by              text not null,
  at              timestamptz not null default clock()
);
create index note_conversation on note (conversation_id, id);

-- Words that people use again and again; account null: for all.
create table quick_reply (
  id         bigint generated always as identity primary key,
  account_id bigint references account on delete cascade,
  name       text not null check (length(name) between 1 and 60),
  body       text not null check (length(body) between 1 and 4000)
);
create unique index quick_reply_name on quick_reply (coalesce(account_id, 0), lower(name));

-- +goose Down
drop table quick_reply;
drop table note;
alter table conversation drop column return_at, drop column opted_out_at, drop column session_seq, drop column seen_seq,
  drop column assigned_to, drop column tags;
drop trigger account_people_rings on account;
alter table account drop column language, drop column disclosure, drop column takeover_minutes, drop column handoff_words, drop column handoff_text,
  drop column hours, drop column answers_limit, drop column spend_day, drop column spend_contact_day;

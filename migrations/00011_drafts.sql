-- +goose Up

-- Who sends what the bot has to say: the bot itself, a person for it, or nobody.
alter table account add column answering text not null default 'live' check (answering in ('live', 'approve', 'shadow'));
create trigger account_answering_rings after update of answering on account for each row execute function ring('account');

-- An answer that the bot did not send itself.
create table draft (
  id              bigint generated always as identity primary key,
  conversation_id bigint not null references conversation on delete cascade,
  after_seq       bigint not null,     -- it answers the messages up to this one
  bubbles         text[] not null,
  provider        text not null default '',
  model           text not null default '',
  made_at         timestamptz not null default clock(),
  decision        text check (decision in ('sent', 'edited', 'rejected', 'superseded', 'overtaken', 'shadow')), -- null: it waits for a person
  decided_at      timestamptz,
  decided_by      text not null default '',
  sent            text not null default '' -- what a person made of it
);
create index draft_of_conversation on draft (conversation_id, id);
create index draft_by_age on draft (made_at);
create index draft_that_waits on draft (conversation_id) where decision is null;

-- What people write themselves makes a draft idle.
-- +goose StatementBegin
create function overtake_draft() returns trigger language plpgsql as $$
begin
  update draft set decision = 'overtaken', decided_at = clock() where conversation_id = new.conversation_id and decision is null;
  return null;
end $$;
-- +goose StatementEnd
create trigger outbound_overtakes after insert on outbound for each row when (new.origin = 'person') execute function overtake_draft();
create trigger message_overtakes after insert on message for each row when (new.direction = 'out') execute function overtake_draft();

-- +goose Down
drop trigger message_overtakes on message;
drop trigger outbound_overtakes on outbound;
drop function overtake_draft;
drop table draft;
drop trigger account_answering_rings on account;
alter table account drop column answering;

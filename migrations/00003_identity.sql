-- +goose Up

-- A contact may have had other addresses before; those it has now are its own columns.
alter table contact add column username text unique;

create table contact_address (
  contact_id bigint not null references contact on delete cascade,
  kind       text not null check (kind in ('phone', 'lid', 'username')),
  value      text not null,
  since      timestamptz not null default clock(),
  left_at    timestamptz, -- null: it has it now
  primary key (contact_id, kind, value)
);
create index contact_address_value on contact_address (value);

-- +goose StatementBegin
create function note_address() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' then
    update contact_address set left_at = clock() where contact_id = new.id and left_at is null
      and (kind, value) in (('phone', old.phone), ('lid', old.lid), ('username', old.username))
      and (kind, value) not in (('phone', coalesce(new.phone, '')), ('lid', coalesce(new.lid, '')), ('username', coalesce(new.username, '')));
  end if;
  insert into contact_address (contact_id, kind, value)
  select new.id, a.kind, a.value from (values ('phone', new.phone), ('lid', new.lid), ('username', new.username)) as a (kind, value)
  where a.value is not null
  on conflict (contact_id, kind, value) do update set left_at = null;
  return null;
end $$;
-- +goose StatementEnd
create trigger contact_address_is_noted after insert or update of phone, lid, username on contact for each row execute function note_address();
insert into contact_address (contact_id, kind, value)
select id, a.kind, a.value from contact, lateral (values ('phone', phone), ('lid', lid)) as a (kind, value) where a.value is not null;

-- Two contacts that turned out to be one person. undone_at: somebody knew better.
create table contact_merge (
  id        bigint generated always as identity primary key,
  survivor  bigint not null references contact on delete cascade,
  merged    bigint not null references contact on delete cascade,
  at        timestamptz not null default clock(),
  by        text not null, -- 'whatsapp', or who did it
  undone_at timestamptz,
  undone_by text
);
create index contact_merge_survivor on contact_merge (survivor);

-- What a merge moved, and where each row was before.
create table contact_merge_move (
  merge_id  bigint not null references contact_merge on delete cascade,
  kind      text not null check (kind in ('address', 'contact', 'conversation', 'closed', 'message', 'outbound', 'timeline')),
  row_id    bigint not null,
  place     bigint,      -- the conversation, contact or state it belonged to
  seq       bigint,
  out_seq   bigint,
  word      text not null default ''
);
create index contact_merge_move_merge on contact_merge_move (merge_id, kind);

alter table conversation add column merged_into bigint references conversation on delete set null;

-- +goose Up

-- What was said in a voice note, as a machine heard it; null: nobody has listened yet.
alter table message
  add column transcript    text,
  add column transcript_by text not null default ''; -- the provider

-- +goose Down
alter table message drop column transcript, drop column transcript_by;

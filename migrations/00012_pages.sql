-- +goose Up

-- Web pages are read again every day.
drop index source_waiting;
create index source_waiting on source (due_at) where state in ('waiting', 'indexing') or kind = 'page';

-- +goose Down
drop index source_waiting;
create index source_waiting on source (due_at) where state in ('waiting', 'indexing');

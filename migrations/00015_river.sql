-- River's schema was made and never used: executions and deliveries are their own queues.

-- +goose Up
-- +goose StatementBegin
do $$
begin
  if to_regclass('river.river_job') is not null then
    if not exists (select from river.river_job) then
      drop schema river cascade;
    end if;
  end if;
end $$;
-- +goose StatementEnd

-- +goose Down
select 1; -- nothing needs it

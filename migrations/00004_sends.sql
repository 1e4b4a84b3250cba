-- +goose Up

-- How fast an account may send (0: as fast as it can), and how many chats it may begin a day: null is the usual
-- number for its age, 0 none. Its age counts from the pairing.
alter table account
  add column pace_account      int not null default 20 check (pace_account between 0 and 600),   -- messages in the rate window
  add column pace_recipient    int not null default 6 check (pace_recipient between 0 and 100),  -- the same, to one person
  add column new_chats_per_day int check (new_chats_per_day between 0 and 10000),
  add column paired_at         timestamptz;
update account set paired_at = created_at where jid is not null;

-- A trigger of its own, so that other migrations may change the list of account_rings.
create trigger account_pace_rings after update of pace_account, pace_recipient on account for each row execute function ring('account');

-- WhatsApp refused a message of this chat when held_seq was last_seq. While it restricts the account, nothing more is
-- tried before the customer writes. -1: it never did.
alter table conversation add column held_seq bigint not null default -1;

alter table outbound
  add column reply_to   text not null default '',       -- WhatsApp id of the quoted message
  add column new_chat   boolean not null default false, -- it begins a chat with somebody who never wrote
  add column perhaps_at timestamptz,                    -- a try ended without an answer: it may have arrived
  add column played_at  timestamptz;

-- What the budget of new chats counts, by the time it was sent; what still waits comes last.
create index outbound_new_chats on outbound (account_id, (coalesce(sent_at, failed_at, 'infinity'::timestamptz)))
  where new_chat and cancelled_at is null;

-- What a send ledger reads back.
create index outbound_claimed on outbound (account_id, claimed_at) where claimed_at is not null;

-- +goose Down

-- Brings the tables of a database that the 18 earlier migrations made (20261120000100 to 20261124000300) to the names of
-- the baseline, and drops the earlier functions. Then `src/bootstrap/baseline.rs` creates the functions and grants of the
-- baseline's files in the same transaction. Rows are kept: no read model is rebuilt.

-- Functions: all of them, the baseline creates its own.
DROP TRIGGER events_append_only ON events;
DROP FUNCTION
    refuse_change_of_log, append_lock_tag, append, append_together, append_charged, append_together_charged,
    command_repeated, log_bounds, read_events, floor_age, credential_set, credential_stands, credential_upgrade,
    login_start, login_start_checked, login_start_on, login_rotate, login_end, logins_end_all, sign_in_settle,
    reset_spend, resets_void, beside_accounts, mails_take, relay_remember, allowance_held, allowance_charge,
    allowance_write, allowance_takes, allowance_take, attempt_take;

-- Accounts.
ALTER INDEX logins_over_since RENAME TO logins_by_end;
ALTER TABLE password_resets RENAME COLUMN spent_at TO used_at;

-- Quotas.
ALTER TABLE allowances RENAME TO user_quotas;
ALTER TABLE user_quotas RENAME CONSTRAINT allowances_pkey TO user_quotas_pkey;
ALTER TABLE user_quotas RENAME COLUMN begun TO window_starts;
ALTER TABLE user_quotas RENAME COLUMN taken TO current_counts;
ALTER TABLE user_quotas RENAME COLUMN before TO previous_counts;
ALTER TABLE user_quotas RENAME COLUMN open TO reservations;
ALTER TABLE attempts RENAME TO rate_limit_buckets;
ALTER TABLE rate_limit_buckets RENAME CONSTRAINT attempts_pkey TO rate_limit_buckets_pkey;
ALTER TABLE rate_limit_buckets RENAME COLUMN begun TO window_start;
ALTER TABLE rate_limit_buckets RENAME COLUMN taken TO current_count;
ALTER TABLE rate_limit_buckets RENAME COLUMN before TO previous_count;

-- Read models. `elsewhere` meant the opposite of `is_active`: the values are inverted, and the indexes made anew.
DROP INDEX messages_shown, messages_elsewhere, items_shown, items_elsewhere;
ALTER TABLE messages ALTER COLUMN elsewhere DROP DEFAULT, ALTER COLUMN elsewhere TYPE boolean USING NOT elsewhere;
ALTER TABLE messages RENAME COLUMN elsewhere TO is_active;
ALTER TABLE messages ALTER COLUMN is_active SET DEFAULT true;
ALTER TABLE messages RENAME COLUMN wished_model TO requested_model;
CREATE INDEX messages_active ON messages (conversation_id, position) WHERE is_active;
CREATE INDEX messages_inactive ON messages (conversation_id, branch, position) WHERE NOT is_active;
ALTER TABLE items ALTER COLUMN elsewhere DROP DEFAULT, ALTER COLUMN elsewhere TYPE boolean USING NOT elsewhere;
ALTER TABLE items RENAME COLUMN elsewhere TO is_active;
ALTER TABLE items ALTER COLUMN is_active SET DEFAULT true;
ALTER TABLE items RENAME COLUMN answered_at TO answered_position;
CREATE INDEX items_active ON items (conversation_id, position) WHERE is_active;
CREATE INDEX items_inactive ON items (conversation_id, branch, position) WHERE NOT is_active;
ALTER TABLE conversations RENAME COLUMN read_marked TO read_position;
ALTER TABLE conversations RENAME COLUMN rewound_at TO rewound_position;
ALTER TABLE asked_again RENAME TO reply_requests;
ALTER TABLE reply_requests RENAME CONSTRAINT asked_again_pkey TO reply_requests_pkey;
ALTER INDEX asked_again_by_conversation RENAME TO reply_requests_by_conversation;
ALTER TABLE usage_begun RENAME TO usage_pending_prices;
ALTER TABLE usage_pending_prices RENAME CONSTRAINT usage_begun_pkey TO usage_pending_prices_pkey;

-- Jobs.
ALTER TABLE parked_messages RENAME TO dead_letters;
ALTER TABLE dead_letters RENAME CONSTRAINT parked_messages_pkey TO dead_letters_pkey;
ALTER TABLE dead_letters RENAME COLUMN parked_at TO dead_lettered_at;
ALTER TABLE mails RENAME CONSTRAINT mails_concern_one TO mails_recipient;

-- Accounts in depth: roles, what is known of a login's device, failed sign-ins, password resets, mails that are to be sent.
-- All of it but the read model's column stands beside the log, like credentials: it must be forgettable.

-- What a user may do besides their own things, for showing. Who may do what is decided on the user's stream.
ALTER TABLE users ADD COLUMN role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'auditor', 'admin'));
ALTER TABLE users ALTER COLUMN role DROP DEFAULT;

-- By which kind of program somebody signed in: a name out of a short list, never what the client said of itself.
ALTER TABLE logins ADD COLUMN device text;

-- Starts a login as `login_start_checked` does, and notes the kind of program.
CREATE FUNCTION login_start_on(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval,
    p_epoch bigint, p_device text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT login_start_checked(p_login_id, p_user_id, p_token_hash, p_idle, p_total, p_epoch) THEN
        RETURN false;
    END IF;
    UPDATE logins l SET device = p_device WHERE l.login_id = p_login_id;
    RETURN true;
END $$;

-- Who looks after accounts. Kept by the appends that grant and take that role, only so that the last one cannot go: two
-- administrators who take the role from each other meet here.
CREATE TABLE administrators (
    user_id uuid PRIMARY KEY
);

-- Failed sign-ins, for the name or address that was typed, whether somebody has it or not. `account` is the name of its
-- claim stream (a keyed hash), or `proof:` and a user's id for passwords that were asked for again.
CREATE TABLE sign_in_failures (
    account      text        PRIMARY KEY,
    failures     integer     NOT NULL,
    -- When the failures that count began.
    since        timestamptz NOT NULL,
    -- How often it was locked in a row: each time twice as long.
    locks        integer     NOT NULL,
    locked_until timestamptz,
    -- When nothing of this counts any more.
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sign_in_failures_expired ON sign_in_failures (expires_at);

-- What a finished try comes to. Calls for one account stand in line at its row, so that exactly `p_limit` wrong
-- passwords are told from right ones, however many are tried at once: a right one that comes behind them is refused like
-- the others. `refused_for`: locked, for so many seconds more. `locked_for`: this failure has locked it.
CREATE FUNCTION sign_in_settle(p_account text, p_right boolean, p_limit integer, p_window interval, p_lock interval,
    p_longest interval, OUT refused_for double precision, OUT locked_for double precision)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    known sign_in_failures%ROWTYPE;
    t timestamptz;
    pause interval;
BEGIN
    IF p_right THEN
        SELECT f.* INTO known FROM sign_in_failures f WHERE f.account = p_account FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    ELSE
        INSERT INTO sign_in_failures AS f (account, failures, since, locks, expires_at)
            VALUES (p_account, 0, clock_timestamp(), 0, clock_timestamp() + p_window)
            ON CONFLICT (account) DO UPDATE SET account = excluded.account
            RETURNING f.* INTO known;
    END IF;
    -- Read after the lock: the wait for it may have been long.
    t := clock_timestamp();
    IF known.locked_until > t THEN
        refused_for := extract(epoch FROM known.locked_until - t);
        RETURN;
    END IF;
    IF p_right THEN
        DELETE FROM sign_in_failures f WHERE f.account = p_account;
        RETURN;
    END IF;
    IF known.expires_at <= t THEN
        known.failures := 0;
        known.since := t;
        known.locks := 0;
    ELSIF known.locks = 0 AND known.since + p_window <= t THEN
        known.failures := 0;
        known.since := t;
    END IF;
    known.failures := known.failures + 1;
    known.locked_until := NULL;
    IF known.failures >= p_limit OR known.locks > 0 THEN
        pause := least(p_lock * power(2, least(known.locks, 20)), p_longest);
        known.locks := known.locks + 1;
        known.locked_until := t + pause;
        locked_for := extract(epoch FROM pause);
    END IF;
    UPDATE sign_in_failures f
        SET failures = known.failures, since = known.since, locks = known.locks, locked_until = known.locked_until,
            expires_at = coalesce(known.locked_until, t) + p_window
        WHERE f.account = p_account;
END $$;

-- Tokens with which a new password can be set, once. Spent ones stay for a day, so that a repeated request is known.
CREATE TABLE password_resets (
    token_hash bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id    uuid        NOT NULL,
    -- The mail that it went out with; none: it was issued by command.
    mail_id    uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at    timestamptz NOT NULL,
    spent_at   timestamptz
);
CREATE INDEX password_resets_of_user ON password_resets (user_id);
CREATE INDEX password_resets_by_age ON password_resets (created_at);

-- Takes a token in, and every other one of its user with it. False: unknown, another's, spent or run out.
CREATE FUNCTION reset_spend(p_token_hash bytea, p_user_id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Locked in one order, so that two of these cannot wait for each other.
    PERFORM FROM password_resets r WHERE r.user_id = p_user_id ORDER BY r.token_hash FOR UPDATE;
    PERFORM FROM password_resets r
        WHERE r.token_hash = p_token_hash AND r.user_id = p_user_id AND r.spent_at IS NULL
            AND r.ends_at > clock_timestamp();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM resets_void(p_user_id);
    RETURN true;
END $$;

-- Makes every token of a user worthless.
CREATE FUNCTION resets_void(p_user_id uuid) RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE password_resets r SET spent_at = clock_timestamp() WHERE r.user_id = p_user_id AND r.spent_at IS NULL;
$$;

-- Mails that are to be sent. No address, no text and no token: what they are for, and whom they concern. They are made
-- when they are sent.
CREATE TABLE mails (
    mail_id    uuid        PRIMARY KEY,
    kind       text        NOT NULL,
    -- Whom it concerns: a user, or whoever holds the address with this claim, if anybody does.
    user_id    uuid,
    claim      text,
    -- It goes to the address that the user had at this place of their stream; none: to the present one.
    sequence   bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts   integer     NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT mails_concern_one CHECK ((user_id IS NULL) <> (claim IS NULL))
);
-- Asking again while a mail is on its way brings no second one.
CREATE UNIQUE INDEX mails_for_claim ON mails (kind, claim) WHERE claim IS NOT NULL;
CREATE INDEX mails_due ON mails (not_before);

-- Takes mails that are due, each for one sender: nobody else is given them for `p_lease`.
CREATE FUNCTION mails_take(p_limit integer, p_lease interval) RETURNS SETOF mails LANGUAGE sql VOLATILE AS $$
    UPDATE mails m SET attempts = m.attempts + 1, not_before = clock_timestamp() + p_lease
        WHERE m.mail_id IN (
            SELECT d.mail_id FROM mails d WHERE d.not_before <= clock_timestamp()
                ORDER BY d.not_before LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING m.*;
$$;

-- Rows and conditions of accounts beside the log. False: it is none of these.
-- SQLSTATEs: VB007 the last administrator would go, VB008 a token that sets a password is not good (any more).
CREATE FUNCTION beside_accounts(p_item jsonb) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    whose uuid := (p_item ->> 'user_id')::uuid;
BEGIN
    CASE p_item ->> 'kind'
        WHEN 'login_device' THEN
            UPDATE logins l SET device = p_item ->> 'device' WHERE l.login_id = (p_item ->> 'login_id')::uuid;
        WHEN 'administrator_add' THEN
            INSERT INTO administrators (user_id) VALUES (whose) ON CONFLICT DO NOTHING;
        WHEN 'administrator_remove' THEN
            PERFORM FROM administrators a ORDER BY a.user_id FOR UPDATE;
            DELETE FROM administrators a WHERE a.user_id = whose;
            IF FOUND AND NOT EXISTS (SELECT FROM administrators) THEN
                RAISE EXCEPTION 'there would be no administrator left' USING ERRCODE = 'VB007';
            END IF;
        WHEN 'reset_spend' THEN
            IF NOT reset_spend(decode(p_item ->> 'token_hash', 'base64'), whose) THEN
                RAISE EXCEPTION 'the token is not good' USING ERRCODE = 'VB008';
            END IF;
        WHEN 'resets_void' THEN
            PERFORM resets_void(whose);
        WHEN 'failures_forget' THEN
            DELETE FROM sign_in_failures f WHERE f.account = p_item ->> 'account';
        WHEN 'mail' THEN
            INSERT INTO mails (mail_id, kind, user_id, sequence)
                SELECT (p_item ->> 'mail_id')::uuid, p_item ->> 'mail_kind', whose,
                    -- This append's own event stands last in the user's stream: before it, the old address counted.
                    CASE WHEN (p_item ->> 'to_old_address')::boolean THEN max(e.sequence) - 1 END
                FROM events e WHERE e.aggregate_type = 'user' AND e.aggregate_id = whose::text;
        ELSE
            RETURN false;
    END CASE;
    RETURN true;
END $$;

-- As it was, but for its last branch: rows of accounts are a function of their own.
CREATE OR REPLACE FUNCTION append(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_beside jsonb,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    written integer := coalesce(cardinality(p_types), 0);
    stands bigint;
    follows bigint;
    followed integer := 0;
    item jsonb;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'an append must not commit asynchronously' USING ERRCODE = 'VB002';
    END IF;
    replayed := false;

    -- (a) The key first: a duplicate waits here until the first one has ended.
    IF p_key IS NOT NULL THEN
        INSERT INTO command_keys AS k (owner, key, fingerprint, result, aggregate_type, aggregate_id, sequence)
        VALUES (p_owner, p_key, p_fingerprint, p_result, p_types[written], p_ids[written], p_sequences[written])
        ON CONFLICT (owner, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, result = excluded.result, aggregate_type = excluded.aggregate_type,
                aggregate_id = excluded.aggregate_id, sequence = excluded.sequence, created_at = clock_timestamp()
            WHERE k.created_at < clock_timestamp() - interval '24 hours';
        IF NOT FOUND THEN
            replayed := true;
            SELECT k.fingerprint, k.result, CASE WHEN e.position IS NULL THEN '{}' ELSE ARRAY[e.position] END
                INTO stored_fingerprint, stored_result, positions
                FROM command_keys k LEFT JOIN events e USING (aggregate_type, aggregate_id, sequence)
                WHERE k.owner = p_owner AND k.key = p_key;
            RETURN;
        END IF;
    END IF;

    -- (b) Every stream must stand where the decision saw it. The primary key alone would let holes through.
    FOR i IN 1 .. coalesce(cardinality(p_check_types), 0) LOOP
        SELECT e.sequence INTO stands FROM events e
            WHERE e.aggregate_type = p_check_types[i] AND e.aggregate_id = p_check_ids[i]
            ORDER BY e.sequence DESC LIMIT 1;
        IF coalesce(stands, 0) <> p_check_sequences[i] THEN
            RAISE EXCEPTION 'stream stands at %, not at %', coalesce(stands, 0), p_check_sequences[i]
                USING ERRCODE = 'VB001';
        END IF;
        follows := p_check_sequences[i];
        FOR j IN 1 .. written LOOP
            IF p_types[j] = p_check_types[i] AND p_ids[j] = p_check_ids[i] THEN
                follows := follows + 1;
                followed := followed + 1;
                IF p_sequences[j] <> follows THEN
                    RAISE EXCEPTION 'event % of its stream where % is next', p_sequences[j], follows
                        USING ERRCODE = 'VB005';
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    IF followed <> written THEN
        RAISE EXCEPTION 'events of a stream that was not checked, or checked twice' USING ERRCODE = 'VB005';
    END IF;

    -- (c) The lock tells readers, before any position is drawn, from where on this transaction may still write.
    IF written > 0 THEN
        PERFORM pg_advisory_xact_lock_shared(
            (append_lock_tag() << 48) | coalesce(pg_sequence_last_value('events_position_seq'::regclass), 0));
        WITH inserted AS (
            INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
            SELECT t.a, t.i, t.s, t.e, t.v, t.p::json, p_metadata::json
                FROM unnest(p_types, p_ids, p_sequences, p_event_types, p_event_versions, p_payloads)
                     WITH ORDINALITY AS t(a, i, s, e, v, p, ord)
                ORDER BY t.ord
            RETURNING events.position)
        SELECT array_agg(inserted.position ORDER BY inserted.position) INTO positions FROM inserted;
    ELSE
        positions := '{}';
    END IF;

    -- (d) What must live beside the log.
    IF p_beside IS NOT NULL THEN
        FOR item IN SELECT value FROM jsonb_array_elements(p_beside) LOOP
            CASE item ->> 'kind'
                WHEN 'user_key' THEN
                    INSERT INTO user_keys (user_id, master_id, wrapped)
                    VALUES ((item ->> 'user_id')::uuid, item ->> 'master_id', decode(item ->> 'wrapped', 'base64'));
                WHEN 'data_key' THEN
                    INSERT INTO data_keys (key_id, user_id, stream_type, stream_id, wrapped)
                    VALUES ((item ->> 'key_id')::uuid, (item ->> 'user_id')::uuid, item ->> 'stream_type',
                            item ->> 'stream_id', decode(item ->> 'wrapped', 'base64'));
                WHEN 'credential_seen' THEN
                    IF NOT credential_stands((item ->> 'user_id')::uuid, (item ->> 'epoch')::bigint) THEN
                        RAISE EXCEPTION 'the password was changed since' USING ERRCODE = 'VB006';
                    END IF;
                WHEN 'credential' THEN
                    PERFORM credential_set((item ->> 'user_id')::uuid, item ->> 'hash');
                WHEN 'login_start' THEN
                    PERFORM login_start((item ->> 'login_id')::uuid, (item ->> 'user_id')::uuid,
                        decode(item ->> 'token_hash', 'base64'),
                        make_interval(secs => (item ->> 'idle_seconds')::double precision),
                        make_interval(secs => (item ->> 'total_seconds')::double precision));
                WHEN 'logins_end_all' THEN
                    PERFORM logins_end_all((item ->> 'user_id')::uuid, item ->> 'reason', (item ->> 'except')::uuid);
                ELSE
                    IF NOT beside_accounts(item) THEN
                        RAISE EXCEPTION 'unknown beside row' USING ERRCODE = 'VB003';
                    END IF;
            END CASE;
        END LOOP;
    END IF;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failures, password_resets, mails TO verbatim_app;
    END IF;
END $$;

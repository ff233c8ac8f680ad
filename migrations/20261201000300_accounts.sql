-- Accounts: password hashes, logins (refresh-token families), tickets, administrators, failed sign-ins, password resets.
-- These rows are not events, because they must be forgettable and their history is of no use. The functions never commit,
-- so that an append can call them in its own transaction.

CREATE TABLE credentials (
    user_id       uuid        PRIMARY KEY,
    -- A PHC string: algorithm, cost, salt and hash.
    password_hash text        NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Rises when the password changes and when all logins are ended. A sign-in reads the epoch before it verifies the
    -- password, and may start a login only while the epoch is the same. Otherwise a sign-in under way with the old
    -- password would outlive the change.
    epoch         bigint      NOT NULL DEFAULT 0
);

-- One row per sign-in: a family of refresh tokens, one of which is valid at a time.
CREATE TABLE logins (
    login_id      uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz NOT NULL,
    -- The login ends at the earlier of the two, unless it was ended before.
    idle_until    timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_reason  text,
    -- The valid token, and the one that it replaced.
    current_hash  bytea       NOT NULL CHECK (octet_length(current_hash) = 32),
    previous_hash bytea       CHECK (octet_length(previous_hash) = 32),
    -- Kind of client, out of a short list; never what the client said about itself.
    device        text,
    CONSTRAINT logins_ended CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);
CREATE INDEX logins_of_user ON logins (user_id) WHERE ended_at IS NULL;
CREATE INDEX logins_by_end ON logins ((coalesce(ended_at, least(idle_until, ends_at))));

-- SHA-256 of every token issued for a family that is still stored: tells a stolen old token from an invented one.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    login_id   uuid  NOT NULL REFERENCES logins ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_of_login ON refresh_tokens (login_id);

-- Tickets: each opens one WebSocket of a login, once.
CREATE TABLE tickets (
    -- SHA-256 of the ticket.
    ticket_hash   bytea       PRIMARY KEY,
    user_id       uuid        NOT NULL,
    login_id      uuid        NOT NULL,
    -- Expiry of the access token that requested the ticket: the socket closes no later.
    token_ends_at timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL
);

-- Users with the role `admin`, written by the appends that grant and revoke it. Ensures that one is left: two
-- administrators who revoke each other's role lock the same rows.
CREATE TABLE administrators (
    user_id uuid PRIMARY KEY
);

-- Failed sign-ins by name or address, known or not. `account` is the name of its claim stream (a keyed hash), or
-- `proof:` and a user's id where a signed-in user confirms the password.
CREATE TABLE sign_in_failures (
    account      text        PRIMARY KEY,
    failures     integer     NOT NULL,
    -- Start of the window in which the failures are counted.
    since        timestamptz NOT NULL,
    -- Locks in a row; each is twice as long as the one before.
    locks        integer     NOT NULL,
    locked_until timestamptz,
    -- From then on the row counts as absent.
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sign_in_failures_expired ON sign_in_failures (expires_at);

-- Tokens that set a new password, once. Used ones are kept for a day, so that a repeated request is recognised.
CREATE TABLE password_resets (
    token_hash bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id    uuid        NOT NULL,
    -- Mail that carried the token. NULL: an operator issued it on the command line.
    mail_id    uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at    timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX password_resets_of_user ON password_resets (user_id);
CREATE INDEX password_resets_by_age ON password_resets (created_at);

-- == Functions and grants ==

-- Sets a user's password hash.
CREATE FUNCTION credential_set(p_user_id uuid, p_hash text) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO credentials AS c (user_id, password_hash) VALUES (p_user_id, p_hash)
    ON CONFLICT (user_id) DO UPDATE
        SET password_hash = excluded.password_hash, changed_at = clock_timestamp(), epoch = c.epoch + 1;
$$;

-- Replaces a hash by another one of the same password (higher cost). Returns false if the password has changed since.
CREATE FUNCTION credential_upgrade(p_user_id uuid, p_old_hash text, p_new_hash text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE credentials c SET password_hash = p_new_hash WHERE c.user_id = p_user_id AND c.password_hash = p_old_hash;
    RETURN FOUND;
END $$;

-- Starts a login with its first refresh token.
CREATE FUNCTION login_start(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval,
    p_device text DEFAULT NULL) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t timestamptz := clock_timestamp();
BEGIN
    INSERT INTO logins (login_id, user_id, created_at, last_used_at, idle_until, ends_at, current_hash, device)
    VALUES (p_login_id, p_user_id, t, t, least(t + p_idle, t + p_total), t + p_total, p_token_hash, p_device);
    INSERT INTO refresh_tokens (token_hash, login_id) VALUES (p_token_hash, p_login_id);
END $$;

-- Starts a login if the credential still has the epoch that the sign-in read; otherwise returns false. The share lock
-- makes a password change and this transaction wait for each other, so one of them always sees the other.
CREATE FUNCTION login_start_checked(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval,
    p_total interval, p_epoch bigint, p_device text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM credentials c WHERE c.user_id = p_user_id AND c.epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM login_start(p_login_id, p_user_id, p_token_hash, p_idle, p_total, p_device);
    RETURN true;
END $$;

-- Exchanges a refresh token for the next one. Outcomes:
--   rotated   the token was the valid one;
--   reissued  the token was the previous one and the valid one is unused: the response that carried it was lost. The
--             unused token is void from now on. This may repeat with the same token;
--   reuse     any other token of the family: it has been copied. The whole family is ended;
--   expired   the family has ended, was idle too long, or has reached its end;
--   unknown   the token belongs to no family.
-- The row lock on the login serialises parallel uses of one token; each sees the effect of the one before it.
CREATE FUNCTION login_rotate(p_old bytea, p_new bytea, p_idle interval, OUT outcome text, OUT login_id uuid,
    OUT user_id uuid) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    family logins%ROWTYPE;
    t timestamptz;
BEGIN
    SELECT l.* INTO family FROM logins l
        WHERE l.login_id = (SELECT k.login_id FROM refresh_tokens k WHERE k.token_hash = p_old)
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    -- Read after the lock: waiting for it may have taken long.
    t := clock_timestamp();
    login_id := family.login_id;
    user_id := family.user_id;

    IF family.ended_at IS NOT NULL OR family.idle_until <= t OR family.ends_at <= t THEN
        outcome := 'expired';
    ELSIF p_old = family.current_hash OR p_old = family.previous_hash THEN
        outcome := CASE WHEN p_old = family.current_hash THEN 'rotated' ELSE 'reissued' END;
        UPDATE logins l
            SET previous_hash = p_old, current_hash = p_new, last_used_at = t,
                idle_until = least(t + p_idle, family.ends_at)
            WHERE l.login_id = family.login_id;
        INSERT INTO refresh_tokens (token_hash, login_id) VALUES (p_new, family.login_id);
    ELSE
        outcome := 'reuse';
        UPDATE logins l SET ended_at = t, ended_reason = 'reuse' WHERE l.login_id = family.login_id;
    END IF;
END $$;

-- Ends one login. Returns its user, or NULL if there was no such login to end.
CREATE FUNCTION login_end(p_login_id uuid, p_reason text) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.login_id = p_login_id AND l.ended_at IS NULL
        RETURNING l.user_id;
$$;

-- Ends every login of a user, except one (NULL: no exception), and makes sign-ins under way fail. Returns the ended ones.
CREATE FUNCTION logins_end_all(p_user_id uuid, p_reason text, p_except uuid) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE credentials c SET epoch = c.epoch + 1 WHERE c.user_id = p_user_id;
    -- Locked in one order, so that two calls cannot deadlock.
    PERFORM FROM logins l WHERE l.user_id = p_user_id AND l.ended_at IS NULL ORDER BY l.login_id FOR NO KEY UPDATE;
    RETURN QUERY UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.user_id = p_user_id AND l.ended_at IS NULL AND l.login_id IS DISTINCT FROM p_except
        RETURNING l.login_id;
END $$;

-- Records the outcome of a sign-in attempt. Calls for one account wait for each other at its row: exactly `p_limit` wrong
-- passwords are distinguished from right ones, however many are tried at once; a right one after them is rejected as well.
-- `retry_after`: the account is locked for so many more seconds. `locked_for`: this failure has locked it.
CREATE FUNCTION sign_in_record(p_account text, p_succeeded boolean, p_limit integer, p_window interval, p_lock interval,
    p_longest_lock interval, OUT retry_after double precision, OUT locked_for double precision)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    known sign_in_failures%ROWTYPE;
    t timestamptz;
    lock_time interval;
BEGIN
    IF p_succeeded THEN
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
    -- Read after the lock: waiting for it may have taken long.
    t := clock_timestamp();
    IF known.locked_until > t THEN
        retry_after := extract(epoch FROM known.locked_until - t);
        RETURN;
    END IF;
    IF p_succeeded THEN
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
        lock_time := least(p_lock * power(2, least(known.locks, 20)), p_longest_lock);
        known.locks := known.locks + 1;
        known.locked_until := t + lock_time;
        locked_for := extract(epoch FROM lock_time);
    END IF;
    UPDATE sign_in_failures f
        SET failures = known.failures, since = known.since, locks = known.locks, locked_until = known.locked_until,
            expires_at = coalesce(known.locked_until, t) + p_window
        WHERE f.account = p_account;
END $$;

-- Marks every unused reset token of a user as used.
CREATE FUNCTION password_resets_revoke(p_user_id uuid) RETURNS void LANGUAGE sql VOLATILE AS $$
    UPDATE password_resets r SET used_at = clock_timestamp() WHERE r.user_id = p_user_id AND r.used_at IS NULL;
$$;

-- Uses a reset token, and revokes every other token of its user. Returns false if it is unknown, another user's, used or
-- expired.
CREATE FUNCTION password_reset_use(p_token_hash bytea, p_user_id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Locked in one order, so that two calls cannot deadlock.
    PERFORM FROM password_resets r WHERE r.user_id = p_user_id ORDER BY r.token_hash FOR UPDATE;
    PERFORM FROM password_resets r
        WHERE r.token_hash = p_token_hash AND r.user_id = p_user_id AND r.used_at IS NULL
            AND r.ends_at > clock_timestamp();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM password_resets_revoke(p_user_id);
    RETURN true;
END $$;

-- Writes that an append runs in its transaction. SQLSTATEs: VB006 the password has changed, VB007 the last administrator
-- would go, VB008 the reset token is not valid.

-- Requires that the password is still the one that was verified; it stays so until the transaction ends.
CREATE FUNCTION transactional_writes.credential_check(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM credentials c
        WHERE c.user_id = (arguments ->> 'user_id')::uuid AND c.epoch = (arguments ->> 'epoch')::bigint FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the password has changed' USING ERRCODE = 'VB006';
    END IF;
END $$;

CREATE FUNCTION transactional_writes.credential_set(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM credential_set((arguments ->> 'user_id')::uuid, arguments ->> 'hash');
END $$;

CREATE FUNCTION transactional_writes.login_start(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM login_start((arguments ->> 'login_id')::uuid, (arguments ->> 'user_id')::uuid,
        decode(arguments ->> 'token_hash', 'base64'),
        make_interval(secs => (arguments ->> 'idle_seconds')::double precision),
        make_interval(secs => (arguments ->> 'total_seconds')::double precision));
END $$;

-- Records the kind of client of a login that the same append has started.
CREATE FUNCTION transactional_writes.login_device(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE logins l SET device = arguments ->> 'device' WHERE l.login_id = (arguments ->> 'login_id')::uuid;
END $$;

CREATE FUNCTION transactional_writes.logins_end(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM logins_end_all((arguments ->> 'user_id')::uuid, arguments ->> 'reason', (arguments ->> 'except')::uuid);
END $$;

-- Adds or removes an administrator; requires that one is left.
CREATE FUNCTION transactional_writes.administrator_set(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    p_user_id uuid := (arguments ->> 'user_id')::uuid;
BEGIN
    IF (arguments ->> 'is_administrator')::boolean THEN
        INSERT INTO administrators (user_id) VALUES (p_user_id) ON CONFLICT DO NOTHING;
        RETURN;
    END IF;
    PERFORM FROM administrators a ORDER BY a.user_id FOR UPDATE;
    DELETE FROM administrators a WHERE a.user_id = p_user_id;
    IF FOUND AND NOT EXISTS (SELECT FROM administrators) THEN
        RAISE EXCEPTION 'the last administrator cannot be removed' USING ERRCODE = 'VB007';
    END IF;
END $$;

-- Uses a password-reset token; requires that it is valid.
CREATE FUNCTION transactional_writes.password_reset_use(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT password_reset_use(decode(arguments ->> 'token_hash', 'base64'), (arguments ->> 'user_id')::uuid) THEN
        RAISE EXCEPTION 'the reset token is not valid' USING ERRCODE = 'VB008';
    END IF;
END $$;

CREATE FUNCTION transactional_writes.password_resets_revoke(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM password_resets_revoke((arguments ->> 'user_id')::uuid);
END $$;

-- Forgets the failed sign-ins of an account.
CREATE FUNCTION transactional_writes.sign_in_failures_reset(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    DELETE FROM sign_in_failures f WHERE f.account = arguments ->> 'account';
END $$;

REVOKE ALL ON FUNCTION transactional_writes.credential_check, transactional_writes.credential_set,
    transactional_writes.login_start, transactional_writes.login_device, transactional_writes.logins_end,
    transactional_writes.administrator_set, transactional_writes.password_reset_use,
    transactional_writes.password_resets_revoke, transactional_writes.sign_in_failures_reset FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON credentials, logins, refresh_tokens, tickets, sign_in_failures,
            password_resets TO verbatim_app;
    END IF;
END $$;

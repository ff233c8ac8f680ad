-- What proves who somebody is: password hashes and refresh-token families. Rows beside the log, never events: they
-- must be forgettable, and nobody needs their history. Every function below is plain SQL work inside the caller's
-- transaction (nothing here commits), so that the append can call them together with the events.

CREATE TABLE credentials (
    user_id       uuid        PRIMARY KEY,
    -- A PHC string: algorithm, cost, salt and hash.
    password_hash text        NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Moves when the password changes and when all logins are ended. A sign-in notes it before it checks the password
    -- and may only start a login while it still stands there: otherwise a sign-in under way with the old password
    -- would outlive the change.
    epoch         bigint      NOT NULL DEFAULT 0
);

-- One row per sign-in: a family of refresh tokens of which one is good at a time.
CREATE TABLE logins (
    login_id      uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz NOT NULL,
    -- Ends at the earlier of the two, unless ended before.
    idle_until    timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_reason  text,
    -- The token that is good now, and the one that it was given for.
    current_hash  bytea       NOT NULL CHECK (octet_length(current_hash) = 32),
    previous_hash bytea       CHECK (octet_length(previous_hash) = 32),
    CONSTRAINT logins_ended CHECK ((ended_at IS NULL) = (ended_reason IS NULL))
);
CREATE INDEX logins_of_user ON logins (user_id) WHERE ended_at IS NULL;
CREATE INDEX logins_over_since ON logins ((coalesce(ended_at, least(idle_until, ends_at))));

-- Every token ever issued for a family that is still kept, as SHA-256: what tells a stolen old token from a made-up one.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    login_id   uuid  NOT NULL REFERENCES logins ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_of_login ON refresh_tokens (login_id);

-- Sets a person's password hash, the first one or another.
CREATE FUNCTION credential_set(p_user_id uuid, p_hash text) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO credentials AS c (user_id, password_hash) VALUES (p_user_id, p_hash)
    ON CONFLICT (user_id) DO UPDATE
        SET password_hash = excluded.password_hash, changed_at = clock_timestamp(), epoch = c.epoch + 1;
$$;

-- Whether the credential is still the one that was looked at; if so, it stays so until the transaction ends.
CREATE FUNCTION credential_stands(p_user_id uuid, p_epoch bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM credentials c WHERE c.user_id = p_user_id AND c.epoch = p_epoch FOR UPDATE;
    RETURN FOUND;
END $$;

-- Replaces a hash by another one of the same password (stronger cost). Does nothing when the password has changed since.
CREATE FUNCTION credential_upgrade(p_user_id uuid, p_old_hash text, p_new_hash text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE credentials c SET password_hash = p_new_hash WHERE c.user_id = p_user_id AND c.password_hash = p_old_hash;
    RETURN FOUND;
END $$;

-- Starts a login with its first refresh token.
CREATE FUNCTION login_start(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    t timestamptz := clock_timestamp();
BEGIN
    INSERT INTO logins (login_id, user_id, created_at, last_used_at, idle_until, ends_at, current_hash)
    VALUES (p_login_id, p_user_id, t, t, least(t + p_idle, t + p_total), t + p_total, p_token_hash);
    INSERT INTO refresh_tokens (token_hash, login_id) VALUES (p_token_hash, p_login_id);
END $$;

-- Starts a login only while the credential stands at the epoch that the sign-in saw. The share lock makes a password
-- change wait for this transaction, or this one for the change: one of them always sees the other.
CREATE FUNCTION login_start_checked(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval,
    p_total interval, p_epoch bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM credentials c WHERE c.user_id = p_user_id AND c.epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM login_start(p_login_id, p_user_id, p_token_hash, p_idle, p_total);
    RETURN true;
END $$;

-- Exchanges a refresh token for the next one. Outcomes:
--   rotated   it was the good one;
--   reissued  it was the one before, and nobody has used the good one yet: the answer that carried it was lost. The
--             unused one is dead from now on. May happen again with the same token;
--   reuse     any other token of the family: somebody has a copy. The whole family is ended;
--   expired   the family has ended, or was idle too long, or has reached its end;
--   unknown   no family knows this token.
-- The row lock on the login puts parallel uses of one token in line; each sees what the one before it did.
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
    -- Read after the lock: the wait for it may have been long.
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

-- Ends one login. Gives its user, or NULL where there was nothing to end.
CREATE FUNCTION login_end(p_login_id uuid, p_reason text) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.login_id = p_login_id AND l.ended_at IS NULL
        RETURNING l.user_id;
$$;

-- Ends every login of a person but one (or none kept: NULL), and stops sign-ins that are under way. Gives the ended ones.
CREATE FUNCTION logins_end_all(p_user_id uuid, p_reason text, p_except uuid) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE credentials c SET epoch = c.epoch + 1 WHERE c.user_id = p_user_id;
    -- Locked in one order, so that two of these cannot wait for each other.
    PERFORM FROM logins l WHERE l.user_id = p_user_id AND l.ended_at IS NULL ORDER BY l.login_id FOR NO KEY UPDATE;
    RETURN QUERY UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.user_id = p_user_id AND l.ended_at IS NULL AND l.login_id IS DISTINCT FROM p_except
        RETURNING l.login_id;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON credentials, logins, refresh_tokens TO verbatim_app;
    END IF;
END $$;

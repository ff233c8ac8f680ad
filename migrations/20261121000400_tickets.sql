-- Tickets: each opens one socket of a login, once. Beside the log, like everything that signs in.

CREATE TABLE tickets (
    -- SHA-256 of what the client was given.
    ticket_hash   bytea       PRIMARY KEY,
    user_id       uuid        NOT NULL,
    login_id      uuid        NOT NULL,
    -- When the access token ends that it was asked for with: the socket does not outlive it.
    token_ends_at timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO verbatim_app;
    END IF;
END $$;

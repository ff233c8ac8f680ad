-- Background work: leases of reply workers, dead letters, the relay to NATS, the mail outbox. Not read models.

-- Which process works on which reply when there is no NATS, by the database's clock. Unlogged: taking a lease costs no
-- fsync, and if a crash loses one, another worker takes the reply up.
CREATE UNLOGGED TABLE reply_leases (
    reply_id uuid PRIMARY KEY,
    holder   uuid        NOT NULL,
    until    timestamptz NOT NULL
);

-- Messages of a JetStream stream that no worker could process; an operator retries or drops them.
CREATE TABLE dead_letters (
    stream           text        NOT NULL,
    -- Sequence number in the stream.
    sequence         bigint      NOT NULL,
    subject          text        NOT NULL,
    reason           text        NOT NULL,
    deliveries       bigint      NOT NULL,
    dead_lettered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An operator has requested another attempt.
    retry            boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (stream, sequence)
);

-- Lease and progress of the relay that publishes events to NATS. Which events a stream holds is read from the stream
-- itself; this row tells whether a stream without messages has been emptied, recreated or has aged out.
CREATE TABLE relays (
    name           text PRIMARY KEY,
    -- The process that publishes, and the end of its lease, by the database's clock.
    holder         uuid        NOT NULL,
    held_until     timestamptz NOT NULL,
    -- Creation time of the stream, as NATS reports it; another value means that the stream was recreated.
    stream_created text,
    -- The last message that this relay has published: its sequence in the stream and its position in the log.
    last_sequence  bigint      NOT NULL DEFAULT 0,
    position       bigint      NOT NULL DEFAULT 0,
    published_at   timestamptz,
    -- How often an emptied stream was refilled: JetStream remembers the ids of messages that are gone.
    refills        integer     NOT NULL DEFAULT 0
);

-- Outbox of mails. Holds no address, text or token, only what the mail is for and whom it concerns; the mail is rendered
-- when it is sent.
CREATE TABLE mails (
    mail_id    uuid        PRIMARY KEY,
    kind       text        NOT NULL,
    -- The recipient: a user, or the user whose address has this claim, if there is one.
    user_id    uuid,
    claim      text,
    -- The mail goes to the address that the user had at this sequence of their stream; NULL: to the current one.
    sequence   bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts   integer     NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT mails_recipient CHECK ((user_id IS NULL) <> (claim IS NULL))
);
-- A second request while a mail is pending sends no second mail.
CREATE UNIQUE INDEX mails_for_claim ON mails (kind, claim) WHERE claim IS NOT NULL;
CREATE INDEX mails_due ON mails (not_before);

-- == Functions and grants ==

-- Stores the progress of the relay and renews its lease. Returns false if another process holds the lease. Commits
-- asynchronously: progress is read from the stream, so a crash that loses this write costs nothing, and commands need
-- not wait behind another fsync.
CREATE FUNCTION relay_checkpoint(
    p_name text, p_holder uuid, p_created text, p_sequence bigint, p_position bigint, p_term interval
) RETURNS boolean LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    -- For this transaction only.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE relays SET stream_created = p_created, last_sequence = p_sequence, position = p_position,
        published_at = clock_timestamp(), held_until = clock_timestamp() + p_term
        WHERE name = p_name AND holder = p_holder;
    RETURN FOUND;
END $$;

-- Leases mails that are due: no other sender gets them for `p_lease`.
CREATE FUNCTION mails_lease(p_limit integer, p_lease interval) RETURNS SETOF mails LANGUAGE sql VOLATILE AS $$
    UPDATE mails m SET attempts = m.attempts + 1, not_before = clock_timestamp() + p_lease
        WHERE m.mail_id IN (
            SELECT d.mail_id FROM mails d WHERE d.not_before <= clock_timestamp()
                ORDER BY d.not_before LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING m.*;
$$;

-- Enqueues a mail to a user, as part of an append.
CREATE FUNCTION transactional_writes.mail_enqueue(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO mails (mail_id, kind, user_id, sequence)
        SELECT (arguments ->> 'mail_id')::uuid, arguments ->> 'kind', (arguments ->> 'user_id')::uuid,
            -- The event of this append is the last one of the user's stream: before it, the old address was valid.
            CASE WHEN (arguments ->> 'to_old_address')::boolean THEN max(e.sequence) - 1 END
        FROM events e WHERE e.aggregate_type = 'user' AND e.aggregate_id = arguments ->> 'user_id';
END $$;

REVOKE ALL ON FUNCTION transactional_writes.mail_enqueue FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON reply_leases, dead_letters, relays, mails TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON dead_letters, relays TO verbatim_auditor;
    END IF;
END $$;

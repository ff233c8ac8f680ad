-- Who carries events to NATS, and how far it has come. Which events the stream has is read from the stream itself; this
-- row tells what became of a stream in which nothing is left to read.

CREATE TABLE relays (
    name           text PRIMARY KEY,
    -- The process that works, until when unless it renews that, by the database's clock.
    holder         uuid        NOT NULL,
    held_until     timestamptz NOT NULL,
    -- When the stream was made, by the words of NATS; another value tells that it was made anew.
    stream_created text,
    -- The last message that this relay knows of, by its number in the stream and by its position in the log.
    last_sequence  bigint      NOT NULL DEFAULT 0,
    position       bigint      NOT NULL DEFAULT 0,
    published_at   timestamptz,
    -- How often an emptied stream was filled again: JetStream remembers the ids of messages that are gone.
    refills        integer     NOT NULL DEFAULT 0
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON relays TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON relays TO verbatim_auditor;
    END IF;
END $$;

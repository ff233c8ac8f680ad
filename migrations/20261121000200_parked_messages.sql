-- Messages that no worker could make anything of, until somebody looks at them.

CREATE TABLE parked_messages (
    stream     text        NOT NULL,
    -- Its number in the stream.
    sequence   bigint      NOT NULL,
    subject    text        NOT NULL,
    reason     text        NOT NULL,
    deliveries bigint      NOT NULL,
    parked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Somebody asked for another try.
    retry      boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (stream, sequence)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON parked_messages TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON parked_messages TO verbatim_auditor;
    END IF;
END $$;

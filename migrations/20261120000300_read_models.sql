-- Read models. Every row can be made again from the log: no defaults that read a clock, no serials, no fresh ids.
-- They hold personal text in plain, and are rebuilt when it is erased.

CREATE TABLE users (
    user_id             uuid PRIMARY KEY,
    email               text,
    username            text,
    is_active           boolean     NOT NULL,
    created_at          timestamptz NOT NULL,
    password_changed_at timestamptz
);

CREATE TABLE conversations (
    conversation_id uuid PRIMARY KEY,
    owner           uuid        NOT NULL,
    title           text,
    pinned          boolean     NOT NULL,
    archived        boolean     NOT NULL,
    message_count   bigint      NOT NULL,
    last_message    text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
)
-- Its rows change often and stay: cleaned early, and with room for new versions beside the old ones.
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX conversations_by_owner ON conversations (owner, archived, pinned DESC, updated_at DESC, conversation_id);

CREATE TABLE messages (
    message_id      uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    -- Position of the event that made it: the order of a conversation, and the cursor of its pages.
    position        bigint      NOT NULL,
    role            text        NOT NULL CHECK (role IN ('user', 'assistant')),
    -- complete, or what became of the reply: cancelled, failed.
    status          text        NOT NULL CHECK (status IN ('complete', 'cancelled', 'failed')),
    -- NULL: erased.
    text            text,
    reply_id        uuid,
    in_reply_to     uuid,
    model           text,
    created_at      timestamptz NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, position);

-- What is owed: the truth of which replies are still to be given. A row goes when its reply has ended.
CREATE TABLE pending_replies (
    reply_id        uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    owner           uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    -- Position of the request: replies of one conversation are given in this order.
    position        bigint      NOT NULL,
    model           text,
    requested_at    timestamptz NOT NULL,
    deadline        timestamptz NOT NULL,
    attempt         integer     NOT NULL,
    not_before      timestamptz
);
CREATE INDEX pending_replies_by_conversation ON pending_replies (conversation_id, position);

-- Provenance of every reply.
CREATE TABLE replies (
    reply_id        uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    owner           uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    answer_id       uuid        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('requested', 'begun', 'completed', 'failed', 'cancelled')),
    requested_model text,
    model           text,
    attempts        jsonb       NOT NULL,
    finish          text,
    failure         text,
    usage           jsonb,
    timings         jsonb,
    provider_reply_id text,
    requested_at    timestamptz NOT NULL,
    ended_at        timestamptz,
    -- Position of its last event: what a reader of the answer has to wait for.
    position        bigint      NOT NULL
);
CREATE INDEX replies_by_conversation ON replies (conversation_id);

-- Which process works on which reply in the form without NATS. Not a read model: leases, by the database's clock.
-- Unlogged: taking one costs no fsync, and losing them in a crash only means that the work is taken up again.
CREATE UNLOGGED TABLE reply_leases (
    reply_id uuid PRIMARY KEY,
    holder   uuid        NOT NULL,
    until    timestamptz NOT NULL
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON users, conversations, messages, pending_replies, replies TO verbatim_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON reply_leases TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON users, conversations, messages, pending_replies, replies
            TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON users, conversations, messages, pending_replies, replies TO verbatim_auditor;
    END IF;
END $$;

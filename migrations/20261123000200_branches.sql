-- Branches of conversations. Rows are made from the log.

ALTER TABLE messages ADD COLUMN branch integer NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN branch integer NOT NULL DEFAULT 0;
-- Whether it is not on the path of the active branch. Since when does not matter, and would depend on how events fall into batches.
ALTER TABLE messages ADD COLUMN elsewhere boolean NOT NULL DEFAULT false;
ALTER TABLE items ADD COLUMN elsewhere boolean NOT NULL DEFAULT false;
ALTER TABLE messages DROP COLUMN left_at;
ALTER TABLE items DROP COLUMN left_at;

-- Every row is in one of two: pages of what is shown do not wade through what is not. A path has a range of each of its branches.
DROP INDEX messages_by_conversation;
CREATE INDEX messages_shown ON messages (conversation_id, position) WHERE NOT elsewhere;
CREATE INDEX messages_elsewhere ON messages (conversation_id, branch, position) WHERE elsewhere;
DROP INDEX items_by_conversation;
CREATE INDEX items_shown ON items (conversation_id, position) WHERE NOT elsewhere;
CREATE INDEX items_elsewhere ON items (conversation_id, branch, position) WHERE elsewhere;

-- Of conversations that have more than one branch.
CREATE TABLE branches (
    conversation_id uuid    NOT NULL,
    branch          integer NOT NULL,
    -- The branch it forks from, whose path it shares up to a position. NULL: the first.
    parent          integer,
    fork_position   bigint,
    -- The message at which it forks, and whether another one takes its place.
    message_id      uuid,
    edited          boolean NOT NULL,
    -- The last thing that it shares, and how many messages it shares.
    forked_after    uuid,
    shared          bigint  NOT NULL,
    -- Position and time of the event that began it.
    position        bigint,
    created_at      timestamptz,
    active          boolean NOT NULL,
    PRIMARY KEY (conversation_id, branch)
);
CREATE UNIQUE INDEX branches_active ON branches (conversation_id) INCLUDE (branch) WHERE active;

-- The replies of messages that were asked again: which one a message was asked for last depends on the path.
CREATE TABLE asked_again (
    conversation_id uuid    NOT NULL,
    message_id      uuid    NOT NULL,
    -- Of the request; of the first one, that of its message.
    position        bigint  NOT NULL,
    branch          integer NOT NULL,
    reply_id        uuid    NOT NULL,
    model           text,
    PRIMARY KEY (message_id, position)
);
CREATE INDEX asked_again_by_conversation ON asked_again (conversation_id);

ALTER TABLE conversations ADD COLUMN branch integer NOT NULL DEFAULT 0;
-- What the list shows of the branches that are not active.
CREATE TABLE conversation_branches (
    conversation_id uuid    NOT NULL,
    branch          integer NOT NULL,
    message_count   bigint  NOT NULL,
    last_message    text,
    PRIMARY KEY (conversation_id, branch)
);

-- Logs that were written before: what going back left behind stands on branches too. Where anybody went back, both models are
-- made anew from the log, from the next start on.
DO $$
BEGIN
    IF EXISTS (SELECT FROM events WHERE event_type = 'conversation_rewound') THEN
        DELETE FROM messages;
        DELETE FROM items;
        DELETE FROM conversations;
        UPDATE checkpoints SET position = 0 WHERE projection IN ('conversations', 'messages');
    END IF;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON branches, asked_again, conversation_branches TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON branches, asked_again, conversation_branches TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON branches, asked_again, conversation_branches TO verbatim_auditor;
    END IF;
END $$;

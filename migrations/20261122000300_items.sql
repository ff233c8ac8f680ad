-- What stands in a conversation besides messages and answers, and what is sent with a message. Rows are made from the log.

ALTER TABLE messages
    -- Ids of the files sent along, in order; NULL: none.
    ADD COLUMN files        jsonb,
    -- The message as it was composed, when it is more than its text.
    ADD COLUMN composed     jsonb,
    ADD COLUMN tool_choice  text,
    ADD COLUMN wished_model text,
    -- What its owner thinks of it: positive, negative.
    ADD COLUMN feedback     text,
    -- Position of the event that left it behind: it is shown no more, and kept.
    ADD COLUMN left_at      bigint;

-- Position of the last event that left something behind: who comes back from before it loads the history again.
ALTER TABLE conversations ADD COLUMN rewound_at bigint;

ALTER TABLE pending_replies ADD COLUMN interactive boolean NOT NULL DEFAULT false;

-- Ids of what the answer brought besides its text.
ALTER TABLE replies ADD COLUMN items jsonb NOT NULL DEFAULT '[]';

CREATE TABLE items (
    item_id         uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    position        bigint      NOT NULL,
    kind            text        NOT NULL
        CHECK (kind IN ('client_tool_call', 'structured_input', 'widget', 'quiz', 'note')),
    status          text        NOT NULL CHECK (status IN ('shown', 'pending', 'answered', 'skipped', 'dropped')),
    -- The answer that brought it.
    reply_id        uuid,
    -- Call, questions and answers, widget, or note; of a quiz nothing, its state stands in widget_state.
    content         jsonb       NOT NULL,
    feedback        text,
    created_at      timestamptz NOT NULL,
    -- Position of the event that answered or dropped it.
    answered_at     bigint,
    left_at         bigint
);
CREATE INDEX items_by_conversation ON items (conversation_id, position);

-- The list in the order in which conversations were begun.
CREATE INDEX conversations_by_creation ON conversations (owner, created_at, conversation_id);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON items TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON items TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON items TO verbatim_auditor;
    END IF;
END $$;

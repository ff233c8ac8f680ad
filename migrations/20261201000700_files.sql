-- Read model of uploaded files: metadata, and the conversation that each was sent to. The bytes are in the file store.

CREATE TABLE files (
    file_id         uuid PRIMARY KEY,
    owner           uuid        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('announced', 'stored', 'deleted')),
    -- NULL: erased, or deleted.
    name            text,
    mime_type       text        NOT NULL,
    size            bigint      NOT NULL,
    -- NULL until the bytes are uploaded.
    sha256          text,
    -- NULL: not an image.
    width           integer,
    height          integer,
    -- NULL until the file is sent with a message.
    conversation_id uuid,
    created_at      timestamptz NOT NULL,
    -- Position of the last event of the file.
    position        bigint      NOT NULL
);
CREATE INDEX files_by_owner ON files (owner) WHERE state <> 'deleted';
CREATE INDEX files_by_conversation ON files (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX files_deleted ON files (position, file_id) WHERE state = 'deleted';
CREATE INDEX files_announced ON files (created_at) WHERE state = 'announced';

-- == Functions and grants ==

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON files TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON files TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON files TO verbatim_auditor;
    END IF;
END $$;

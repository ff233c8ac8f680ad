-- The state of every quiz, as its events leave it. A read model like the others: every row can be made again from the log.
CREATE TABLE widget_state (
    quiz_id         uuid PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    owner           uuid   NOT NULL,
    -- The whole of it, answers that have not been found included: what may be shown is made of it when it is read.
    state           jsonb  NOT NULL,
    -- Position of the event that began it: its place in the conversation.
    started         bigint NOT NULL,
    -- Position of its last event.
    position        bigint NOT NULL
)
-- Its rows change with every click.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX widget_state_by_conversation ON widget_state (conversation_id, started);

-- Conversations that were deleted: a quiz that was being started in one at the same moment gets no row.
CREATE TABLE widget_state_deleted (
    conversation_id uuid PRIMARY KEY
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON widget_state, widget_state_deleted TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON widget_state, widget_state_deleted TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON widget_state, widget_state_deleted TO verbatim_auditor;
    END IF;
END $$;

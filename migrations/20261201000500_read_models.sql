-- Read models. Every row can be rebuilt from the log: no default reads a clock, no serials, no random ids. They hold
-- personal text in plain and are rebuilt when it is erased.

CREATE TABLE users (
    user_id             uuid PRIMARY KEY,
    email               text,
    username            text,
    is_active           boolean     NOT NULL,
    created_at          timestamptz NOT NULL,
    password_changed_at timestamptz,
    -- For display only; the user's stream decides what a user may do.
    role                text        NOT NULL CHECK (role IN ('user', 'auditor', 'admin'))
);

CREATE TABLE conversations (
    conversation_id   uuid PRIMARY KEY,
    owner             uuid        NOT NULL,
    title             text,
    pinned            boolean     NOT NULL,
    archived          boolean     NOT NULL,
    message_count     bigint      NOT NULL,
    last_message      text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    -- The last message that the owner has read, and the position of the event that says so: a client that reconnects asks
    -- for changes after its position.
    read_to           uuid,
    read_position     bigint,
    -- Position of the last event that deactivated messages: a client with an older position reloads the conversation.
    rewound_position  bigint,
    -- Active branch.
    branch            integer     NOT NULL DEFAULT 0
)
-- Rows are updated often: vacuum early, and leave room for new row versions on the same page.
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX conversations_by_owner ON conversations (owner, archived, pinned DESC, updated_at DESC, conversation_id);
CREATE INDEX conversations_by_creation ON conversations (owner, created_at, conversation_id);

CREATE TABLE messages (
    message_id      uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    -- Position of the event that created the message: order of a conversation and cursor of its pages.
    position        bigint      NOT NULL,
    role            text        NOT NULL CHECK (role IN ('user', 'assistant')),
    -- complete; of a reply that ended early: cancelled or failed.
    status          text        NOT NULL CHECK (status IN ('complete', 'cancelled', 'failed')),
    -- NULL: erased.
    text            text,
    reply_id        uuid,
    in_reply_to     uuid,
    model           text,
    created_at      timestamptz NOT NULL,
    -- Ids of the attached files, in order; NULL: no files.
    files           jsonb,
    -- The message as the user composed it, when it is more than its text.
    composed        jsonb,
    tool_choice     text,
    requested_model text,
    -- The owner's feedback: positive or negative.
    feedback        text,
    branch          integer     NOT NULL DEFAULT 0,
    -- Whether the message is on the path of the active branch.
    is_active       boolean     NOT NULL DEFAULT true
);
-- Every row is in one of the two indexes: pages of the active path do not scan inactive rows. A path consists of one range
-- of each of its branches.
CREATE INDEX messages_active ON messages (conversation_id, position) WHERE is_active;
CREATE INDEX messages_inactive ON messages (conversation_id, branch, position) WHERE NOT is_active;

-- Items of a conversation other than messages.
CREATE TABLE items (
    item_id           uuid PRIMARY KEY,
    conversation_id   uuid        NOT NULL,
    position          bigint      NOT NULL,
    kind              text        NOT NULL
        CHECK (kind IN ('client_tool_call', 'structured_input', 'widget', 'quiz', 'note')),
    status            text        NOT NULL CHECK (status IN ('shown', 'pending', 'answered', 'skipped', 'dropped')),
    -- The reply that produced the item.
    reply_id          uuid,
    -- Call, questions and answers, widget or note; empty for a quiz, whose state is in `widget_state`.
    content           jsonb       NOT NULL,
    feedback          text,
    created_at        timestamptz NOT NULL,
    -- Position of the event that answered or dropped the item.
    answered_position bigint,
    branch            integer     NOT NULL DEFAULT 0,
    is_active         boolean     NOT NULL DEFAULT true
);
CREATE INDEX items_active ON items (conversation_id, position) WHERE is_active;
CREATE INDEX items_inactive ON items (conversation_id, branch, position) WHERE NOT is_active;

-- Branches of conversations that have more than one.
CREATE TABLE branches (
    conversation_id uuid    NOT NULL,
    branch          integer NOT NULL,
    -- The branch that this one forks from and shares its path with up to a position. NULL: the first branch.
    parent          integer,
    fork_position   bigint,
    -- The message at which it forks, and whether another message replaces it.
    message_id      uuid,
    edited          boolean NOT NULL,
    -- Last shared item, and number of shared messages.
    forked_after    uuid,
    shared          bigint  NOT NULL,
    -- Position and time of the event that began the branch.
    position        bigint,
    created_at      timestamptz,
    active          boolean NOT NULL,
    PRIMARY KEY (conversation_id, branch)
);
CREATE UNIQUE INDEX branches_active ON branches (conversation_id) INCLUDE (branch) WHERE active;

-- Every reply requested for a message that was asked for more than one: the path decides which one is current.
CREATE TABLE reply_requests (
    conversation_id uuid    NOT NULL,
    message_id      uuid    NOT NULL,
    -- Position of the request; of the first one, position of its message.
    position        bigint  NOT NULL,
    branch          integer NOT NULL,
    reply_id        uuid    NOT NULL,
    model           text,
    PRIMARY KEY (message_id, position)
);
CREATE INDEX reply_requests_by_conversation ON reply_requests (conversation_id);

-- Count and preview of each inactive branch, for the list of conversations.
CREATE TABLE conversation_branches (
    conversation_id uuid    NOT NULL,
    branch          integer NOT NULL,
    message_count   bigint  NOT NULL,
    last_message    text,
    PRIMARY KEY (conversation_id, branch)
);

-- Replies that are still to be produced: the truth of what is pending. The row is deleted when the reply ends.
CREATE TABLE pending_replies (
    reply_id        uuid PRIMARY KEY,
    conversation_id uuid        NOT NULL,
    owner           uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    -- Position of the request: replies of one conversation are produced in this order.
    position        bigint      NOT NULL,
    model           text,
    requested_at    timestamptz NOT NULL,
    deadline        timestamptz NOT NULL,
    attempt         integer     NOT NULL,
    not_before      timestamptz,
    interactive     boolean     NOT NULL DEFAULT false
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
    -- Position of the last event of the reply: a reader of the answer waits for it.
    position        bigint      NOT NULL,
    -- Ids of the items that the reply produced besides its text.
    items           jsonb       NOT NULL DEFAULT '[]'
);
CREATE INDEX replies_by_conversation ON replies (conversation_id);

-- State of every quiz.
CREATE TABLE widget_state (
    quiz_id         uuid PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    owner           uuid   NOT NULL,
    -- The complete state, with the correct answers; queries decide what a client may see.
    state           jsonb  NOT NULL,
    -- Position of the event that started the quiz: its place in the conversation.
    started         bigint NOT NULL,
    -- Position of its last event.
    position        bigint NOT NULL
)
-- Rows are updated with every click.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX widget_state_by_conversation ON widget_state (conversation_id, started);

-- Deleted conversations: a quiz that is started in one of them at the same moment gets no row.
CREATE TABLE widget_state_deleted (
    conversation_id uuid PRIMARY KEY
);

-- Usage per user and day (UTC).
CREATE TABLE usage_days (
    user_id  uuid   NOT NULL,
    day      date   NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (user_id, day)
);
CREATE TABLE usage_models (
    user_id           uuid   NOT NULL,
    day               date   NOT NULL,
    model             text   NOT NULL,
    replies           bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    -- NULL: no price was known.
    cost_micros       bigint,
    PRIMARY KEY (user_id, day, model)
);

-- Prices of replies under way, in millionths of a dollar per million tokens, as they were when the attempt began.
CREATE TABLE usage_pending_prices (
    reply_id         uuid PRIMARY KEY,
    prompt_price     bigint,
    completion_price bigint
);

-- == Functions and grants ==

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON users, conversations, messages, items, branches, reply_requests, conversation_branches,
            pending_replies, replies, widget_state, widget_state_deleted, usage_days, usage_models TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON users, conversations, messages, items, branches, reply_requests,
            conversation_branches, pending_replies, replies, widget_state, widget_state_deleted TO verbatim_projector;
        GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON usage_days, usage_models, usage_pending_prices
            TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON users, conversations, messages, items, branches, reply_requests, conversation_branches,
            pending_replies, replies, widget_state, widget_state_deleted, usage_days, usage_models,
            usage_pending_prices TO verbatim_auditor;
    END IF;
END $$;

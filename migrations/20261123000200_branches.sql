-- Branches of conversations. Rows are made from the log.

ALTER TABLE messages ADD COLUMN branch integer NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN branch integer NOT NULL DEFAULT 0;
-- Whether it is not on the path of the active branch. Since when does not matter, and would depend on how events fall into batches.
ALTER TABLE messages ADD COLUMN elsewhere boolean NOT NULL DEFAULT false;
ALTER TABLE items ADD COLUMN elsewhere boolean NOT NULL DEFAULT false;
UPDATE messages SET elsewhere = true WHERE left_at IS NOT NULL;
UPDATE items SET elsewhere = true WHERE left_at IS NOT NULL;
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

-- Logs that were written before: what was left behind stands on branches too. Going back began a branch each time.
CREATE TEMPORARY TABLE rewound ON COMMIT DROP AS
    SELECT c.conversation_id, e.position, (e.payload ->> 'message_id')::uuid AS message_id,
           (e.payload ->> 'message_position')::bigint AS fork_position, (e.payload ->> 'at')::timestamptz AS at,
           row_number() OVER (PARTITION BY c.conversation_id ORDER BY e.position)::integer AS branch
    FROM conversations AS c JOIN events AS e ON e.aggregate_type = 'conversation'
        AND e.aggregate_id = c.conversation_id::text AND e.event_type = 'conversation_rewound'
    WHERE c.rewound_at IS NOT NULL
        AND e.position <= (SELECT position FROM checkpoints WHERE projection = 'messages');
-- begin: what stands where
UPDATE messages AS m SET branch = (SELECT count(*) FROM rewound AS r
                                   WHERE r.conversation_id = m.conversation_id AND r.position < m.position)
WHERE m.conversation_id IN (SELECT conversation_id FROM rewound);
UPDATE items AS i SET branch = (SELECT count(*) FROM rewound AS r
                                WHERE r.conversation_id = i.conversation_id AND r.position < i.position)
WHERE i.conversation_id IN (SELECT conversation_id FROM rewound);
INSERT INTO branches (conversation_id, branch, edited, shared, active)
    SELECT DISTINCT conversation_id, 0, false, 0, false FROM rewound;
INSERT INTO branches (conversation_id, branch, parent, fork_position, message_id, edited, forked_after, shared, position,
                      created_at, active)
    SELECT r.conversation_id, r.branch, m.branch, r.fork_position, r.message_id, false, r.message_id,
           -- What stood up to there, and had not been left behind by an earlier one.
           (SELECT count(*) FROM messages AS s
            WHERE s.conversation_id = r.conversation_id AND s.position <= r.fork_position
                AND NOT EXISTS (SELECT FROM rewound AS e
                                WHERE e.conversation_id = r.conversation_id AND e.position < r.position
                                    AND s.position > e.fork_position AND s.position < e.position)),
           r.position, r.at,
           r.branch = (SELECT max(last.branch) FROM rewound AS last WHERE last.conversation_id = r.conversation_id)
    FROM rewound AS r JOIN messages AS m USING (message_id);
INSERT INTO asked_again (conversation_id, message_id, position, branch, reply_id, model)
    SELECT conversation_id, message_id, CASE WHEN round = 1 THEN sent_at ELSE position END,
           CASE WHEN round = 1 THEN sent_on
                ELSE (SELECT count(*) FROM rewound AS r
                      WHERE r.conversation_id = asked.conversation_id AND r.position < asked.position) END,
           reply_id, model
    FROM (SELECT m.conversation_id, m.message_id, m.position AS sent_at, m.branch AS sent_on, e.position,
                 (e.payload ->> 'reply_id')::uuid AS reply_id, e.payload ->> 'model' AS model,
                 row_number() OVER (PARTITION BY m.message_id ORDER BY e.position) AS round,
                 count(*) OVER (PARTITION BY m.message_id) AS rounds
          FROM (SELECT DISTINCT conversation_id FROM rewound) AS c
              JOIN events AS e ON e.aggregate_type = 'conversation' AND e.aggregate_id = c.conversation_id::text
                  AND e.event_type = 'reply_requested'
                  AND e.position <= (SELECT position FROM checkpoints WHERE projection = 'messages')
              JOIN messages AS m ON m.message_id = (e.payload ->> 'message_id')::uuid) AS asked
    WHERE rounds > 1;
INSERT INTO conversation_branches (conversation_id, branch, message_count, last_message)
    SELECT r.conversation_id, r.branch - 1,
           (SELECT count(*) FROM messages AS m WHERE m.conversation_id = r.conversation_id AND m.position < r.position),
           (SELECT left(m.text, 200) FROM messages AS m WHERE m.conversation_id = r.conversation_id AND m.position < r.position
            ORDER BY m.position DESC LIMIT 1)
    FROM rewound AS r;
UPDATE conversations AS c SET branch = (SELECT max(r.branch) FROM rewound AS r WHERE r.conversation_id = c.conversation_id)
WHERE c.conversation_id IN (SELECT conversation_id FROM rewound);
-- end

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

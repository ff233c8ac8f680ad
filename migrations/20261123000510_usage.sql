-- What people have used, by day (UTC). Written by the projection `usage`.

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
    cost_micros       bigint NOT NULL,
    PRIMARY KEY (user_id, day, model)
);

-- The prices that replies under way were begun at, in millionths of a dollar for a million tokens.
CREATE TABLE usage_begun (
    reply_id         uuid PRIMARY KEY,
    prompt_price     bigint,
    completion_price bigint
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON usage_days, usage_models TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON usage_days, usage_models, usage_begun TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON usage_days, usage_models, usage_begun TO verbatim_auditor;
    END IF;
END $$;

-- The event log: one append-only table, the one function that writes it, the one function that reads it.

-- Group roles of the production form. They are cluster-wide, so another database may have made them already;
-- an owner who may not create roles runs with one role, and the grants below are then skipped.
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['verbatim_app', 'verbatim_projector', 'verbatim_auditor'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN RAISE NOTICE 'role % is missing and may not be created', wanted;
        END;
    END LOOP;
END $$;

CREATE TABLE events (
    aggregate_type text        NOT NULL CHECK (aggregate_type <> ''),
    aggregate_id   text        NOT NULL CHECK (aggregate_id <> ''),
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text        NOT NULL CHECK (event_type <> ''),
    event_version  text        NOT NULL CHECK (event_version <> ''),
    -- `json`, not `jsonb`: the stored text is the truth, to the byte.
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- CACHE 1: a session that hoarded numbers would break the order that readers rely on.
    position       bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME events_position_seq CACHE 1),
    CONSTRAINT events_pkey PRIMARY KEY (aggregate_type, aggregate_id, sequence),
    CONSTRAINT events_position_key UNIQUE (position)
);

-- Append-only, by the database itself and for its owner too. ENABLE ALWAYS: replica mode does not switch it off.
CREATE FUNCTION refuse_change_of_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP USING ERRCODE = '42501';
END $$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_log();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- Idempotency keys. `result` holds ids and a status, never text or tokens; the position is found through the
-- coordinates of the command's last event.
CREATE TABLE command_keys (
    owner          text        NOT NULL,
    key            text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    result         json        NOT NULL,
    aggregate_type text,
    aggregate_id   text,
    sequence       bigint,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX command_keys_created_at ON command_keys (created_at);

-- Keys that personal text in events is sealed with. A user's key is wrapped by the master key, a data key (one per
-- author and stream) by the user's key. Dropping rows here is what makes a person's text unreadable for good.
CREATE TABLE user_keys (
    user_id    uuid  PRIMARY KEY,
    master_id  text  NOT NULL,
    wrapped    bytea NOT NULL
);
CREATE TABLE data_keys (
    key_id      uuid  PRIMARY KEY,
    user_id     uuid  NOT NULL,
    stream_type text  NOT NULL,
    stream_id   text  NOT NULL,
    wrapped     bytea NOT NULL,
    CONSTRAINT data_keys_stream UNIQUE (user_id, stream_type, stream_id)
);

-- States of long streams, so that a cold load need not read them whole. Disposable.
CREATE TABLE aggregate_snapshots (
    aggregate_type text   NOT NULL,
    aggregate_id   text   NOT NULL,
    sequence       bigint NOT NULL,
    code_version   text   NOT NULL,
    state          json   NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
);

-- The advisory-lock tag of appends, in the top 16 bits of the 64-bit key; the rest is a value of the position sequence.
CREATE FUNCTION append_lock_tag() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 22082::bigint $$;

-- The append: one statement, one transaction, no client round trip under a lock.
--   key      owner, key, fingerprint, result: recorded with the events, or the stored outcome is returned instead;
--   checks   the sequence each stream must stand at (0 = no such stream);
--   events   parallel arrays, in the order in which they get their positions; one metadata object for all;
--   beside   rows that must live and die with the events (keys, password hashes, logins).
-- SQLSTATEs: VB001 a stream stands elsewhere, VB002 asynchronous commit, VB003 unknown beside row, VB005 events that
-- do not follow a checked stream one by one, VB006 a password that was changed since it was proven.
CREATE FUNCTION append(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_beside jsonb,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    written integer := coalesce(cardinality(p_types), 0);
    stands bigint;
    follows bigint;
    followed integer := 0;
    item jsonb;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'an append must not commit asynchronously' USING ERRCODE = 'VB002';
    END IF;
    replayed := false;

    -- (a) The key first: a duplicate waits here until the first one has ended.
    IF p_key IS NOT NULL THEN
        INSERT INTO command_keys AS k (owner, key, fingerprint, result, aggregate_type, aggregate_id, sequence)
        VALUES (p_owner, p_key, p_fingerprint, p_result, p_types[written], p_ids[written], p_sequences[written])
        ON CONFLICT (owner, key) DO UPDATE
            SET fingerprint = excluded.fingerprint, result = excluded.result, aggregate_type = excluded.aggregate_type,
                aggregate_id = excluded.aggregate_id, sequence = excluded.sequence, created_at = clock_timestamp()
            WHERE k.created_at < clock_timestamp() - interval '24 hours';
        IF NOT FOUND THEN
            replayed := true;
            SELECT k.fingerprint, k.result, CASE WHEN e.position IS NULL THEN '{}' ELSE ARRAY[e.position] END
                INTO stored_fingerprint, stored_result, positions
                FROM command_keys k LEFT JOIN events e USING (aggregate_type, aggregate_id, sequence)
                WHERE k.owner = p_owner AND k.key = p_key;
            RETURN;
        END IF;
    END IF;

    -- (b) Every stream must stand where the decision saw it. The primary key alone would let holes through.
    FOR i IN 1 .. coalesce(cardinality(p_check_types), 0) LOOP
        SELECT e.sequence INTO stands FROM events e
            WHERE e.aggregate_type = p_check_types[i] AND e.aggregate_id = p_check_ids[i]
            ORDER BY e.sequence DESC LIMIT 1;
        IF coalesce(stands, 0) <> p_check_sequences[i] THEN
            RAISE EXCEPTION 'stream stands at %, not at %', coalesce(stands, 0), p_check_sequences[i]
                USING ERRCODE = 'VB001';
        END IF;
        follows := p_check_sequences[i];
        FOR j IN 1 .. written LOOP
            IF p_types[j] = p_check_types[i] AND p_ids[j] = p_check_ids[i] THEN
                follows := follows + 1;
                followed := followed + 1;
                IF p_sequences[j] <> follows THEN
                    RAISE EXCEPTION 'event % of its stream where % is next', p_sequences[j], follows
                        USING ERRCODE = 'VB005';
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    IF followed <> written THEN
        RAISE EXCEPTION 'events of a stream that was not checked, or checked twice' USING ERRCODE = 'VB005';
    END IF;

    -- (c) The lock tells readers, before any position is drawn, from where on this transaction may still write.
    IF written > 0 THEN
        PERFORM pg_advisory_xact_lock_shared(
            (append_lock_tag() << 48) | coalesce(pg_sequence_last_value('events_position_seq'::regclass), 0));
        WITH inserted AS (
            INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
            SELECT t.a, t.i, t.s, t.e, t.v, t.p::json, p_metadata::json
                FROM unnest(p_types, p_ids, p_sequences, p_event_types, p_event_versions, p_payloads)
                     WITH ORDINALITY AS t(a, i, s, e, v, p, ord)
                ORDER BY t.ord
            RETURNING events.position)
        SELECT array_agg(inserted.position ORDER BY inserted.position) INTO positions FROM inserted;
    ELSE
        positions := '{}';
    END IF;

    -- (d) What must live beside the log.
    IF p_beside IS NOT NULL THEN
        FOR item IN SELECT value FROM jsonb_array_elements(p_beside) LOOP
            CASE item ->> 'kind'
                WHEN 'user_key' THEN
                    INSERT INTO user_keys (user_id, master_id, wrapped)
                    VALUES ((item ->> 'user_id')::uuid, item ->> 'master_id', decode(item ->> 'wrapped', 'base64'));
                WHEN 'data_key' THEN
                    INSERT INTO data_keys (key_id, user_id, stream_type, stream_id, wrapped)
                    VALUES ((item ->> 'key_id')::uuid, (item ->> 'user_id')::uuid, item ->> 'stream_type',
                            item ->> 'stream_id', decode(item ->> 'wrapped', 'base64'));
                WHEN 'credential_seen' THEN
                    IF NOT credential_stands((item ->> 'user_id')::uuid, (item ->> 'epoch')::bigint) THEN
                        RAISE EXCEPTION 'the password was changed since' USING ERRCODE = 'VB006';
                    END IF;
                WHEN 'credential' THEN
                    PERFORM credential_set((item ->> 'user_id')::uuid, item ->> 'hash');
                WHEN 'login_start' THEN
                    PERFORM login_start((item ->> 'login_id')::uuid, (item ->> 'user_id')::uuid,
                        decode(item ->> 'token_hash', 'base64'),
                        make_interval(secs => (item ->> 'idle_seconds')::double precision),
                        make_interval(secs => (item ->> 'total_seconds')::double precision));
                WHEN 'logins_end_all' THEN
                    PERFORM logins_end_all((item ->> 'user_id')::uuid, item ->> 'reason', (item ->> 'except')::uuid);
                ELSE
                    RAISE EXCEPTION 'unknown beside row' USING ERRCODE = 'VB003';
            END CASE;
        END LOOP;
    END IF;
END $$;

-- Several appends that came at the same moment, in one transaction: one round trip and one fsync for all of them. Each
-- has its own row of the answer, in their order. None of them may write rows beside the log. What one of them is refused
-- with refuses all; the caller then tries each by itself. Checks and events of all stand one after the other in the
-- arrays, and the counts say how many are whose.
CREATE FUNCTION append_together(
    p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[],
    p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[],
    p_event_versions text[], p_payloads text[], p_metadata text[]
) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c integer := 1;
    e integer := 1;
    c_end integer;
    e_end integer;
BEGIN
    FOR i IN 1 .. cardinality(p_metadata) LOOP
        c_end := c + p_check_counts[i] - 1;
        e_end := e + p_event_counts[i] - 1;
        SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
            FROM append(p_owners[i], p_keys[i], p_fingerprints[i], p_results[i]::json,
                p_check_types[c:c_end], p_check_ids[c:c_end], p_check_sequences[c:c_end],
                p_types[e:e_end], p_ids[e:e_end], p_sequences[e:e_end], p_event_types[e:e_end],
                p_event_versions[e:e_end], p_payloads[e:e_end], p_metadata[i], NULL) a;
        RETURN NEXT;
        c := c_end + 1;
        e := e_end + 1;
    END LOOP;
END $$;

-- Where the log's head and floor stand. Everything up to the floor is settled: no transaction that is still open can
-- put an event there. VOLATILE, and two statements on purpose: each must see with a snapshot of its own, the sequence
-- first, the locks after it. In one statement, or under REPEATABLE READ, events would be missed.
CREATE FUNCTION log_bounds(OUT head bigint, OUT floor bigint) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    head := coalesce(pg_sequence_last_value('events_position_seq'::regclass), 0);
    SELECT min(((l.classid::bigint << 32) | l.objid::bigint) & ((1::bigint << 48) - 1)) INTO floor
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND (l.classid::bigint >> 16) = append_lock_tag();
    floor := least(head, coalesce(floor, head));
END $$;

-- The one reader: settled events after a position, in the order of the log.
CREATE FUNCTION read_events(p_after bigint, p_limit integer) RETURNS SETOF events LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    bounds record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the log is read under READ COMMITTED only' USING ERRCODE = 'VB004';
    END IF;
    bounds := log_bounds();
    IF bounds.floor > p_after THEN
        RETURN QUERY SELECT * FROM events e WHERE e.position > p_after AND e.position <= bounds.floor
            ORDER BY e.position LIMIT p_limit;
    END IF;
END $$;

-- How old the oldest open append is, in seconds; NULL where there is none (or its session may not be seen).
CREATE FUNCTION floor_age() RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT max(extract(epoch FROM clock_timestamp() - a.xact_start))::double precision
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint >> 16) = append_lock_tag()
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- How far each projection has come: the position of an event that it has really applied.
CREATE TABLE checkpoints (
    projection text   PRIMARY KEY,
    position   bigint NOT NULL DEFAULT 0
);

DO $$
BEGIN
    REVOKE ALL ON FUNCTION append(text, text, bytea, json, text[], text[], bigint[], text[], text[], bigint[], text[],
        text[], text[], text, jsonb) FROM PUBLIC;
    REVOKE ALL ON FUNCTION append_together(text[], text[], bytea[], text[], integer[], text[], text[], bigint[],
        integer[], text[], text[], bigint[], text[], text[], text[], text[]) FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON events, user_keys, data_keys, checkpoints TO verbatim_app;
        GRANT SELECT ON SEQUENCE events_position_seq TO verbatim_app;
        -- The program looks at start whether the schema is its own.
        IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON _sqlx_migrations TO verbatim_app;
        END IF;
        GRANT SELECT, DELETE ON command_keys TO verbatim_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_snapshots TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append(text, text, bytea, json, text[], text[], bigint[], text[], text[], bigint[],
            text[], text[], text[], text, jsonb) TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append_together(text[], text[], bytea[], text[], integer[], text[], text[], bigint[],
            integer[], text[], text[], bigint[], text[], text[], text[], text[]) TO verbatim_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_projector') THEN
        GRANT SELECT ON events, user_keys, data_keys TO verbatim_projector;
        GRANT SELECT ON SEQUENCE events_position_seq TO verbatim_projector;
        GRANT SELECT, INSERT, UPDATE ON checkpoints TO verbatim_projector;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_auditor') THEN
        GRANT SELECT ON events, user_keys, data_keys, checkpoints TO verbatim_auditor;
        GRANT SELECT ON SEQUENCE events_position_seq TO verbatim_auditor;
    END IF;
END $$;

-- The event store: the append-only log, the functions that write and read it, idempotency keys, encryption keys,
-- snapshots and checkpoints.

CREATE TABLE events (
    aggregate_type text        NOT NULL CHECK (aggregate_type <> ''),
    aggregate_id   text        NOT NULL CHECK (aggregate_id <> ''),
    sequence       bigint      NOT NULL CHECK (sequence > 0),
    event_type     text        NOT NULL CHECK (event_type <> ''),
    event_version  text        NOT NULL CHECK (event_version <> ''),
    -- `json`, not `jsonb`: the stored bytes are the truth.
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- CACHE 1: a session that cached numbers would break the order that readers rely on.
    position       bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME events_position_seq CACHE 1),
    CONSTRAINT events_pkey PRIMARY KEY (aggregate_type, aggregate_id, sequence),
    CONSTRAINT events_position_key UNIQUE (position)
);

-- Idempotency keys. `result` holds ids and a status, never text or tokens. The stream and sequence of the command's
-- last event lead to its position.
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

-- Keys that encrypt personal text in events (crypto-shredding). The master key wraps a user's key, and the user's key
-- wraps one data key per author and stream. Deleting the rows of a user makes that user's text unreadable for good.
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

-- Snapshots of long streams, so that a cold load reads only the newest events. Disposable.
CREATE TABLE aggregate_snapshots (
    aggregate_type text   NOT NULL,
    aggregate_id   text   NOT NULL,
    sequence       bigint NOT NULL,
    code_version   text   NOT NULL,
    state          json   NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id)
);

-- Checkpoint of each projection: the position of the last event that it has applied.
CREATE TABLE checkpoints (
    projection text   PRIMARY KEY,
    position   bigint NOT NULL DEFAULT 0
);

-- == Functions and grants ==

-- The log is append-only, for its owner too. ENABLE ALWAYS: replica mode does not switch the trigger off.
CREATE FUNCTION reject_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % rejected', TG_OP USING ERRCODE = '42501';
END $$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION reject_event_change();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- Tag of the advisory locks of appends, in the top 16 bits of the 64-bit key. The other bits hold a value of the
-- position sequence.
CREATE FUNCTION append_lock_tag() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 22082::bigint $$;

-- Returns whether a command has been recorded under this key. A key in the last minute of its 24 hours counts as new, so
-- that the answer still holds when `append_events` looks.
CREATE FUNCTION is_command_recorded(p_owner text, p_key text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN p_key IS NOT NULL AND EXISTS (SELECT FROM command_keys k WHERE k.owner = p_owner AND k.key = p_key
        AND k.created_at > clock_timestamp() - interval '23 hours 59 minutes');
END $$;

-- Runs one transactional write, `{"function": name, "arguments": {...}}`.
CREATE FUNCTION run_transactional_write(p_write jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF to_regprocedure(format('transactional_writes.%I(jsonb)', p_write ->> 'function')) IS NULL THEN
        RAISE EXCEPTION 'no transactional write is called %', coalesce(p_write ->> 'function', 'NULL')
            USING ERRCODE = 'VB003';
    END IF;
    EXECUTE format('SELECT transactional_writes.%I($1)', p_write ->> 'function') USING p_write -> 'arguments';
END $$;

-- The core of every append, without charges.
--   key       owner, key, fingerprint, result: recorded with the events. If the key exists, nothing is written and the
--             recorded outcome is returned;
--   expected  the version that each stream must have (0: the stream does not exist);
--   events    parallel arrays, in the order in which they get their positions; one metadata object for all of them;
--   writes    [{"function": name, "arguments": {...}}, ...]: functions of the schema `transactional_writes`, called in
--             this order after the events are inserted.
-- SQLSTATEs: VB001 a stream has another version, VB002 asynchronous commit, VB003 unknown transactional write, VB005
-- events do not follow a checked stream one by one. A transactional write may raise others (VB006 to VB008).
CREATE FUNCTION append_events(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_expected_types text[], p_expected_ids text[], p_expected_versions bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_writes jsonb,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    event_count integer := coalesce(cardinality(p_types), 0);
    current_version bigint;
    next_sequence bigint;
    matched integer := 0;
    item jsonb;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION 'an append must not commit asynchronously' USING ERRCODE = 'VB002';
    END IF;
    replayed := false;

    -- (a) The key first: a duplicate waits here until the first command has committed or rolled back.
    IF p_key IS NOT NULL THEN
        INSERT INTO command_keys AS k (owner, key, fingerprint, result, aggregate_type, aggregate_id, sequence)
        VALUES (p_owner, p_key, p_fingerprint, p_result, p_types[event_count], p_ids[event_count],
                p_sequences[event_count])
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

    -- (b) Every stream must have the version that the decision saw. The primary key alone would allow gaps.
    FOR i IN 1 .. coalesce(cardinality(p_expected_types), 0) LOOP
        SELECT e.sequence INTO current_version FROM events e
            WHERE e.aggregate_type = p_expected_types[i] AND e.aggregate_id = p_expected_ids[i]
            ORDER BY e.sequence DESC LIMIT 1;
        IF coalesce(current_version, 0) <> p_expected_versions[i] THEN
            RAISE EXCEPTION 'stream is at version %, expected %', coalesce(current_version, 0), p_expected_versions[i]
                USING ERRCODE = 'VB001';
        END IF;
        next_sequence := p_expected_versions[i];
        FOR j IN 1 .. event_count LOOP
            IF p_types[j] = p_expected_types[i] AND p_ids[j] = p_expected_ids[i] THEN
                next_sequence := next_sequence + 1;
                matched := matched + 1;
                IF p_sequences[j] <> next_sequence THEN
                    RAISE EXCEPTION 'event has sequence %, the next of its stream is %', p_sequences[j], next_sequence
                        USING ERRCODE = 'VB005';
                END IF;
            END IF;
        END LOOP;
    END LOOP;
    IF matched <> event_count THEN
        RAISE EXCEPTION 'an event belongs to no checked stream, or its stream was checked twice' USING ERRCODE = 'VB005';
    END IF;

    -- (c) The lock tells readers, before any position is drawn, from which position on this transaction may still write.
    IF event_count > 0 THEN
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

    -- (d) Rows that are written in the same transaction but are not part of the log.
    IF p_writes IS NOT NULL THEN
        FOR item IN SELECT value FROM jsonb_array_elements(p_writes) LOOP
            PERFORM run_transactional_write(item);
        END LOOP;
    END IF;
END $$;

-- Appends events, writes what belongs to them and charges the user's quota: one statement, one transaction, no client
-- round trip under a lock. See `append_events` for the arguments. `p_charge` is charged to `p_charge_user`; its content
-- and the functions `append_charge*` belong to the quotas.
--
-- The charge is locked before anything else, so that two appends of one user wait for each other here and nowhere later.
-- It is checked before anything is written and stored last: a rejection (`rejection`) writes nothing. A repeated key is
-- neither charged nor rejected.
CREATE FUNCTION append(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_expected_types text[], p_expected_ids text[], p_expected_versions bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_writes jsonb DEFAULT NULL, p_charge_user uuid DEFAULT NULL,
    p_charge jsonb DEFAULT NULL,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[],
    OUT remaining jsonb, OUT rejection jsonb
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    charged record;
BEGIN
    IF p_charge_user IS NOT NULL THEN
        charged := append_charge(p_charge_user, p_charge, p_owner, p_key);
        IF charged.rejection IS NOT NULL THEN
            replayed := false;
            positions := '{}';
            rejection := charged.rejection;
            RETURN;
        END IF;
    END IF;
    SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
        FROM append_events(p_owner, p_key, p_fingerprint, p_result,
            p_expected_types, p_expected_ids, p_expected_versions,
            p_types, p_ids, p_sequences, p_event_types, p_event_versions, p_payloads, p_metadata, p_writes) a;
    IF p_charge_user IS NOT NULL AND NOT replayed THEN
        remaining := charged.remaining;
        PERFORM append_charge_store(charged.new_state);
    END IF;
END $$;

-- Runs several appends, none with transactional writes, in one transaction: one round trip and one fsync for all of
-- them (group commit). Returns one row per append, in their order. An error of one append fails the batch; the caller
-- then retries each append alone. A charge that is rejected leaves out its own append only.
--
-- The arrays hold the expected versions and the events of all appends one after the other; the counts say how many belong
-- to each. All charges are locked first, in one order, before any key or stream: a transaction that holds a key or a
-- stream waits for no charge, so appends cannot deadlock. A user is NULL where nothing is charged.
CREATE FUNCTION append_batch(
    p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[],
    p_expected_counts integer[], p_expected_types text[], p_expected_ids text[], p_expected_versions bigint[],
    p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[],
    p_event_versions text[], p_payloads text[], p_metadata text[], p_charge_users uuid[], p_charges jsonb[]
) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[], remaining jsonb,
    rejection jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c integer := 1;
    e integer := 1;
    c_end integer;
    e_end integer;
    locked uuid[] := append_charges_lock(p_charge_users, p_charges);
    charged record;
    is_charged boolean;
BEGIN
    FOR i IN 1 .. cardinality(p_metadata) LOOP
        c_end := c + p_expected_counts[i] - 1;
        e_end := e + p_event_counts[i] - 1;
        remaining := NULL;
        rejection := NULL;
        is_charged := p_charge_users[i] = ANY (locked) AND NOT is_command_recorded(p_owners[i], p_keys[i]);
        IF is_charged THEN
            charged := append_charge_locked(p_charge_users[i], p_charges[i]);
            rejection := charged.rejection;
        END IF;
        IF rejection IS NOT NULL THEN
            replayed := false;
            stored_fingerprint := NULL;
            stored_result := NULL;
            positions := '{}';
        ELSE
            SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
                FROM append_events(p_owners[i], p_keys[i], p_fingerprints[i], p_results[i]::json,
                    p_expected_types[c:c_end], p_expected_ids[c:c_end], p_expected_versions[c:c_end],
                    p_types[e:e_end], p_ids[e:e_end], p_sequences[e:e_end], p_event_types[e:e_end],
                    p_event_versions[e:e_end], p_payloads[e:e_end], p_metadata[i], NULL) a;
            IF is_charged AND NOT replayed THEN
                remaining := charged.remaining;
                PERFORM append_charge_store(charged.new_state);
            END IF;
        END IF;
        RETURN NEXT;
        c := c_end + 1;
        e := e_end + 1;
    END LOOP;
END $$;

-- Stores a user's key. `wrapped` is base64.
CREATE FUNCTION transactional_writes.user_key_insert(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO user_keys (user_id, master_id, wrapped)
    VALUES ((arguments ->> 'user_id')::uuid, arguments ->> 'master_id', decode(arguments ->> 'wrapped', 'base64'));
END $$;

-- Stores the data key of an author and stream. `wrapped` is base64.
CREATE FUNCTION transactional_writes.data_key_insert(arguments jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO data_keys (key_id, user_id, stream_type, stream_id, wrapped)
    VALUES ((arguments ->> 'key_id')::uuid, (arguments ->> 'user_id')::uuid, arguments ->> 'stream_type',
            arguments ->> 'stream_id', decode(arguments ->> 'wrapped', 'base64'));
END $$;

-- Returns the highest position drawn (`head`) and the safe position (high-water mark). Every event up to the safe position is settled: no open
-- transaction can still insert one there. VOLATILE, and two statements on purpose: each needs a snapshot of its own, the
-- sequence first and the locks after it. One statement, or REPEATABLE READ, would miss events.
CREATE FUNCTION log_bounds(OUT head bigint, OUT safe_position bigint) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    head := coalesce(pg_sequence_last_value('events_position_seq'::regclass), 0);
    SELECT min(((l.classid::bigint << 32) | l.objid::bigint) & ((1::bigint << 48) - 1)) INTO safe_position
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND (l.classid::bigint >> 16) = append_lock_tag();
    safe_position := least(head, coalesce(safe_position, head));
END $$;

-- The only way to read the log by position: returns settled events after a position, in the order of the log.
CREATE FUNCTION read_events(p_after bigint, p_limit integer) RETURNS SETOF events LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    bounds record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the log can be read under READ COMMITTED only' USING ERRCODE = 'VB004';
    END IF;
    bounds := log_bounds();
    IF bounds.safe_position > p_after THEN
        RETURN QUERY SELECT * FROM events e WHERE e.position > p_after AND e.position <= bounds.safe_position
            ORDER BY e.position LIMIT p_limit;
    END IF;
END $$;

-- Returns the age of the oldest open append, in seconds. NULL: no append is open, or its session is not visible.
CREATE FUNCTION oldest_open_append_age() RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT max(extract(epoch FROM clock_timestamp() - a.xact_start))::double precision
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint >> 16) = append_lock_tag()
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

-- Applications append through `append` and `append_batch` only; what these call runs with the rights of the owner.
REVOKE ALL ON FUNCTION append, append_batch, append_events, run_transactional_write, is_command_recorded FROM PUBLIC;
REVOKE ALL ON FUNCTION transactional_writes.user_key_insert, transactional_writes.data_key_insert FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON events, user_keys, data_keys, checkpoints TO verbatim_app;
        GRANT SELECT ON SEQUENCE events_position_seq TO verbatim_app;
        -- At start, the program checks that the schema is the one of its version.
        IF to_regclass('_sqlx_migrations') IS NOT NULL THEN
            GRANT SELECT ON _sqlx_migrations TO verbatim_app;
        END IF;
        GRANT SELECT, DELETE ON command_keys TO verbatim_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_snapshots TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append, append_batch TO verbatim_app;
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

-- A database that the 18 migrations before the baseline made, written by pg_dump: two accounts and a conversation with
-- branches, made through the API of that version, one event of every type and version, and rows in every table. Text is
-- encrypted with the tests' master key. The program's roles are created here when the cluster has none.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['verbatim_app', 'verbatim_projector', 'verbatim_auditor'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $$;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.allowances (
    user_id uuid NOT NULL,
    policies text[] DEFAULT '{}'::text[] NOT NULL,
    begun double precision[] DEFAULT '{}'::double precision[] NOT NULL,
    taken double precision[] DEFAULT '{}'::double precision[] NOT NULL,
    before double precision[] DEFAULT '{}'::double precision[] NOT NULL,
    day date NOT NULL,
    messages bigint DEFAULT 0 NOT NULL,
    tokens bigint DEFAULT 0 NOT NULL,
    open jsonb DEFAULT '{}'::jsonb NOT NULL
)
WITH (fillfactor='50');
CREATE FUNCTION public.allowance_charge(p_held public.allowances, p_charge jsonb, OUT changed public.allowances, OUT rest jsonb, OUT refused jsonb) RETURNS record
    LANGUAGE plpgsql
    AS $$
<<charge>>
DECLARE
    span CONSTANT float8 := 60;
    moment CONSTANT float8 := extract(epoch FROM clock_timestamp());
    today date := to_timestamp(moment) AT TIME ZONE 'UTC';
    -- The row in variables: a record's fields are slow to change one by one.
    policies text[] := p_held.policies;
    begun float8[] := p_held.begun;
    taken float8[] := p_held.taken;
    before float8[] := p_held.before;
    messages bigint := p_held.messages;
    tokens bigint := p_held.tokens;
    open jsonb := p_held.open;
    is_changed boolean := false;
    list jsonb;
    item jsonb;
    name text;
    left_over text := '';
    worst text;
    wait float8 := 0;
    later float8;
    bound float8;
    quota float8;
    at integer;
    began float8;
    took float8;
    past float8;
    since float8;
    weighted float8;
    reserve bigint;
    reserved bigint := 0;
    elsewhere jsonb;
BEGIN
    IF p_held.day > today AND p_held.day = (to_timestamp(moment + span) AT TIME ZONE 'UTC')::date THEN
        today := p_held.day;
    ELSIF p_held.day <> today THEN
        messages := 0;
        tokens := 0;
    END IF;
    list := p_charge -> 'holds';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        IF (open -> name ->> 1)::bigint < (item ->> 1)::bigint THEN
            open := jsonb_set(open, ARRAY[name, '1'], item -> 1);
            is_changed := true;
        END IF;
    END LOOP;
    list := p_charge -> 'ends';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        IF open ? name THEN
            tokens := tokens + coalesce((item ->> 1)::bigint, (open -> name ->> 1)::bigint)
                + coalesce((item ->> 2)::bigint, 0);
            open := open - name;
            is_changed := true;
        END IF;
    END LOOP;
    list := p_charge -> 'rates';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        quota := (item ->> 1)::float8;
        at := array_position(policies, name);
        began := begun[at];
        took := taken[at];
        past := before[at];
        IF at IS NULL THEN
            IF cardinality(policies) >= 8 THEN
                -- What nobody has used for a while makes room.
                SELECT coalesce(array_agg(u.p), '{}'), coalesce(array_agg(u.b), '{}'), coalesce(array_agg(u.t), '{}'),
                       coalesce(array_agg(u.o), '{}') INTO policies, begun, taken, before
                    FROM unnest(policies, begun, taken, before) AS u(p, b, t, o) WHERE u.b > moment - 2 * span;
            END IF;
            at := cardinality(policies) + 1;
            policies[at] := name;
            began := moment;
            took := 0;
            past := 0;
        ELSIF moment >= began + 2 * span OR moment < began - span THEN
            began := moment;
            past := 0;
            took := 0;
        ELSIF moment >= began + span THEN
            began := began + span;
            past := took;
            took := 0;
        END IF;
        since := greatest(moment - began, 0);
        weighted := past * (1 - since / span) + took;
        IF weighted + 1 > quota THEN
            IF took + 1 > quota THEN
                later := span - since + span * (1 - (quota - 1) / took);
            ELSE
                later := span * (1 - (quota - 1 - took) / past) - since;
            END IF;
            IF worst IS NULL OR later > wait THEN
                worst := name;
                wait := later;
                bound := quota;
            END IF;
        END IF;
        begun[at] := began;
        taken[at] := took + 1;
        before[at] := past;
        is_changed := true;
        left_over := left_over || ',[' || i || ',' || greatest(floor(quota - weighted - 1), 0) || ','
            || ceil(span - since + CASE WHEN weighted > 0 THEN span ELSE 0 END) || ']';
    END LOOP;
    IF worst IS NOT NULL THEN
        refused := jsonb_build_array(worst, wait, bound);
        RETURN;
    END IF;
    list := p_charge -> 'opens';
    IF list IS NOT NULL THEN
        reserve := coalesce((p_charge #>> '{quota,reserve}')::bigint, 0);
        -- An owed reply that is long past its time has ended where nobody told this table.
        IF open <> '{}' THEN
            SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}'), coalesce(sum((o.value ->> 1)::bigint), 0)
                INTO open, reserved FROM jsonb_each(open) AS o WHERE (o.value ->> 2)::float8 > moment;
        END IF;
    END IF;
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        bound := (p_charge #>> '{quota,at_once}')::float8;
        IF bound > 0 AND open <> '{}' THEN
            SELECT jsonb_agg(DISTINCT o.value -> 0) INTO elsewhere
                FROM jsonb_each(open) AS o WHERE o.value ->> 0 <> item ->> 1;
            IF jsonb_array_length(elsewhere) >= bound THEN
                refused := jsonb_build_array('replies_at_once', 5, bound, elsewhere);
                RETURN;
            END IF;
        END IF;
        bound := (p_charge #>> '{quota,messages}')::float8;
        IF bound > 0 AND messages + 1 > bound THEN
            refused := jsonb_build_array('messages_per_day', extract(epoch FROM (today + 1)::timestamp) - moment, bound);
            RETURN;
        END IF;
        bound := (p_charge #>> '{quota,tokens}')::float8;
        IF bound > 0 AND tokens + reserved + reserve > bound THEN
            -- What is reserved may be free again when the replies under way have ended.
            refused := jsonb_build_array('tokens_per_day', CASE WHEN tokens + reserve > bound
                THEN extract(epoch FROM (today + 1)::timestamp) - moment ELSE 5 END, bound);
            RETURN;
        END IF;
        messages := messages + 1;
        open := jsonb_set(open, ARRAY[item ->> 0], jsonb_build_array(item -> 1, reserve, item -> 2));
        reserved := reserved + reserve;
        is_changed := true;
    END LOOP;
    IF is_changed THEN
        changed := ROW(p_held.user_id, policies, begun, taken, before, today, messages, tokens, open);
    END IF;
    rest := ('[' || substr(left_over, 2) || ']')::jsonb;
END $$;
CREATE FUNCTION public.allowance_held(p_user uuid, p_make boolean) RETURNS public.allowances
    LANGUAGE plpgsql
    AS $$
DECLARE
    held allowances;
BEGIN
    SELECT * INTO held FROM allowances a WHERE a.user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND AND p_make THEN
        INSERT INTO allowances (user_id, day) VALUES (p_user, (clock_timestamp() AT TIME ZONE 'UTC')::date)
            ON CONFLICT (user_id) DO NOTHING;
        SELECT * INTO held FROM allowances a WHERE a.user_id = p_user FOR NO KEY UPDATE;
    END IF;
    RETURN held;
END $$;
CREATE FUNCTION public.allowance_take(p_user uuid, p_charge jsonb, OUT rest jsonb, OUT refused jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    charged record;
BEGIN
    charged := allowance_charge(allowance_held(p_user, true), p_charge);
    rest := charged.rest;
    refused := charged.refused;
    PERFORM allowance_write(charged.changed);
END $$;
CREATE FUNCTION public.allowance_takes(p_charge jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT p_charge ?| ARRAY['rates', 'opens']
$$;
CREATE FUNCTION public.allowance_write(p_row public.allowances) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF p_row.user_id IS NOT NULL THEN
        UPDATE allowances a SET policies = p_row.policies, begun = p_row.begun, taken = p_row.taken, before = p_row.before,
                day = p_row.day, messages = p_row.messages, tokens = p_row.tokens, open = p_row.open
            WHERE a.user_id = p_row.user_id;
    END IF;
END $$;
CREATE FUNCTION public.append(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
                    IF NOT beside_accounts(item) THEN
                        RAISE EXCEPTION 'unknown beside row' USING ERRCODE = 'VB003';
                    END IF;
            END CASE;
        END LOOP;
    END IF;
END $$;
CREATE FUNCTION public.append_charged(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, p_user uuid, p_charge jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[], OUT rest jsonb, OUT refused jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    held allowances;
    charged record;
    is_charged boolean := false;
BEGIN
    IF p_user IS NOT NULL THEN
        held := allowance_held(p_user, allowance_takes(p_charge));
        -- After the lock: a first one under the same key has ended by now.
        IF held.user_id IS NOT NULL AND NOT command_repeated(p_owner, p_key) THEN
            charged := allowance_charge(held, p_charge);
            IF charged.refused IS NOT NULL THEN
                replayed := false;
                positions := '{}';
                refused := charged.refused;
                RETURN;
            END IF;
            is_charged := true;
        END IF;
    END IF;
    SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
        FROM append(p_owner, p_key, p_fingerprint, p_result, p_check_types, p_check_ids, p_check_sequences,
            p_types, p_ids, p_sequences, p_event_types, p_event_versions, p_payloads, p_metadata, p_beside) a;
    IF is_charged AND NOT replayed THEN
        rest := charged.rest;
        PERFORM allowance_write(charged.changed);
    END IF;
END $$;
CREATE FUNCTION public.append_lock_tag() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT 22082::bigint $$;
CREATE FUNCTION public.append_together(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[]) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.append_together_charged(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[], p_users uuid[], p_charges jsonb[]) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[], rest jsonb, refused jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    c integer := 1;
    e integer := 1;
    c_end integer;
    e_end integer;
    held allowances;
    locked uuid[] := '{}';
    person record;
    charged record;
    is_charged boolean;
BEGIN
    FOR person IN SELECT u.who, bool_or(allowance_takes(u.charge)) AS takes
        FROM unnest(p_users, p_charges) AS u(who, charge) WHERE u.who IS NOT NULL GROUP BY u.who ORDER BY u.who
    LOOP
        held := allowance_held(person.who, person.takes);
        IF held.user_id IS NOT NULL THEN
            locked := locked || held.user_id;
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(p_metadata) LOOP
        c_end := c + p_check_counts[i] - 1;
        e_end := e + p_event_counts[i] - 1;
        rest := NULL;
        refused := NULL;
        is_charged := p_users[i] = ANY (locked) AND NOT command_repeated(p_owners[i], p_keys[i]);
        IF is_charged THEN
            -- Anew: one before it in this group may have changed it.
            SELECT * INTO held FROM allowances a WHERE a.user_id = p_users[i];
            charged := allowance_charge(held, p_charges[i]);
            refused := charged.refused;
        END IF;
        IF refused IS NOT NULL THEN
            replayed := false;
            stored_fingerprint := NULL;
            stored_result := NULL;
            positions := '{}';
        ELSE
            SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
                FROM append(p_owners[i], p_keys[i], p_fingerprints[i], p_results[i]::json,
                    p_check_types[c:c_end], p_check_ids[c:c_end], p_check_sequences[c:c_end],
                    p_types[e:e_end], p_ids[e:e_end], p_sequences[e:e_end], p_event_types[e:e_end],
                    p_event_versions[e:e_end], p_payloads[e:e_end], p_metadata[i], NULL) a;
            IF is_charged AND NOT replayed THEN
                rest := charged.rest;
                PERFORM allowance_write(charged.changed);
            END IF;
        END IF;
        RETURN NEXT;
        c := c_end + 1;
        e := e_end + 1;
    END LOOP;
END $$;
CREATE FUNCTION public.attempt_take(p_buckets text[], p_quotas double precision[], p_spans double precision[]) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    moment float8;
    item record;
    known attempts;
    since float8;
    weighted float8;
    wait float8 := 0;
BEGIN
    FOR item IN SELECT * FROM unnest(p_buckets, p_quotas, p_spans) AS u(bucket, quota, span) ORDER BY bucket LOOP
        LOOP
            SELECT * INTO known FROM attempts a WHERE a.bucket = item.bucket FOR NO KEY UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO attempts (bucket, begun, taken, before)
                VALUES (item.bucket, extract(epoch FROM clock_timestamp()), 0, 0) ON CONFLICT (bucket) DO NOTHING;
        END LOOP;
        -- Only now: whoever was waited for may have moved the window.
        moment := extract(epoch FROM clock_timestamp());
        IF moment >= known.begun + 2 * item.span OR moment < known.begun - item.span THEN
            known.begun := moment;
            known.before := 0;
            known.taken := 0;
        ELSIF moment >= known.begun + item.span THEN
            known.begun := known.begun + item.span;
            known.before := known.taken;
            known.taken := 0;
        END IF;
        since := greatest(moment - known.begun, 0);
        weighted := known.before * (1 - since / item.span) + known.taken;
        IF weighted + 1 > item.quota THEN
            wait := greatest(wait, 1, CASE WHEN known.taken + 1 > item.quota
                THEN item.span - since + item.span * (1 - (item.quota - 1) / nullif(known.taken, 0))
                ELSE item.span * (1 - (item.quota - 1 - known.taken) / known.before) - since END);
        ELSE
            UPDATE attempts a SET begun = known.begun, taken = known.taken + 1, before = known.before
                WHERE a.bucket = item.bucket;
        END IF;
    END LOOP;
    RETURN wait;
END $$;
CREATE FUNCTION public.beside_accounts(p_item jsonb) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    whose uuid := (p_item ->> 'user_id')::uuid;
BEGIN
    CASE p_item ->> 'kind'
        WHEN 'login_device' THEN
            UPDATE logins l SET device = p_item ->> 'device' WHERE l.login_id = (p_item ->> 'login_id')::uuid;
        WHEN 'administrator_add' THEN
            INSERT INTO administrators (user_id) VALUES (whose) ON CONFLICT DO NOTHING;
        WHEN 'administrator_remove' THEN
            PERFORM FROM administrators a ORDER BY a.user_id FOR UPDATE;
            DELETE FROM administrators a WHERE a.user_id = whose;
            IF FOUND AND NOT EXISTS (SELECT FROM administrators) THEN
                RAISE EXCEPTION 'there would be no administrator left' USING ERRCODE = 'VB007';
            END IF;
        WHEN 'reset_spend' THEN
            IF NOT reset_spend(decode(p_item ->> 'token_hash', 'base64'), whose) THEN
                RAISE EXCEPTION 'the token is not good' USING ERRCODE = 'VB008';
            END IF;
        WHEN 'resets_void' THEN
            PERFORM resets_void(whose);
        WHEN 'failures_forget' THEN
            DELETE FROM sign_in_failures f WHERE f.account = p_item ->> 'account';
        WHEN 'mail' THEN
            INSERT INTO mails (mail_id, kind, user_id, sequence)
                SELECT (p_item ->> 'mail_id')::uuid, p_item ->> 'mail_kind', whose,
                    -- This append's own event stands last in the user's stream: before it, the old address counted.
                    CASE WHEN (p_item ->> 'to_old_address')::boolean THEN max(e.sequence) - 1 END
                FROM events e WHERE e.aggregate_type = 'user' AND e.aggregate_id = whose::text;
        ELSE
            RETURN false;
    END CASE;
    RETURN true;
END $$;
CREATE FUNCTION public.command_repeated(p_owner text, p_key text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN p_key IS NOT NULL AND EXISTS (SELECT FROM command_keys k WHERE k.owner = p_owner AND k.key = p_key
        AND k.created_at > clock_timestamp() - interval '23 hours 59 minutes');
END $$;
CREATE FUNCTION public.credential_set(p_user_id uuid, p_hash text) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO credentials AS c (user_id, password_hash) VALUES (p_user_id, p_hash)
    ON CONFLICT (user_id) DO UPDATE
        SET password_hash = excluded.password_hash, changed_at = clock_timestamp(), epoch = c.epoch + 1;
$$;
CREATE FUNCTION public.credential_stands(p_user_id uuid, p_epoch bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM credentials c WHERE c.user_id = p_user_id AND c.epoch = p_epoch FOR UPDATE;
    RETURN FOUND;
END $$;
CREATE FUNCTION public.credential_upgrade(p_user_id uuid, p_old_hash text, p_new_hash text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE credentials c SET password_hash = p_new_hash WHERE c.user_id = p_user_id AND c.password_hash = p_old_hash;
    RETURN FOUND;
END $$;
CREATE FUNCTION public.floor_age() RETURNS double precision
    LANGUAGE sql
    AS $$
    SELECT max(extract(epoch FROM clock_timestamp() - a.xact_start))::double precision
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint >> 16) = append_lock_tag()
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;
CREATE FUNCTION public.log_bounds(OUT head bigint, OUT floor bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
    head := coalesce(pg_sequence_last_value('events_position_seq'::regclass), 0);
    SELECT min(((l.classid::bigint << 32) | l.objid::bigint) & ((1::bigint << 48) - 1)) INTO floor
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
          AND (l.classid::bigint >> 16) = append_lock_tag();
    floor := least(head, coalesce(floor, head));
END $$;
CREATE FUNCTION public.login_end(p_login_id uuid, p_reason text) RETURNS uuid
    LANGUAGE sql
    AS $$
    UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.login_id = p_login_id AND l.ended_at IS NULL
        RETURNING l.user_id;
$$;
CREATE FUNCTION public.login_rotate(p_old bytea, p_new bytea, p_idle interval, OUT outcome text, OUT login_id uuid, OUT user_id uuid) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    family logins%ROWTYPE;
    t timestamptz;
BEGIN
    SELECT l.* INTO family FROM logins l
        WHERE l.login_id = (SELECT k.login_id FROM refresh_tokens k WHERE k.token_hash = p_old)
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    -- Read after the lock: the wait for it may have been long.
    t := clock_timestamp();
    login_id := family.login_id;
    user_id := family.user_id;
    IF family.ended_at IS NOT NULL OR family.idle_until <= t OR family.ends_at <= t THEN
        outcome := 'expired';
    ELSIF p_old = family.current_hash OR p_old = family.previous_hash THEN
        outcome := CASE WHEN p_old = family.current_hash THEN 'rotated' ELSE 'reissued' END;
        UPDATE logins l
            SET previous_hash = p_old, current_hash = p_new, last_used_at = t,
                idle_until = least(t + p_idle, family.ends_at)
            WHERE l.login_id = family.login_id;
        INSERT INTO refresh_tokens (token_hash, login_id) VALUES (p_new, family.login_id);
    ELSE
        outcome := 'reuse';
        UPDATE logins l SET ended_at = t, ended_reason = 'reuse' WHERE l.login_id = family.login_id;
    END IF;
END $$;
CREATE FUNCTION public.login_start(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    t timestamptz := clock_timestamp();
BEGIN
    INSERT INTO logins (login_id, user_id, created_at, last_used_at, idle_until, ends_at, current_hash)
    VALUES (p_login_id, p_user_id, t, t, least(t + p_idle, t + p_total), t + p_total, p_token_hash);
    INSERT INTO refresh_tokens (token_hash, login_id) VALUES (p_token_hash, p_login_id);
END $$;
CREATE FUNCTION public.login_start_checked(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval, p_epoch bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM credentials c WHERE c.user_id = p_user_id AND c.epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM login_start(p_login_id, p_user_id, p_token_hash, p_idle, p_total);
    RETURN true;
END $$;
CREATE FUNCTION public.login_start_on(p_login_id uuid, p_user_id uuid, p_token_hash bytea, p_idle interval, p_total interval, p_epoch bigint, p_device text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT login_start_checked(p_login_id, p_user_id, p_token_hash, p_idle, p_total, p_epoch) THEN
        RETURN false;
    END IF;
    UPDATE logins l SET device = p_device WHERE l.login_id = p_login_id;
    RETURN true;
END $$;
CREATE FUNCTION public.logins_end_all(p_user_id uuid, p_reason text, p_except uuid) RETURNS SETOF uuid
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE credentials c SET epoch = c.epoch + 1 WHERE c.user_id = p_user_id;
    -- Locked in one order, so that two of these cannot wait for each other.
    PERFORM FROM logins l WHERE l.user_id = p_user_id AND l.ended_at IS NULL ORDER BY l.login_id FOR NO KEY UPDATE;
    RETURN QUERY UPDATE logins l SET ended_at = clock_timestamp(), ended_reason = p_reason
        WHERE l.user_id = p_user_id AND l.ended_at IS NULL AND l.login_id IS DISTINCT FROM p_except
        RETURNING l.login_id;
END $$;
CREATE TABLE public.mails (
    mail_id uuid NOT NULL,
    kind text NOT NULL,
    user_id uuid,
    claim text,
    sequence bigint,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    not_before timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT mails_concern_one CHECK (((user_id IS NULL) <> (claim IS NULL)))
);
CREATE FUNCTION public.mails_take(p_limit integer, p_lease interval) RETURNS SETOF public.mails
    LANGUAGE sql
    AS $$
    UPDATE mails m SET attempts = m.attempts + 1, not_before = clock_timestamp() + p_lease
        WHERE m.mail_id IN (
            SELECT d.mail_id FROM mails d WHERE d.not_before <= clock_timestamp()
                ORDER BY d.not_before LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING m.*;
$$;
CREATE TABLE public.events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    "position" bigint NOT NULL,
    CONSTRAINT events_aggregate_id_check CHECK ((aggregate_id <> ''::text)),
    CONSTRAINT events_aggregate_type_check CHECK ((aggregate_type <> ''::text)),
    CONSTRAINT events_event_type_check CHECK ((event_type <> ''::text)),
    CONSTRAINT events_event_version_check CHECK ((event_version <> ''::text)),
    CONSTRAINT events_sequence_check CHECK ((sequence > 0))
);
CREATE FUNCTION public.read_events(p_after bigint, p_limit integer) RETURNS SETOF public.events
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.refuse_change_of_log() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % refused', TG_OP USING ERRCODE = '42501';
END $$;
CREATE FUNCTION public.relay_remember(p_name text, p_holder uuid, p_created text, p_sequence bigint, p_position bigint, p_term interval) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public'
    AS $$
BEGIN
    -- For this transaction only.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE relays SET stream_created = p_created, last_sequence = p_sequence, position = p_position,
        published_at = clock_timestamp(), held_until = clock_timestamp() + p_term
        WHERE name = p_name AND holder = p_holder;
    RETURN FOUND;
END $$;
CREATE FUNCTION public.reset_spend(p_token_hash bytea, p_user_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Locked in one order, so that two of these cannot wait for each other.
    PERFORM FROM password_resets r WHERE r.user_id = p_user_id ORDER BY r.token_hash FOR UPDATE;
    PERFORM FROM password_resets r
        WHERE r.token_hash = p_token_hash AND r.user_id = p_user_id AND r.spent_at IS NULL
            AND r.ends_at > clock_timestamp();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM resets_void(p_user_id);
    RETURN true;
END $$;
CREATE FUNCTION public.resets_void(p_user_id uuid) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE password_resets r SET spent_at = clock_timestamp() WHERE r.user_id = p_user_id AND r.spent_at IS NULL;
$$;
CREATE FUNCTION public.sign_in_settle(p_account text, p_right boolean, p_limit integer, p_window interval, p_lock interval, p_longest interval, OUT refused_for double precision, OUT locked_for double precision) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    known sign_in_failures%ROWTYPE;
    t timestamptz;
    pause interval;
BEGIN
    IF p_right THEN
        SELECT f.* INTO known FROM sign_in_failures f WHERE f.account = p_account FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    ELSE
        INSERT INTO sign_in_failures AS f (account, failures, since, locks, expires_at)
            VALUES (p_account, 0, clock_timestamp(), 0, clock_timestamp() + p_window)
            ON CONFLICT (account) DO UPDATE SET account = excluded.account
            RETURNING f.* INTO known;
    END IF;
    -- Read after the lock: the wait for it may have been long.
    t := clock_timestamp();
    IF known.locked_until > t THEN
        refused_for := extract(epoch FROM known.locked_until - t);
        RETURN;
    END IF;
    IF p_right THEN
        DELETE FROM sign_in_failures f WHERE f.account = p_account;
        RETURN;
    END IF;
    IF known.expires_at <= t THEN
        known.failures := 0;
        known.since := t;
        known.locks := 0;
    ELSIF known.locks = 0 AND known.since + p_window <= t THEN
        known.failures := 0;
        known.since := t;
    END IF;
    known.failures := known.failures + 1;
    known.locked_until := NULL;
    IF known.failures >= p_limit OR known.locks > 0 THEN
        pause := least(p_lock * power(2, least(known.locks, 20)), p_longest);
        known.locks := known.locks + 1;
        known.locked_until := t + pause;
        locked_for := extract(epoch FROM pause);
    END IF;
    UPDATE sign_in_failures f
        SET failures = known.failures, since = known.since, locks = known.locks, locked_until = known.locked_until,
            expires_at = coalesce(known.locked_until, t) + p_window
        WHERE f.account = p_account;
END $$;
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE public.administrators (
    user_id uuid NOT NULL
);
CREATE TABLE public.aggregate_snapshots (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL,
    code_version text NOT NULL,
    state json NOT NULL
);
CREATE TABLE public.asked_again (
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    "position" bigint NOT NULL,
    branch integer NOT NULL,
    reply_id uuid NOT NULL,
    model text
);
CREATE UNLOGGED TABLE public.attempts (
    bucket text NOT NULL,
    begun double precision NOT NULL,
    taken double precision NOT NULL,
    before double precision NOT NULL
);
CREATE TABLE public.branches (
    conversation_id uuid NOT NULL,
    branch integer NOT NULL,
    parent integer,
    fork_position bigint,
    message_id uuid,
    edited boolean NOT NULL,
    forked_after uuid,
    shared bigint NOT NULL,
    "position" bigint,
    created_at timestamp with time zone,
    active boolean NOT NULL
);
CREATE TABLE public.checkpoints (
    projection text NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.command_keys (
    owner text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    result json NOT NULL,
    aggregate_type text,
    aggregate_id text,
    sequence bigint,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.conversation_branches (
    conversation_id uuid NOT NULL,
    branch integer NOT NULL,
    message_count bigint NOT NULL,
    last_message text
);
CREATE TABLE public.conversations (
    conversation_id uuid NOT NULL,
    owner uuid NOT NULL,
    title text,
    pinned boolean NOT NULL,
    archived boolean NOT NULL,
    message_count bigint NOT NULL,
    last_message text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    read_to uuid,
    read_marked bigint,
    rewound_at bigint,
    branch integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.02');
CREATE TABLE public.credentials (
    user_id uuid NOT NULL,
    password_hash text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.data_keys (
    key_id uuid NOT NULL,
    user_id uuid NOT NULL,
    stream_type text NOT NULL,
    stream_id text NOT NULL,
    wrapped bytea NOT NULL
);
ALTER TABLE public.events ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.files (
    file_id uuid NOT NULL,
    owner uuid NOT NULL,
    state text NOT NULL,
    name text,
    mime_type text NOT NULL,
    size bigint NOT NULL,
    sha256 text,
    width integer,
    height integer,
    conversation_id uuid,
    created_at timestamp with time zone NOT NULL,
    "position" bigint NOT NULL,
    CONSTRAINT files_state_check CHECK ((state = ANY (ARRAY['announced'::text, 'stored'::text, 'deleted'::text])))
);
CREATE TABLE public.items (
    item_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    "position" bigint NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    reply_id uuid,
    content jsonb NOT NULL,
    feedback text,
    created_at timestamp with time zone NOT NULL,
    answered_at bigint,
    branch integer DEFAULT 0 NOT NULL,
    elsewhere boolean DEFAULT false NOT NULL,
    CONSTRAINT items_kind_check CHECK ((kind = ANY (ARRAY['client_tool_call'::text, 'structured_input'::text, 'widget'::text, 'quiz'::text, 'note'::text]))),
    CONSTRAINT items_status_check CHECK ((status = ANY (ARRAY['shown'::text, 'pending'::text, 'answered'::text, 'skipped'::text, 'dropped'::text])))
);
CREATE TABLE public.logins (
    login_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone NOT NULL,
    idle_until timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    ended_reason text,
    current_hash bytea NOT NULL,
    previous_hash bytea,
    device text,
    CONSTRAINT logins_current_hash_check CHECK ((octet_length(current_hash) = 32)),
    CONSTRAINT logins_ended CHECK (((ended_at IS NULL) = (ended_reason IS NULL))),
    CONSTRAINT logins_previous_hash_check CHECK ((octet_length(previous_hash) = 32))
);
CREATE TABLE public.messages (
    message_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    "position" bigint NOT NULL,
    role text NOT NULL,
    status text NOT NULL,
    text text,
    reply_id uuid,
    in_reply_to uuid,
    model text,
    created_at timestamp with time zone NOT NULL,
    files jsonb,
    composed jsonb,
    tool_choice text,
    wished_model text,
    feedback text,
    branch integer DEFAULT 0 NOT NULL,
    elsewhere boolean DEFAULT false NOT NULL,
    CONSTRAINT messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text]))),
    CONSTRAINT messages_status_check CHECK ((status = ANY (ARRAY['complete'::text, 'cancelled'::text, 'failed'::text])))
);
CREATE TABLE public.parked_messages (
    stream text NOT NULL,
    sequence bigint NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    deliveries bigint NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    retry boolean DEFAULT false NOT NULL
);
CREATE TABLE public.password_resets (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    mail_id uuid,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    spent_at timestamp with time zone,
    CONSTRAINT password_resets_token_hash_check CHECK ((octet_length(token_hash) = 32))
);
CREATE TABLE public.pending_replies (
    reply_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    owner uuid NOT NULL,
    message_id uuid NOT NULL,
    "position" bigint NOT NULL,
    model text,
    requested_at timestamp with time zone NOT NULL,
    deadline timestamp with time zone NOT NULL,
    attempt integer NOT NULL,
    not_before timestamp with time zone,
    interactive boolean DEFAULT false NOT NULL
);
CREATE TABLE public.refresh_tokens (
    token_hash bytea NOT NULL,
    login_id uuid NOT NULL,
    CONSTRAINT refresh_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
);
CREATE TABLE public.relays (
    name text NOT NULL,
    holder uuid NOT NULL,
    held_until timestamp with time zone NOT NULL,
    stream_created text,
    last_sequence bigint DEFAULT 0 NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    published_at timestamp with time zone,
    refills integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.replies (
    reply_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    owner uuid NOT NULL,
    message_id uuid NOT NULL,
    answer_id uuid NOT NULL,
    state text NOT NULL,
    requested_model text,
    model text,
    attempts jsonb NOT NULL,
    finish text,
    failure text,
    usage jsonb,
    timings jsonb,
    provider_reply_id text,
    requested_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    "position" bigint NOT NULL,
    items jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT replies_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'begun'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
);
CREATE UNLOGGED TABLE public.reply_leases (
    reply_id uuid NOT NULL,
    holder uuid NOT NULL,
    until timestamp with time zone NOT NULL
);
CREATE TABLE public.sign_in_failures (
    account text NOT NULL,
    failures integer NOT NULL,
    since timestamp with time zone NOT NULL,
    locks integer NOT NULL,
    locked_until timestamp with time zone,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.tickets (
    ticket_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    login_id uuid NOT NULL,
    token_ends_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL
);
CREATE TABLE public.usage_begun (
    reply_id uuid NOT NULL,
    prompt_price bigint,
    completion_price bigint
);
CREATE TABLE public.usage_days (
    user_id uuid NOT NULL,
    day date NOT NULL,
    messages bigint NOT NULL
);
CREATE TABLE public.usage_models (
    user_id uuid NOT NULL,
    day date NOT NULL,
    model text NOT NULL,
    replies bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cost_micros bigint
);
CREATE TABLE public.user_keys (
    user_id uuid NOT NULL,
    master_id text NOT NULL,
    wrapped bytea NOT NULL
);
CREATE TABLE public.users (
    user_id uuid NOT NULL,
    email text,
    username text,
    is_active boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    password_changed_at timestamp with time zone,
    role text NOT NULL,
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'auditor'::text, 'admin'::text])))
);
CREATE TABLE public.widget_state (
    quiz_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    owner uuid NOT NULL,
    state jsonb NOT NULL,
    started bigint NOT NULL,
    "position" bigint NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02');
CREATE TABLE public.widget_state_deleted (
    conversation_id uuid NOT NULL
);
INSERT INTO public._sqlx_migrations VALUES
	(20261120000100, 'log', '2026-12-01 03:36:46.004361+00', true, '\x4a250d5e2ea4b0281a9bd8358f90a198b77eb1c6303ef262083553e5fdaa58bf77b2849d99ebe8532d6d3fd3153fbaf6', 13517456),
	(20261120000200, 'logins', '2026-12-01 03:36:46.018401+00', true, '\xbe1db0e7bd8191fa89ba6fba30a1f178fc357e1f911c68c9dc7522c3e1bfb5494070ae9e040e928112bdffe0ecb7983b', 4794037),
	(20261120000300, 'read models', '2026-12-01 03:36:46.023428+00', true, '\x93030071dfdd871128a8000e819dbfa110c0dbd28be92944f7b20240a301e33ae2c5dc249573b51a13b9b7c6d556700c', 6301077),
	(20261121000100, 'relays', '2026-12-01 03:36:46.030037+00', true, '\x9abfafb28a3f7c1f0791977e526f2c2f4a5fe4e189cdac03c34d57567ebfa523f579dfdaad5facd7052cb3b13733ef96', 2399369),
	(20261121000200, 'parked messages', '2026-12-01 03:36:46.032748+00', true, '\x4c1ffc140e8229677984134ae9f3d0b52285b345bc31735b45f1368badf4296337e2053baabd235c65b3cf32f06b5adc', 1923548),
	(20261121000300, 'read marks', '2026-12-01 03:36:46.034887+00', true, '\x7ab2d0409247a62f583df24781640ccc2dc6d6ffeb4624d6e2407879cb7a6cb3e41483046e4eaaa02ae15e669b7fa964', 789035),
	(20261121000400, 'tickets', '2026-12-01 03:36:46.035946+00', true, '\x7d287b4e8510aa174b4893943ec826f9b1cd59a75f7f069c3a07ddc5946a796f99f8a1965d1eebc9556b4afb92959f73', 1525698),
	(20261121000500, 'relay remembers', '2026-12-01 03:36:46.037645+00', true, '\x5e004be90f0a7128d4e491f2fef7b593465364e40571c131755af38e607feea9a86005c7185c2c06f131323579273b70', 668033),
	(20261122000100, 'widget state', '2026-12-01 03:36:46.038469+00', true, '\xc9e1785afaaee4c78052f835f85565170121883527f6ad35e553fe6b2a57d06217d6676438ed8925882000264e147d50', 2573473),
	(20261122000200, 'files', '2026-12-01 03:36:46.04122+00', true, '\xf0cc933da34950b9cc91f33c813b96c5ef568660b1f5989cbe8153f038d0a980dd632157eda61e536e83c6e9082b8001', 2476817),
	(20261122000300, 'items', '2026-12-01 03:36:46.043924+00', true, '\xc1e3cfa243c7c616d6d79a0f8b2fc7ff6b48729d1a97fb6c2e422973c37e5d5d10e05668f58532cd8808a78a3bd9a0e0', 2948444),
	(20261123000200, 'branches', '2026-12-01 03:36:46.047072+00', true, '\x15954be32aa4d5deab9bb2ae2cb5ee904e84d27bcbefe3dc42a561d139cd90619907f2fc2b3b0f99cfddd1b85a999aa7', 5952257),
	(20261123000300, 'accounts', '2026-12-01 03:36:46.053246+00', true, '\xa2b9b400e09f154cdaf6c3771b2e257143661dd7486ad27926aad38df01bc834df07a9ef70faf19d43cc0d9829778abb', 7119834),
	(20261123000500, 'allowances', '2026-12-01 03:36:46.060576+00', true, '\x492e4f3059220004060425a7e8d2906f8eef17d59888317e823692a74d6d2bdc54f4e98d780e783310786977de6b0ac2', 4554266),
	(20261123000510, 'usage', '2026-12-01 03:36:46.06537+00', true, '\x404ec51e915b5a11659b10738019e9b2a06a115f09a739a7722c080d3311b4f16da1decb68cabaa0ce30dd4e57fee915', 2894884),
	(20261124000100, 'refused before it is written', '2026-12-01 03:36:46.068529+00', true, '\x8519a20a06e0fa849228d649a3057c19fae3421616738016b13d971f35ebf50674936050b53fff64f57c69b7039695fd', 3265276),
	(20261124000200, 'refused attempts write nothing', '2026-12-01 03:36:46.072011+00', true, '\x4bf855ca8cc1333bac7e0b23868ce69162b51968b512fc966b5490027d658641a6e283b414ccb942b8daffdf2c0b8180', 898317),
	(20261124000300, 'usage without a price', '2026-12-01 03:36:46.07307+00', true, '\xee5db68000f1412f9f908b38112b1788e0d288ab500852f3d6ad815f70df64b089bf8173922a3a2581b167fd82e587f6', 609916);
INSERT INTO public.administrators VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc');
INSERT INTO public.aggregate_snapshots VALUES
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 2, 'an earlier version', '{}');
INSERT INTO public.allowances VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', '{user,01a22fad-31f4-719f-b4a1-55f8b7600ace,"channel api"}', '{1796096209.406058,1796096209.406058,1796096209.406058}', '{5,5,5}', '{0,0,0}', '2026-12-01', 4, 140, '{}');
INSERT INTO public.asked_again VALUES
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 8, 0, 'ed9e030f-4903-53ed-b99d-49f5142cf0e0', NULL),
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 17, 1, '7fa7f3c0-ead4-5930-a40f-ccea783c59dc', NULL),
	('01961f2a-0002-7000-8000-0000000000c1', '01961f2a-0002-7000-8000-0000000000e1', 65, 0, 'e5bc88aa-3864-5844-b1a0-495be760e722', 'gpt-large'),
	('01961f2a-0003-7000-8000-0000000000c1', '01961f2a-0003-7000-8000-0000000000e1', 71, 0, 'e5bc88aa-3865-5844-b1a0-495be760e722', 'gpt-large'),
	('01961f2a-0005-7000-8000-0000000000c1', '01961f2a-0005-7000-8000-0000000000e1', 81, 0, 'e5bc88aa-3867-5844-b1a0-495be760e722', 'gpt-large');
INSERT INTO public.attempts VALUES
	('register 4ac4081296618681dd081b921e07fbb1', 1796096209.097915, 2, 0),
	('refresh 4ac4081296618681dd081b921e07fbb1', 1796096215.482548, 1, 0),
	('refresh_account c35750bd3ad62d51bf009d0439a5cd3f', 1796096215.485778, 1, 0),
	('sign_in 4ac4081296618681dd081b921e07fbb1', 1796096215.499753, 3, 0);
INSERT INTO public.branches VALUES
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', 0, NULL, NULL, NULL, false, NULL, 0, NULL, NULL, false),
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', 1, 0, 8, '01a22fad-31f4-719f-b4a1-55f74dfccb5a', false, '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 1, 16, '2026-12-01 03:36:52.293373+00', false),
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', 2, 0, 7, '01a22fad-31f4-719f-b4a1-55f74dfccb5a', true, NULL, 0, 20, '2026-12-01 03:36:53.871876+00', true),
	('01961f2a-0000-7000-8000-0000000000c1', 0, NULL, NULL, NULL, false, NULL, 0, NULL, NULL, false),
	('01961f2a-0000-7000-8000-0000000000c1', 2, 0, 41, '01900000-0000-7000-8000-000000000001', true, NULL, 0, 61, '2025-06-15 15:06:40.123456+00', false),
	('01961f2a-0003-7000-8000-0000000000c1', 0, NULL, NULL, NULL, false, NULL, 0, NULL, NULL, false),
	('01961f2a-0003-7000-8000-0000000000c1', 1, 0, 42, '01900000-0003-7000-8000-000000000001', false, NULL, 0, 73, '2025-06-15 15:06:40.123456+00', true);
INSERT INTO public.checkpoints VALUES
	('replies', 88),
	('pending_replies', 88),
	('usage', 88),
	('conversations', 88),
	('messages', 88),
	('files', 88),
	('widget_state', 88),
	('users', 88);
INSERT INTO public.command_keys VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', 'k1', '\xf395265230c7035a76044a7750196bd616626895ad58777d9e6738a4a5d5c46c', '{"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a"}', 'conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 3, '2026-12-01 03:36:49.407727+00'),
	('01a22fad-311e-712d-b3ee-da763ac221dc', 'k2', '\xd9a12d04ac5013943238e39ad5290c0487075b7796afa298c460ae28c225b926', '{"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-3692-7352-936d-3e1edd1c9044"}', 'conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 7, '2026-12-01 03:36:50.58076+00');
INSERT INTO public.conversation_branches VALUES
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', 0, 4, 'Built-in scripted provider, no AI. You said: "And then?" Turns seen: 3 (2 from you, 1 from me); words of instructions: 5.'),
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', 1, 2, 'Built-in scripted provider, no AI. You said: "Good morning" Turns seen: 1 (1 from you, 0 from me); words of instructions: 5.'),
	('01961f2a-0000-7000-8000-0000000000c1', 0, 2, 'In May, after the last frost.'),
	('01961f2a-0000-7000-8000-0000000000c1', 2, 4, NULL),
	('01961f2a-0003-7000-8000-0000000000c1', 0, 1, 'When shall I sow beans? ☀');
INSERT INTO public.conversations VALUES
	('01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', 'Greetings', true, false, 2, 'Built-in scripted provider, no AI. You said: "Good evening" Turns seen: 1 (1 from you, 0 from me); words of instructions: 5.', '2026-12-01 03:36:49.396408+00', '2026-12-01 03:36:54.418101+00', NULL, NULL, 20, 2),
	('01961f2a-0000-7000-8000-0000000000c1', '01961f2a-0000-7000-8000-0000000000a1', NULL, false, false, 4, NULL, '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', '01961f2a-0000-7000-8000-0000000000d1', 53, 61, 2),
	('01961f2a-0002-7000-8000-0000000000c1', '01961f2a-0002-7000-8000-0000000000a1', 'Plans for the garden', false, false, 2, 'In May, after the last frost.', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, 0),
	('01961f2a-0003-7000-8000-0000000000c1', '01961f2a-0003-7000-8000-0000000000a1', 'Plans for the garden', false, false, 1, 'When shall I sow beans? ☀', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', NULL, NULL, 73, 1),
	('01961f2a-0005-7000-8000-0000000000c1', '01961f2a-0005-7000-8000-0000000000a1', 'Plans for the garden', false, false, 1, 'When shall I sow beans? ☀', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, 0);
INSERT INTO public.credentials VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', '$argon2id$v=19$m=19456,t=2,p=1$6TvjKvS8BN7kcDfOQAHrtw$Yn4mzE6vgTDknZz+GVHK/Trnd7qGGTZK56QuC5GgznA', '2026-12-01 03:36:49.210194+00', 0),
	('01a22fad-3180-77c4-aeac-53625c3a51e9', '$argon2id$v=19$m=19456,t=2,p=1$aZ5tGI0bzHFTE6GH5k539Q$W31olvE93Xc1OBXtnzPldOhaf7IuEUlQ5yuZVfZ3Eiw', '2026-12-01 03:36:49.285044+00', 0);
INSERT INTO public.data_keys VALUES
	('10fc25a3-9958-4594-b1fd-06207c1a2897', '01a22fad-311e-712d-b3ee-da763ac221dc', 'user', '01a22fad-311e-712d-b3ee-da763ac221dc', '\x0e472ba45b1d9a25ae31a8f925015255d172e095296afe826dcf9a4b759345448f41f496dccdcce1274927d173b688d8d7454e598b12eea2121e11ad'),
	('afbcb94e-1ae1-4da3-8721-f7bbdbe944a8', '01a22fad-3180-77c4-aeac-53625c3a51e9', 'user', '01a22fad-3180-77c4-aeac-53625c3a51e9', '\x602ccdf92a0ae574abdfdbe84baa98a7db892c835b121e5fbda6a33df8878eb0a733530fc74b01efc6823271abf896ecf8a8b5227eaa9233d1d79425'),
	('36b7b301-ab13-4fc1-bcde-ba61ed94d0f1', '01a22fad-311e-712d-b3ee-da763ac221dc', 'conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '\x5cdc3a51512db1e4459fb7d8f1a18d95a548ef9457b055a2fd144d8f0a5615a4dfd6709a2612b152d3c4c2c336763bd56bebef331d45f90cdecff674'),
	('6d86c4e9-79d7-4474-8aa8-7975293e0a6a', '01961f2a-0000-7000-8000-0000000000a1', 'user', '01961f2a-0000-7000-8000-0000000000a1', '\xf3956f39bcdffbcb5fa8f87e7fdb549f31c25711c204cd34c4be80014c7f081e0c4b6b30f2434e921e63c2cead7af6fe2bd9b8975af9f613c0bb82c1'),
	('36b337e5-0a72-4fdb-9a8f-7222092c2075', '01961f2a-0000-7000-8000-0000000000a1', 'file', '01961f2a-0000-7000-8000-0000000000d1', '\x3f5bb59205530a92e67263899f868558737cb129398e8ad843459e51242ad08936ee9d69b02e38842b9243ad81c181eb940d78b72a9a9277569a5198'),
	('1f4b109c-7c12-48bb-ba0c-50d130a93278', '01961f2a-0001-7000-8000-0000000000a1', 'file', '01961f2a-0001-7000-8000-0000000000d1', '\x6ef8f6fd5125b2e7ac19a775ce56009f7910c1764a25ed2e6e394e99c709d93406978233133778016c8fc011fabcd67530efb7d7081835d6d340c752'),
	('4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6', '01961f2a-0000-7000-8000-0000000000a1', 'conversation', '01961f2a-0000-7000-8000-0000000000c1', '\x5496a6060378e517d81489ae08547098f68e81f452f6949953a7af9ff1713536b8ae42831bc508c826c331211f907d54592c8eef46c81f62f772e503'),
	('256984d1-0c6b-4c93-bdf2-5cc1394dc974', '01961f2a-0002-7000-8000-0000000000a1', 'conversation', '01961f2a-0002-7000-8000-0000000000c1', '\xbd1cde20dd55ac254066787c45d1dc0d3c71e7cf69a3932c70bc36046a06b906b42ef70de88089866f64bd8279161d741b72ed34602c5a7f959c9507'),
	('0b2bec8f-90cc-4274-8122-bad0e51a20b3', '01961f2a-0003-7000-8000-0000000000a1', 'conversation', '01961f2a-0003-7000-8000-0000000000c1', '\x2de6dfe79c2d75cb670532d5dab48fb93d273f9809022b7fbeac166d67a891858f349a19fad92f5abafdb5d67d78c4da4996259a08f45384ef8fe279'),
	('29dcf8cf-8261-43aa-a955-c200f5525077', '01961f2a-0004-7000-8000-0000000000a1', 'conversation', '01961f2a-0004-7000-8000-0000000000c1', '\x084158d660433be51ce7cef6b0e233324b8674fc20b900e53e63e254f7e72c3b435d9e0eed81fd80daf1d8b7fb0ede776816021b83fa8b49748609f3'),
	('c0d5b0aa-84a4-4432-b47e-4dbc812e09ca', '01961f2a-0005-7000-8000-0000000000a1', 'conversation', '01961f2a-0005-7000-8000-0000000000c1', '\xfccae25c04d9c0848af8cfd31e40a114c3b798a021889629993053d378584063b91d1e6681e1c4516a97d522b1baefee2480f36f6a7cbecbcd6f024f');
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES
	('claim', 'email:002b103f6b51efd8aebb54ceb49d6e0ad616f85ea2900066d1b49f8281826741', 1, 'claim_taken', '1', '{"at":"2026-12-01T03:36:49.181996Z","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","type":"claim_taken"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-30c5-769c-bc41-581ad0907420","correlation_id":"01a22fad-30c5-769c-bc41-581ad0907420","causation_id":"01a22fad-30c5-769c-bc41-581ad0907420","occurred_at":"2026-12-01T03:36:49.182121Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.20966+00', 1),
	('claim', 'username:6997314d28d752eb4773bece4d26cb3eaae10d4320803af569afcf7384662b2a', 1, 'claim_taken', '1', '{"at":"2026-12-01T03:36:49.181996Z","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","type":"claim_taken"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-30c5-769c-bc41-581ad0907420","correlation_id":"01a22fad-30c5-769c-bc41-581ad0907420","causation_id":"01a22fad-30c5-769c-bc41-581ad0907420","occurred_at":"2026-12-01T03:36:49.182121Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.20984+00', 2),
	('user', '01a22fad-311e-712d-b3ee-da763ac221dc', 1, 'user_registered', '1', '{"at":"2026-12-01T03:36:49.181996Z","email":{"$sealed":"uVZ4V79L1SQiKf5gUYo4fBQOIvb2AfVRWGeJuWkYlViITUPektwnocbZ4vD0","key":"10fc25a3-9958-4594-b1fd-06207c1a2897"},"type":"user_registered","user_id":"01a22fad-311e-712d-b3ee-da763ac221dc","username":{"$sealed":"c0S9edyENW7zRhMqRp/HdDY/a8UCGHvXU3/4imp9C+n0","key":"10fc25a3-9958-4594-b1fd-06207c1a2897"}}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-30c5-769c-bc41-581ad0907420","correlation_id":"01a22fad-30c5-769c-bc41-581ad0907420","causation_id":"01a22fad-30c5-769c-bc41-581ad0907420","occurred_at":"2026-12-01T03:36:49.182121Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.20985+00', 3),
	('claim', 'email:f811b787614695307069ae13e4316da5f2d3cd11610fc45e8a3f0eb6da1d9992', 1, 'claim_taken', '1', '{"at":"2026-12-01T03:36:49.280421Z","owner":"01a22fad-3180-77c4-aeac-53625c3a51e9","type":"claim_taken"}', '{"actor":"01a22fad-3180-77c4-aeac-53625c3a51e9","surface":"api","request_id":"01a22fad-3161-735a-ac44-c43ded423dd0","correlation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","causation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","occurred_at":"2026-12-01T03:36:49.280556Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.284765+00', 4),
	('claim', 'username:ccb86a8a0855e2f33c7332b6ef495f7693810c4b7d07be30c17f4c1f0a9d6621', 1, 'claim_taken', '1', '{"at":"2026-12-01T03:36:49.280421Z","owner":"01a22fad-3180-77c4-aeac-53625c3a51e9","type":"claim_taken"}', '{"actor":"01a22fad-3180-77c4-aeac-53625c3a51e9","surface":"api","request_id":"01a22fad-3161-735a-ac44-c43ded423dd0","correlation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","causation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","occurred_at":"2026-12-01T03:36:49.280556Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.284834+00', 5),
	('user', '01a22fad-3180-77c4-aeac-53625c3a51e9', 1, 'user_registered', '1', '{"at":"2026-12-01T03:36:49.280421Z","email":{"$sealed":"iBtN9OC7woHwEegD+lxHujHbN2Q2pkq80j8lvaiw/FNWY6+aYxNOc6bVRSE9sTo","key":"afbcb94e-1ae1-4da3-8721-f7bbdbe944a8"},"type":"user_registered","user_id":"01a22fad-3180-77c4-aeac-53625c3a51e9","username":{"$sealed":"OpW4eDEblO3/Pt9w3gCDMdoBie5lsEQ3CvYIWOKrDl/2wEw","key":"afbcb94e-1ae1-4da3-8721-f7bbdbe944a8"}}', '{"actor":"01a22fad-3180-77c4-aeac-53625c3a51e9","surface":"api","request_id":"01a22fad-3161-735a-ac44-c43ded423dd0","correlation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","causation_id":"01a22fad-3161-735a-ac44-c43ded423dd0","occurred_at":"2026-12-01T03:36:49.280556Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.284842+00', 6),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 1, 'conversation_started', '1', '{"at":"2026-12-01T03:36:49.396408Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","title":null,"type":"conversation_started"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","correlation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","causation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","occurred_at":"2026-12-01T03:36:49.396431Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.408272+00', 7),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 2, 'message_sent', '2', '{"at":"2026-12-01T03:36:49.396408Z","author":"01a22fad-311e-712d-b3ee-da763ac221dc","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","enclosed":{"composed":null,"files":[],"tool_choice":null},"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","text":{"$sealed":"mTtRwGBr9NY2A3eWyaCDREmXghFy9tczE+Ro9R+u18TxZ2fRRmI8SfPy","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"type":"message_sent"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","correlation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","causation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","occurred_at":"2026-12-01T03:36:49.396431Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.408322+00', 8),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 3, 'reply_requested', '2', '{"at":"2026-12-01T03:36:49.396408Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","deadline":"2026-12-01T03:39:49.396408Z","interactive":false,"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","model":null,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","reply_id":"ed9e030f-4903-53ed-b99d-49f5142cf0e0","type":"reply_requested"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","correlation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","causation_id":"01a22fad-31f1-7192-8b14-07cc9f4efd99","occurred_at":"2026-12-01T03:36:49.396431Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.408329+00', 9),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 4, 'reply_begun', '1', '{"at":"2026-12-01T03:36:49.759374Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","plan":{"file_hashes":[],"input_message_ids":["01a22fad-31f4-719f-b4a1-55f74dfccb5a"],"model":"scripted-echo-1","parameters":{"context":{"budget":16000,"cut":0,"factor":125,"files":{"cut":0,"named":0,"whole":0},"left_out":{"erased":0,"older":false,"over_budget":0,"over_limit":0},"policy":"context-3","tokens":{"all":22,"files":0,"system":15,"tools":0,"turns":7},"turns":["01a22fad-31f4-719f-b4a1-55f74dfccb5a"],"vocabulary":"o200k_base"},"max_output_tokens":500,"words_per_second":40},"prompt_versions":["context-3"],"provider":"scripted","worker":"0.1.0-01a22fad-2532-71ba-9089-ea24d108932b"},"reply_id":"ed9e030f-4903-53ed-b99d-49f5142cf0e0","type":"reply_begun"}', '{"surface":"worker","correlation_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","causation_id":"ed9e030f-4903-53ed-b99d-49f5142cf0e0","occurred_at":"2026-12-01T03:36:49.759401Z","app_version":"0.1.0"}', '2026-12-01 03:36:49.761319+00', 10),
	('file', '01961f2a-0001-7000-8000-0000000000d1', 1, 'file_announced', '1', '{"at":"2025-06-15T15:06:40.123456Z","file_id":"01961f2a-0001-7000-8000-0000000000d1","mime_type":"image/png","name":{"$sealed":"d/JDTo8F3/XlJwI2FFi2OkBPAJvPLbXMIE1mkvrUkePIsXqo9kN64G6kDkU","key":"1f4b109c-7c12-48bb-ba0c-50d130a93278"},"owner":"01961f2a-0001-7000-8000-0000000000a1","size":48213,"type":"file_announced"}', '{"surface":"api"}', '2026-12-01 03:37:02.047011+00', 39),
	('file', '01961f2a-0001-7000-8000-0000000000d1', 3, 'file_deleted', '1', '{"at":"2025-06-15T15:06:40.123456Z","file_id":"01961f2a-0001-7000-8000-0000000000d1","owner":"01961f2a-0001-7000-8000-0000000000a1","type":"file_deleted"}', '{"surface":"api"}', '2026-12-01 03:37:02.049085+00', 41),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 5, 'reply_completed', '2', '{"answer_id":"dfe0d72b-61a4-51c8-a087-4b248a29f104","at":"2026-12-01T03:36:50.288042Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","finish":"stop","items":[],"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","model":"scripted-echo-1","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","provider_reply_id":"scripted-ed9e030f-4903-53ed-b99d-49f5142cf0e0-1","reply_id":"ed9e030f-4903-53ed-b99d-49f5142cf0e0","text":{"$sealed":"cx2WZ25DpHEC+FmimDAzZF0Ib3wLpXaO/UB4u2/Lq33rNjcIDXU35jTX5p0acB8TIFrzza0laU6JZQGKzqpfzz3n8g4popzKATIXIRkzuYXsPZ503h/lfr8uPLg4DfqIBzHqYwUtBlf7GFSalvYnGCSQ0Ep5qKimTsHX/+z0F7seEjFr4UAyRc5E+Nc84IJrkHwX+LAWOEqh0mGQ","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"timings":{"first_token_ms":1,"total_ms":525},"type":"reply_completed","usage":{"completion_tokens":22,"prompt_tokens":7}}', '{"surface":"worker","correlation_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","causation_id":"ed9e030f-4903-53ed-b99d-49f5142cf0e0","occurred_at":"2026-12-01T03:36:50.288078Z","app_version":"0.1.0"}', '2026-12-01 03:36:50.290346+00', 11),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 6, 'message_sent', '2', '{"at":"2026-12-01T03:36:50.578462Z","author":"01a22fad-311e-712d-b3ee-da763ac221dc","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","enclosed":{"composed":null,"files":[],"tool_choice":null},"message_id":"01a22fad-3692-7352-936d-3e1edd1c9044","text":{"$sealed":"a/1AqngO2qyvT8onySaiVrkaQ/UrXOnbVjFaI4f+26bT8ZH3iHa7","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"type":"message_sent"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","correlation_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","causation_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","occurred_at":"2026-12-01T03:36:50.578478Z","app_version":"0.1.0"}', '2026-12-01 03:36:50.58092+00', 12),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 7, 'reply_requested', '2', '{"at":"2026-12-01T03:36:50.578462Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","deadline":"2026-12-01T03:39:50.578462Z","interactive":false,"message_id":"01a22fad-3692-7352-936d-3e1edd1c9044","model":null,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","reply_id":"0db379cc-a47c-5fdf-a50f-b64b40f5ec89","type":"reply_requested"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","correlation_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","causation_id":"01a22fad-3691-75a9-b2c5-cd7b1cd1075c","occurred_at":"2026-12-01T03:36:50.578478Z","app_version":"0.1.0"}', '2026-12-01 03:36:50.580968+00', 13),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 8, 'reply_begun', '1', '{"at":"2026-12-01T03:36:50.587505Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-3692-7352-936d-3e1edd1c9044","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","plan":{"file_hashes":[],"input_message_ids":["01a22fad-31f4-719f-b4a1-55f74dfccb5a","dfe0d72b-61a4-51c8-a087-4b248a29f104","01a22fad-3692-7352-936d-3e1edd1c9044"],"model":"scripted-echo-1","parameters":{"context":{"budget":16000,"cut":0,"factor":125,"files":{"cut":0,"named":0,"whole":0},"left_out":{"erased":0,"older":false,"over_budget":0,"over_limit":0},"policy":"context-3","tokens":{"all":81,"files":0,"system":15,"tools":0,"turns":66},"turns":["01a22fad-31f4-719f-b4a1-55f74dfccb5a","01a22fad-3692-7352-936d-3e1edd1c9044"],"vocabulary":"o200k_base"},"max_output_tokens":500,"words_per_second":40},"prompt_versions":["context-3"],"provider":"scripted","worker":"0.1.0-01a22fad-2532-71ba-9089-ea24d108932b"},"reply_id":"0db379cc-a47c-5fdf-a50f-b64b40f5ec89","type":"reply_begun"}', '{"surface":"worker","correlation_id":"01a22fad-3692-7352-936d-3e1edd1c9044","causation_id":"0db379cc-a47c-5fdf-a50f-b64b40f5ec89","occurred_at":"2026-12-01T03:36:50.587515Z","app_version":"0.1.0"}', '2026-12-01 03:36:50.593351+00', 14),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 9, 'reply_completed', '2', '{"answer_id":"ebba2a82-b65f-58a1-995e-22058c9b2256","at":"2026-12-01T03:36:51.120228Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","finish":"stop","items":[],"message_id":"01a22fad-3692-7352-936d-3e1edd1c9044","model":"scripted-echo-1","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","provider_reply_id":"scripted-0db379cc-a47c-5fdf-a50f-b64b40f5ec89-1","reply_id":"0db379cc-a47c-5fdf-a50f-b64b40f5ec89","text":{"$sealed":"M8Fn7ZPraaVXHfm/q5wDNibIbOdVP8sXP9ZtuA7RTrWgkKkR3gX53pbviXolBhcII7pJjM5xR3XEFm0xFX6Sw5jS1llwKaSXlmIos6+VKQLB8Q4GZlf4ou8rnkgy+yfEJ0agiFs09/fHKEVxLGf3vYMrVBzcom+MZmKWjAOxYeJWkwtC+93+872CshSMlSeSXazmkqlJpBLt","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"timings":{"first_token_ms":1,"total_ms":526},"type":"reply_completed","usage":{"completion_tokens":22,"prompt_tokens":31}}', '{"surface":"worker","correlation_id":"01a22fad-3692-7352-936d-3e1edd1c9044","causation_id":"0db379cc-a47c-5fdf-a50f-b64b40f5ec89","occurred_at":"2026-12-01T03:36:51.120263Z","app_version":"0.1.0"}', '2026-12-01 03:36:51.123237+00', 15),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 10, 'branch_begun', '1', '{"at":"2026-12-01T03:36:52.293373Z","branch":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","edited":false,"fork_position":8,"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","messages":1,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","parent":0,"type":"branch_begun"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","correlation_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","causation_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","occurred_at":"2026-12-01T03:36:52.295246Z","app_version":"0.1.0"}', '2026-12-01 03:36:52.298212+00', 16),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 11, 'reply_requested', '2', '{"at":"2026-12-01T03:36:52.293373Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","deadline":"2026-12-01T03:39:52.293373Z","interactive":false,"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","model":null,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","reply_id":"7fa7f3c0-ead4-5930-a40f-ccea783c59dc","type":"reply_requested"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","correlation_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","causation_id":"01a22fad-3d40-7584-9ecb-a7269f178cfe","occurred_at":"2026-12-01T03:36:52.295246Z","app_version":"0.1.0"}', '2026-12-01 03:36:52.298272+00', 17),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 12, 'reply_begun', '1', '{"at":"2026-12-01T03:36:52.314290Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","plan":{"file_hashes":[],"input_message_ids":["01a22fad-31f4-719f-b4a1-55f74dfccb5a"],"model":"scripted-echo-1","parameters":{"context":{"budget":16000,"cut":0,"factor":125,"files":{"cut":0,"named":0,"whole":0},"left_out":{"erased":0,"older":false,"over_budget":0,"over_limit":0},"policy":"context-3","tokens":{"all":22,"files":0,"system":15,"tools":0,"turns":7},"turns":["01a22fad-31f4-719f-b4a1-55f74dfccb5a"],"vocabulary":"o200k_base"},"max_output_tokens":500,"words_per_second":40},"prompt_versions":["context-3"],"provider":"scripted","worker":"0.1.0-01a22fad-2532-71ba-9089-ea24d108932b"},"reply_id":"7fa7f3c0-ead4-5930-a40f-ccea783c59dc","type":"reply_begun"}', '{"surface":"worker","correlation_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","causation_id":"7fa7f3c0-ead4-5930-a40f-ccea783c59dc","occurred_at":"2026-12-01T03:36:52.314301Z","app_version":"0.1.0"}', '2026-12-01 03:36:52.315364+00', 18),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 13, 'reply_completed', '2', '{"answer_id":"21c5dc7d-aafa-59d4-a421-35470dc8945a","at":"2026-12-01T03:36:52.843325Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","finish":"stop","items":[],"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","model":"scripted-echo-1","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","provider_reply_id":"scripted-7fa7f3c0-ead4-5930-a40f-ccea783c59dc-1","reply_id":"7fa7f3c0-ead4-5930-a40f-ccea783c59dc","text":{"$sealed":"eQGxXzqv/54O/jhOhXSO3se4h44ZdEESwJ8o49MUhHpf0vyp/NNJMkocsm6oOxPnwx0Cn2OfZrKCvfQZprhX4vxU+6lfbGiAQbL5W4PC++8rhUqWO7p3Ugb2TsHuzP7n3NZzfZ2iOmuqb9rEGunp8TNRie7Tr7mRK3gRZYzQ3/FpBqki9O0epb3xVvpvZymTlLo52nYVT4j4PX4X","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"timings":{"first_token_ms":0,"total_ms":526},"type":"reply_completed","usage":{"completion_tokens":22,"prompt_tokens":7}}', '{"surface":"worker","correlation_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","causation_id":"7fa7f3c0-ead4-5930-a40f-ccea783c59dc","occurred_at":"2026-12-01T03:36:52.843361Z","app_version":"0.1.0"}', '2026-12-01 03:36:52.845295+00', 19),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 14, 'branch_begun', '1', '{"at":"2026-12-01T03:36:53.871876Z","branch":2,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","edited":true,"fork_position":7,"message_id":"01a22fad-31f4-719f-b4a1-55f74dfccb5a","messages":0,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","parent":0,"type":"branch_begun"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","correlation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","causation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","occurred_at":"2026-12-01T03:36:53.872920Z","app_version":"0.1.0"}', '2026-12-01 03:36:53.879748+00', 20),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 15, 'message_sent', '2', '{"at":"2026-12-01T03:36:53.871876Z","author":"01a22fad-311e-712d-b3ee-da763ac221dc","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","enclosed":{"composed":null,"files":[],"tool_choice":null},"message_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","text":{"$sealed":"07D+sIQ0PuYLo793+P+7pAYbgIlhaJVXOUSK2f52kYZpVX7Jhbx0Xg2R","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"type":"message_sent"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","correlation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","causation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","occurred_at":"2026-12-01T03:36:53.872920Z","app_version":"0.1.0"}', '2026-12-01 03:36:53.879959+00', 21),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 16, 'reply_requested', '2', '{"at":"2026-12-01T03:36:53.871876Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","deadline":"2026-12-01T03:39:53.871876Z","interactive":false,"message_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","model":null,"owner":"01a22fad-311e-712d-b3ee-da763ac221dc","reply_id":"d34b39f1-1891-5821-8f0e-54a9159a6ced","type":"reply_requested"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","correlation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","causation_id":"01a22fad-436b-76c8-9a60-5eb0b2a0976e","occurred_at":"2026-12-01T03:36:53.872920Z","app_version":"0.1.0"}', '2026-12-01 03:36:53.879967+00', 22),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 17, 'reply_begun', '1', '{"at":"2026-12-01T03:36:53.889468Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","message_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","plan":{"file_hashes":[],"input_message_ids":["01a22fad-436f-71f2-b33e-a9ff8088a411"],"model":"scripted-echo-1","parameters":{"context":{"budget":16000,"cut":0,"factor":125,"files":{"cut":0,"named":0,"whole":0},"left_out":{"erased":0,"older":false,"over_budget":0,"over_limit":0},"policy":"context-3","tokens":{"all":22,"files":0,"system":15,"tools":0,"turns":7},"turns":["01a22fad-436f-71f2-b33e-a9ff8088a411"],"vocabulary":"o200k_base"},"max_output_tokens":500,"words_per_second":40},"prompt_versions":["context-3"],"provider":"scripted","worker":"0.1.0-01a22fad-2532-71ba-9089-ea24d108932b"},"reply_id":"d34b39f1-1891-5821-8f0e-54a9159a6ced","type":"reply_begun"}', '{"surface":"worker","correlation_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","causation_id":"d34b39f1-1891-5821-8f0e-54a9159a6ced","occurred_at":"2026-12-01T03:36:53.889478Z","app_version":"0.1.0"}', '2026-12-01 03:36:53.890436+00', 23),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 18, 'reply_completed', '2', '{"answer_id":"5f510cd1-206d-5791-a03c-8ae5fc1c3018","at":"2026-12-01T03:36:54.418101Z","attempt":1,"conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","finish":"stop","items":[],"message_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","model":"scripted-echo-1","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","provider_reply_id":"scripted-d34b39f1-1891-5821-8f0e-54a9159a6ced-1","reply_id":"d34b39f1-1891-5821-8f0e-54a9159a6ced","text":{"$sealed":"E3Y/xGWMoGMZ2GISHicW+TzMWfs+9py5qhjNNQVtFd43mHhz+e72qAdcUjsueqAk5AAlGlM1O739A1Y/bWbL2+UFOeHrvEYD5fcS9ByW4ajLE53IMbZLv/k03nnVMnVGfvYsoCLRWujSHYnUkIturElCcKGXJ6ASjBmj1zsAUkIcC0t+/3XyW8bNQsgGzOmPNXtg2e2LT1XNjobO","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"timings":{"first_token_ms":0,"total_ms":525},"type":"reply_completed","usage":{"completion_tokens":22,"prompt_tokens":7}}', '{"surface":"worker","correlation_id":"01a22fad-436f-71f2-b33e-a9ff8088a411","causation_id":"d34b39f1-1891-5821-8f0e-54a9159a6ced","occurred_at":"2026-12-01T03:36:54.418141Z","app_version":"0.1.0"}', '2026-12-01 03:36:54.420324+00', 24),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 19, 'conversation_renamed', '1', '{"at":"2026-12-01T03:36:55.455689Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","title":{"$sealed":"cbepT3Jpten+s8KsobOot4LZVRtHclwL3/jDXWI0oVfxtAORR3lh","key":"36b7b301-ab13-4fc1-bcde-ba61ed94d0f1"},"type":"conversation_renamed"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","correlation_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","causation_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","occurred_at":"2026-12-01T03:36:55.455694Z","app_version":"0.1.0"}', '2026-12-01 03:36:55.457024+00', 25),
	('conversation', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 20, 'conversation_pinned', '1', '{"at":"2026-12-01T03:36:55.455689Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","type":"conversation_pinned"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","correlation_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","causation_id":"01a22fad-499e-71d7-aff2-db9a89eebd0a","occurred_at":"2026-12-01T03:36:55.455694Z","app_version":"0.1.0"}', '2026-12-01 03:36:55.45711+00', 26),
	('quiz', '01a22fad-4a5f-7620-a842-711e8a876dd2', 1, 'quiz_started', '1', '{"at":"2026-12-01T03:36:55.647467Z","conversation_id":"01a22fad-31f4-719f-b4a1-55f8b7600ace","owner":"01a22fad-311e-712d-b3ee-da763ac221dc","questions":[{"correct":"c","explanation":"Brokers repeat a delivery when an acknowledgement was lost. A consumer keeps the last position, in the same transaction as its counts, and so counts each event once.","hint":"Delivery is usually at least once.","id":"events-idempotent","options":[{"label":"Count it: deliveries are what is counted","value":"a"},{"label":"Ask the broker to deliver exactly once instead","value":"b"},{"label":"Notice by the event''s position or id that it was counted, and skip it","value":"c"},{"label":"Subtract one from the count to be safe","value":"d"}],"prompt":"A message broker delivers an event a second time. What should a consumer that counts orders do?"},{"correct":"d","explanation":"A command asks for something and is checked against the state. What comes of it, if it is accepted, is recorded as events.","hint":"One is a wish, the other a fact.","id":"events-command","options":[{"label":"A command is stored for ever, an event is not","value":"a"},{"label":"A command is read by projections, an event by aggregates","value":"b"},{"label":"They are two words for one message","value":"c"},{"label":"A command may be refused; an event has happened","value":"d"}],"prompt":"What is the difference between a command and an event?"},{"correct":"c","explanation":"Read models follow the log and are eventually consistent. A query that has to show a write waits until its model has come to the write''s position.","hint":"Writing and reading are apart in CQRS.","id":"events-lag","options":[{"label":"The command was rolled back after the answer","value":"a"},{"label":"Queries are answered from a backup","value":"b"},{"label":"Read models are updated from the log a little later","value":"c"},{"label":"Events are sorted once a night","value":"d"}],"prompt":"A client has just been told that its command succeeded, but a query does not show the change yet. Why may that be?"},{"correct":"d","explanation":"Stored events are never changed. An upcaster turns an old payload into the newest shape on its way from the log to the code.","hint":"The log is append-only.","id":"events-upcast","options":[{"label":"They are rewritten in place by a migration","value":"a"},{"label":"They are deleted after the next snapshot","value":"b"},{"label":"Nothing: old code keeps reading them","value":"c"},{"label":"They stay as they are, and are raised to the new shape when they are read","value":"d"}],"prompt":"An event has got another shape. What is done about the old ones in the log?"},{"correct":"b","explanation":"With optimistic concurrency an append says where the stream must stand. The one that comes second is refused, loads the new events and decides again.","hint":"It is called optimistic.","id":"events-concurrency","options":[{"label":"The slower one waits until the faster one is projected","value":"a"},{"label":"Each append names the version it expects, and the second no longer finds it","value":"b"},{"label":"Events carry time stamps, and the later one wins","value":"c"},{"label":"Both succeed, and a projection merges them","value":"d"}],"prompt":"Two writers append to one stream at the same time, each having read it at version 7. What keeps both from succeeding?"}],"quiz_id":"01a22fad-4a5f-7620-a842-711e8a876dd2","topic":"events","type":"quiz_started"}', '{"actor":"01a22fad-311e-712d-b3ee-da763ac221dc","surface":"api","request_id":"01a22fad-4a5e-7740-bcf9-156c28f6d1c9","correlation_id":"01a22fad-4a5e-7740-bcf9-156c28f6d1c9","causation_id":"01a22fad-4a5e-7740-bcf9-156c28f6d1c9","occurred_at":"2026-12-01T03:36:55.648743Z","app_version":"0.1.0"}', '2026-12-01 03:36:55.651662+00', 27),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 1, 'user_registered', '1', '{"at":"2025-06-15T15:06:40.123456Z","email":{"$sealed":"OvUPWuCs/lWLndzpzkZkNhq586MPFCvQz1JYfmqziXP2A/Mf97NN+J4osgEx","key":"6d86c4e9-79d7-4474-8aa8-7975293e0a6a"},"type":"user_registered","user_id":"01961f2a-0000-7000-8000-0000000000a1","username":{"$sealed":"BjSnm63hdvgxtwplQa8k1eygff2FUYxQiRMCK9S7RqaDeZai","key":"6d86c4e9-79d7-4474-8aa8-7975293e0a6a"}}', '{"surface":"api"}', '2026-12-01 03:37:02.011244+00', 28),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 2, 'password_changed', '1', '{"at":"2025-06-15T15:06:40.123456Z","type":"password_changed","user_id":"01961f2a-0000-7000-8000-0000000000a1"}', '{"surface":"api"}', '2026-12-01 03:37:02.015338+00', 29),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 3, 'email_changed', '1', '{"at":"2025-06-15T15:06:40.123456Z","email":{"$sealed":"kPGcJpEPE+g1DBl7GlrgD2Og6zbEvPA21rliD928byFmEquS8++oBPCCd5nVMCs","key":"6d86c4e9-79d7-4474-8aa8-7975293e0a6a"},"type":"email_changed","user_id":"01961f2a-0000-7000-8000-0000000000a1"}', '{"surface":"api"}', '2026-12-01 03:37:02.016582+00', 30),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 4, 'username_changed', '1', '{"at":"2025-06-15T15:06:40.123456Z","type":"username_changed","user_id":"01961f2a-0000-7000-8000-0000000000a1","username":{"$sealed":"yVJSQZ6k5jdjBItbV57F2jxAwb8y02YU2d2rutEyQkoMV+s","key":"6d86c4e9-79d7-4474-8aa8-7975293e0a6a"}}', '{"surface":"api"}', '2026-12-01 03:37:02.029061+00', 31),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 5, 'role_granted', '1', '{"at":"2025-06-15T15:06:40.123456Z","by":"01961f2a-0000-7000-8000-0000000000b2","role":"auditor","type":"role_granted","user_id":"01961f2a-0000-7000-8000-0000000000a1"}', '{"surface":"api"}', '2026-12-01 03:37:02.03+00', 32),
	('user', '01961f2a-0000-7000-8000-0000000000a1', 6, 'user_deactivated', '1', '{"at":"2025-06-15T15:06:40.123456Z","type":"user_deactivated","user_id":"01961f2a-0000-7000-8000-0000000000a1"}', '{"surface":"api"}', '2026-12-01 03:37:02.030724+00', 33),
	('claim', 'email:0badc0de', 1, 'claim_taken', '1', '{"at":"2025-06-15T15:06:40.123456Z","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"claim_taken"}', '{"surface":"api"}', '2026-12-01 03:37:02.040817+00', 34),
	('claim', 'email:0badc0de', 2, 'claim_released', '1', '{"at":"2025-06-15T15:06:40.123456Z","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"claim_released"}', '{"surface":"api"}', '2026-12-01 03:37:02.041681+00', 35),
	('file', '01961f2a-0000-7000-8000-0000000000d1', 1, 'file_announced', '1', '{"at":"2025-06-15T15:06:40.123456Z","file_id":"01961f2a-0000-7000-8000-0000000000d1","mime_type":"image/png","name":{"$sealed":"ejXZYMMzwxbrlNGbdHJS0oIKTVN9cGbp1KAMuiOUFwzQIu6KPBy2HvMy8Kw","key":"36b337e5-0a72-4fdb-9a8f-7222092c2075"},"owner":"01961f2a-0000-7000-8000-0000000000a1","size":48213,"type":"file_announced"}', '{"surface":"api"}', '2026-12-01 03:37:02.042906+00', 36),
	('file', '01961f2a-0000-7000-8000-0000000000d1', 2, 'file_stored', '1', '{"at":"2025-06-15T15:06:40.123456Z","file_id":"01961f2a-0000-7000-8000-0000000000d1","image":{"height":720,"width":1280},"mime_type":"image/png","name":{"$sealed":"eME7KZqFiHWNRTqPzrAwcoRHjOPiPWtEXBy78vHcDYOLfDfxAkdu/9m3U/s","key":"36b337e5-0a72-4fdb-9a8f-7222092c2075"},"owner":"01961f2a-0000-7000-8000-0000000000a1","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":48213,"type":"file_stored"}', '{"surface":"api"}', '2026-12-01 03:37:02.0443+00', 37),
	('file', '01961f2a-0000-7000-8000-0000000000d1', 3, 'file_attached', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","file_id":"01961f2a-0000-7000-8000-0000000000d1","message_id":"01961f2a-0000-7000-8000-0000000000e1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"file_attached"}', '{"surface":"api"}', '2026-12-01 03:37:02.045072+00', 38),
	('file', '01961f2a-0001-7000-8000-0000000000d1', 2, 'file_stored', '1', '{"at":"2025-06-15T15:06:40.123456Z","file_id":"01961f2a-0001-7000-8000-0000000000d1","image":{"height":720,"width":1280},"mime_type":"image/png","name":{"$sealed":"9/00eSOosxM4SmZGSNDdK37rlFGjh0vznBo69L4IJP5x5+o/r6+kAw3zRos","key":"1f4b109c-7c12-48bb-ba0c-50d130a93278"},"owner":"01961f2a-0001-7000-8000-0000000000a1","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":48213,"type":"file_stored"}', '{"surface":"api"}', '2026-12-01 03:37:02.048176+00', 40),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 1, 'conversation_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","title":{"$sealed":"7cqiYN+ea3A4/ihT35Sp+8st411xiN8N6JYpvcrlJvYICN36h8vbEj2OdLYb3POHJ3E","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"type":"conversation_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.049995+00', 42),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 5, 'reply_attempt_failed', '1', '{"at":"2025-06-15T15:06:40.123456Z","attempt":1,"conversation_id":"01961f2a-0000-7000-8000-0000000000c1","message_id":"01961f2a-0000-7000-8000-0000000000e1","not_before":"2025-06-15T15:06:45Z","owner":"01961f2a-0000-7000-8000-0000000000a1","reason":"rate_limited","reply_id":"e5bc88aa-3862-5844-b1a0-495be760e722","type":"reply_attempt_failed"}', '{"surface":"api"}', '2026-12-01 03:37:02.0531+00', 46),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 8, 'conversation_pinned', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"conversation_pinned"}', '{"surface":"api"}', '2026-12-01 03:37:02.055196+00', 49),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 11, 'conversation_unarchived', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"conversation_unarchived"}', '{"surface":"api"}', '2026-12-01 03:37:02.057025+00', 52),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 16, 'input_requested', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_id":"01900000-0000-7000-8000-0000000000b1","owner":"01961f2a-0000-7000-8000-0000000000a1","questions":{"$sealed":"tZCEfWaNkwygXk3EZiwmGPLsBNYFfcwD2mo489CAbml+xRmASIWqmfRz9lezKhaeL72FHHterWrLaADAdRXk6SDJMvBNm2IKXFp98pNKLVVxmeSfdwWOYChAvxthDRCCNyl4/chtlO4sZ9GrXASMOvnYtOpRiVAJHxbhYvBRCQJ8YiTEP33zgKcuIE7PDaHXRNpVVORPHNxIEIVJv6/d2Bqq14woe8iUSPZaJjDAyUS2VjvRIiSEAay6u5SrXmJAXLo/LF60bz8LEzs/Ya82SGTtk8+D9Xw0yfD44VF1nSLVDDRtHg","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"reply_id":"6b996110-8bac-52f2-a218-e35f518f4bcf","type":"input_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.071678+00', 57),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 5, 'client_tool_called', '1', '{"arguments":{"$sealed":"C4bA6jIYVsRgLtVo41uKG36Dpx07s7424goVfy4wE/rrIaqcZ5e8R45ApcTDcSHaVsj+GNgTHKvdnIY","key":"256984d1-0c6b-4c93-bdf2-5cc1394dc974"},"at":"2025-06-15T15:06:40.123456Z","call_id":"call_7","conversation_id":"01961f2a-0002-7000-8000-0000000000c1","item_id":"01900000-0002-7000-8000-0000000000a1","name":"look_up","owner":"01961f2a-0002-7000-8000-0000000000a1","reply_id":"6b996110-8bac-52f2-a218-e35f518f4bcf","type":"client_tool_called"}', '{"surface":"api"}', '2026-12-01 03:37:02.086168+00', 67),
	('conversation', '01961f2a-0003-7000-8000-0000000000c1', 4, 'reply_failed', '1', '{"at":"2025-06-15T15:06:40.123456Z","attempt":0,"conversation_id":"01961f2a-0003-7000-8000-0000000000c1","message_id":"01961f2a-0003-7000-8000-0000000000e1","owner":"01961f2a-0003-7000-8000-0000000000a1","reason":"deadline","reply_id":"e5bc88aa-3865-5844-b1a0-495be760e722","text":null,"type":"reply_failed"}', '{"surface":"api"}', '2026-12-01 03:37:02.102472+00', 72),
	('conversation', '01961f2a-0004-7000-8000-0000000000c1', 3, 'reply_requested', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0004-7000-8000-0000000000c1","deadline":"2025-06-15T15:09:40.123456Z","message_id":"01961f2a-0004-7000-8000-0000000000e1","model":"gpt-large","owner":"01961f2a-0004-7000-8000-0000000000a1","reply_id":"e5bc88aa-3866-5844-b1a0-495be760e722","type":"reply_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.105637+00', 76),
	('conversation', '01961f2a-0005-7000-8000-0000000000c1', 3, 'reply_requested', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0005-7000-8000-0000000000c1","deadline":"2025-06-15T15:09:40.123456Z","message_id":"01961f2a-0005-7000-8000-0000000000e1","model":"gpt-large","owner":"01961f2a-0005-7000-8000-0000000000a1","reply_id":"e5bc88aa-3867-5844-b1a0-495be760e722","type":"reply_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.110548+00', 81);
INSERT INTO public.events OVERRIDING SYSTEM VALUE VALUES
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 6, 'quiz_finished', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","quiz_id":"01961f2a-0000-7000-8000-0000000000d1","score":1,"total":2,"type":"quiz_finished"}', '{"surface":"api"}', '2026-12-01 03:37:02.113892+00', 87),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 2, 'message_sent', '1', '{"at":"2025-06-15T15:06:40.123456Z","author":"01961f2a-0000-7000-8000-0000000000a1","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","message_id":"01961f2a-0000-7000-8000-0000000000e1","text":{"$sealed":"oakcLetQkipMIfSXR3wvpOg7ZNYygbcmguVnmdm9dBl7/czy3FRkEIrxuAvGFE8/JNPJ0VY8hZcP","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"type":"message_sent"}', '{"surface":"api"}', '2026-12-01 03:37:02.050858+00', 43),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 7, 'conversation_renamed', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","title":{"$erased":true},"type":"conversation_renamed"}', '{"surface":"api"}', '2026-12-01 03:37:02.054681+00', 48),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 12, 'conversation_read', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","message_id":"01961f2a-0000-7000-8000-0000000000d1","message_position":42,"owner":"01961f2a-0000-7000-8000-0000000000a1","type":"conversation_read"}', '{"surface":"api"}', '2026-12-01 03:37:02.057644+00', 53),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 17, 'input_answered', '1', '{"answers":{"$sealed":"I69VM6DfjNfbXKrncEQfMBF/8KLMfpUYreeVHY94bqo82hjnsNJeUA0JRkbYEmNIzHbW7UuDWYb31p8dVpyYeta1ZfWUut46c0t5Xeh4K65c2fyB/QSRB6duITD36VslCYxLTf9OvkVhR1M6gogZmCVmvzdVtQ","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_id":"01900000-0000-7000-8000-0000000000b1","owner":"01961f2a-0000-7000-8000-0000000000a1","skipped":false,"type":"input_answered"}', '{"surface":"api"}', '2026-12-01 03:37:02.072333+00', 58),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 6, 'client_tool_dropped', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0002-7000-8000-0000000000c1","item_id":"01900000-0002-7000-8000-0000000000a1","owner":"01961f2a-0002-7000-8000-0000000000a1","type":"client_tool_dropped"}', '{"surface":"api"}', '2026-12-01 03:37:02.086632+00', 68),
	('conversation', '01961f2a-0003-7000-8000-0000000000c1', 5, 'conversation_rewound', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0003-7000-8000-0000000000c1","message_id":"01900000-0003-7000-8000-000000000001","message_position":42,"owner":"01961f2a-0003-7000-8000-0000000000a1","type":"conversation_rewound"}', '{"surface":"api"}', '2026-12-01 03:37:02.103006+00', 73),
	('conversation', '01961f2a-0004-7000-8000-0000000000c1', 4, 'reply_cancelled', '1', '{"at":"2025-06-15T15:06:40.123456Z","attempt":1,"conversation_id":"01961f2a-0004-7000-8000-0000000000c1","message_id":"01961f2a-0004-7000-8000-0000000000e1","owner":"01961f2a-0004-7000-8000-0000000000a1","reply_id":"e5bc88aa-3866-5844-b1a0-495be760e722","text":{"$sealed":"4xh5Uw+D0JBVoCgB/BgEBUpXRIuwRPUVqDyTBM0fEwSDkpeVHRAzhsk","key":"29dcf8cf-8261-43aa-a955-c200f5525077"},"type":"reply_cancelled"}', '{"surface":"api"}', '2026-12-01 03:37:02.106222+00', 77),
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 1, 'quiz_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","questions":[{"correct":"b","explanation":"Ownership goes to `b`.","hint":"A String owns its text.","id":"rust-moves","options":[{"label":"A copy","value":"a"},{"label":"Moved away ☀","value":"b"}],"prompt":"What is `a` after `let b = a;`, when it is a String?"},{"correct":"a","explanation":null,"hint":null,"id":"rust-plain","options":[{"label":"Yes","value":"a"},{"label":"No","value":"b"}],"prompt":"Is `i32` Copy?"}],"quiz_id":"01961f2a-0000-7000-8000-0000000000d1","topic":"rust","type":"quiz_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.111092+00', 82),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 3, 'reply_requested', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","deadline":"2025-06-15T15:09:40.123456Z","message_id":"01961f2a-0000-7000-8000-0000000000e1","model":"gpt-large","owner":"01961f2a-0000-7000-8000-0000000000a1","reply_id":"e5bc88aa-3862-5844-b1a0-495be760e722","type":"reply_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.051633+00', 44),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 6, 'reply_completed', '1', '{"answer_id":"f4400c10-1a41-5d13-a95c-79deab886917","at":"2025-06-15T15:06:40.123456Z","attempt":2,"conversation_id":"01961f2a-0000-7000-8000-0000000000c1","finish":"stop","message_id":"01961f2a-0000-7000-8000-0000000000e1","model":"gpt-large-2025-05-01","owner":"01961f2a-0000-7000-8000-0000000000a1","provider_reply_id":"resp_123","reply_id":"e5bc88aa-3862-5844-b1a0-495be760e722","text":{"$sealed":"Ww/4+sMqLsJicASNC+ZBuFzAqVuQMZDCrzsduKywlZSEaq48XqFtrNWtPqMzWhEe2P7+biAp1o/NDLw","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"timings":{"first_token_ms":431,"total_ms":1207},"type":"reply_completed","usage":{"completion_tokens":9,"prompt_tokens":812}}', '{"surface":"api"}', '2026-12-01 03:37:02.053854+00', 47),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 10, 'conversation_archived', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"conversation_archived"}', '{"surface":"api"}', '2026-12-01 03:37:02.056515+00', 51),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 14, 'client_tool_called', '1', '{"arguments":{"$sealed":"h/8RUmJocG4O1Uz6Gx+ktlJ8JrYE8vP/327/ebSrva4glo4PeyAOla32f7nk6ESuZqDk1AkCBf1Q/ko","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"at":"2025-06-15T15:06:40.123456Z","call_id":"call_7","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_id":"01900000-0000-7000-8000-0000000000a1","name":"look_up","owner":"01961f2a-0000-7000-8000-0000000000a1","reply_id":"6b996110-8bac-52f2-a218-e35f518f4bcf","type":"client_tool_called"}', '{"surface":"api"}', '2026-12-01 03:37:02.070318+00', 55),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 20, 'branch_begun', '1', '{"at":"2025-06-15T15:06:40.123456Z","branch":2,"conversation_id":"01961f2a-0000-7000-8000-0000000000c1","edited":true,"fork_position":41,"message_id":"01900000-0000-7000-8000-000000000001","messages":4,"owner":"01961f2a-0000-7000-8000-0000000000a1","parent":0,"type":"branch_begun"}', '{"surface":"api"}', '2026-12-01 03:37:02.080579+00', 61),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 3, 'reply_requested', '2', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0002-7000-8000-0000000000c1","deadline":"2025-06-15T15:09:40.123456Z","interactive":true,"message_id":"01961f2a-0002-7000-8000-0000000000e1","model":"gpt-large","owner":"01961f2a-0002-7000-8000-0000000000a1","reply_id":"e5bc88aa-3864-5844-b1a0-495be760e722","type":"reply_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.084792+00', 65),
	('conversation', '01961f2a-0003-7000-8000-0000000000c1', 1, 'conversation_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0003-7000-8000-0000000000c1","owner":"01961f2a-0003-7000-8000-0000000000a1","title":{"$sealed":"1OON5aNA5TbmSpnGoBr2eaR7eFNkCAuy5zs7vYwjbWORAHA8MvpLo1u/4AqD7BOvf50","key":"0b2bec8f-90cc-4274-8122-bad0e51a20b3"},"type":"conversation_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.088202+00', 69),
	('conversation', '01961f2a-0004-7000-8000-0000000000c1', 1, 'conversation_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0004-7000-8000-0000000000c1","owner":"01961f2a-0004-7000-8000-0000000000a1","title":{"$sealed":"usyOtyWQ/yvYcO4TdnhP1SiC5o+CAfCAUBjGgtMGkvVmCkGtUloCZL1Z2liQHQSanxQ","key":"29dcf8cf-8261-43aa-a955-c200f5525077"},"type":"conversation_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.104282+00', 74),
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 4, 'quiz_answer_submitted', '1', '{"at":"2025-06-15T15:06:40.123456Z","attempt":2,"choice":"b","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","correct":true,"owner":"01961f2a-0000-7000-8000-0000000000a1","question_id":"rust-moves","quiz_id":"01961f2a-0000-7000-8000-0000000000d1","type":"quiz_answer_submitted"}', '{"surface":"api"}', '2026-12-01 03:37:02.113119+00', 85),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 4, 'reply_begun', '1', '{"at":"2025-06-15T15:06:40.123456Z","attempt":1,"conversation_id":"01961f2a-0000-7000-8000-0000000000c1","message_id":"01961f2a-0000-7000-8000-0000000000e1","owner":"01961f2a-0000-7000-8000-0000000000a1","plan":{"file_hashes":["sha256:9f86d081884c7d65"],"input_message_ids":["01961f2a-0000-7000-8000-0000000000e1"],"model":"gpt-large","parameters":{"max_output_tokens":1024,"stop":null,"temperature":0.25},"prompt_versions":["system@3"],"provider":"openai","worker":"node-1/worker-3"},"reply_id":"e5bc88aa-3862-5844-b1a0-495be760e722","type":"reply_begun"}', '{"surface":"api"}', '2026-12-01 03:37:02.052498+00', 45),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 9, 'conversation_unpinned', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"conversation_unpinned"}', '{"surface":"api"}', '2026-12-01 03:37:02.055747+00', 50),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 13, 'feedback_given', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_ids":["01900000-0000-7000-8000-0000000000a1"],"owner":"01961f2a-0000-7000-8000-0000000000a1","type":"feedback_given","verdict":"negative"}', '{"surface":"api"}', '2026-12-01 03:37:02.069275+00', 54),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 15, 'client_tool_answered', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_id":"01900000-0000-7000-8000-0000000000a1","output":{"$sealed":"mqK9mMDPAFha8ypULZ4rxye0szUwD2uqUvwZOtAdICHcc2FDe1Bxq2Xtdg","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"owner":"01961f2a-0000-7000-8000-0000000000a1","type":"client_tool_answered"}', '{"surface":"api"}', '2026-12-01 03:37:02.071054+00', 56),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 18, 'widget_shown', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","copy_text":{"$sealed":"or5UHt32sA35zW4fWHbHEwS9lk0UfJKYsFTNaJJQMZYr+/Q","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"item_id":"01900000-0000-7000-8000-0000000000b2","owner":"01961f2a-0000-7000-8000-0000000000a1","reply_id":"6b996110-8bac-52f2-a218-e35f518f4bcf","type":"widget_shown","widget":{"$sealed":"5PmbYu3OEzheGod0PwYGB/1qU67mYI4khXzLiRfHpzC2YngT2GDKPlIdjlUaLQHVu9hKDsa2ApNcis+DkSMiyhH2JN0yMMAQeJiryi5WDhH64a3tVGqaTw","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"}}', '{"surface":"api"}', '2026-12-01 03:37:02.078919+00', 59),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 19, 'note_added', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","item_id":"01900000-0000-7000-8000-0000000000b3","note":{"$sealed":"h+7/hHFw+qRz+pnGDPD3HUWgVQMH/3oGFCBnDutVHq318nkvGb5Q59anlME4zZQvirldVUd7WIjpMSoA","key":"4ed19aaf-4bb9-4d92-97d3-4745a0b6d9f6"},"owner":"01961f2a-0000-7000-8000-0000000000a1","type":"note_added"}', '{"surface":"api"}', '2026-12-01 03:37:02.080008+00', 60),
	('conversation', '01961f2a-0000-7000-8000-0000000000c1', 21, 'branch_switched', '1', '{"at":"2025-06-15T15:06:40.123456Z","branch":1,"conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","type":"branch_switched"}', '{"surface":"api"}', '2026-12-01 03:37:02.08114+00', 62),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 1, 'conversation_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0002-7000-8000-0000000000c1","owner":"01961f2a-0002-7000-8000-0000000000a1","title":{"$sealed":"jI8Ec/L3sL4cL0Ok8teh1h8iBK1TqR1DW5Z2q2tJyLTFn5Iorgjx/mfZQc0hEmSSUng","key":"256984d1-0c6b-4c93-bdf2-5cc1394dc974"},"type":"conversation_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.082577+00', 63),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 2, 'message_sent', '2', '{"at":"2025-06-15T15:06:40.123456Z","author":"01961f2a-0002-7000-8000-0000000000a1","conversation_id":"01961f2a-0002-7000-8000-0000000000c1","enclosed":{"composed":{"$sealed":"PY7uU0rFDtmLsSJlPT5YO2eQabJg3+6ndztx/1DGamOhbn3HyDHcaJpNWgVVzINKIPFLOEnbQxARA/qH4ILRQY3iCfceHYM6oMw4dMKUYzMof5U6qfKSzNwfVv2PX3f6cFzugYCg5XP5Pv/irvzRryEQkI+AYF0Jkk8Gupj8hYXggcZjAulsSuwjsiOVBzZTwetAnl0+cCN0YZGs4U/U8fj/G6RXPkjfG677zgQMwA2VxQ2EieUbiHoQaSCwxHeaxXeyzJfxa40Md+wrmyY","key":"256984d1-0c6b-4c93-bdf2-5cc1394dc974"},"files":["01900000-0002-7000-8000-0000000000f1"],"tool_choice":"search"},"message_id":"01961f2a-0002-7000-8000-0000000000e1","text":{"$sealed":"RkrxvYvWkI9xYE/Xj4kp3es5bPqhkLrsbR2hQ1zmUXK31FC7LfbNYLlskEAt1DqG713lKPJ6+dsJ","key":"256984d1-0c6b-4c93-bdf2-5cc1394dc974"},"type":"message_sent"}', '{"surface":"api"}', '2026-12-01 03:37:02.084205+00', 64),
	('conversation', '01961f2a-0002-7000-8000-0000000000c1', 4, 'reply_completed', '2', '{"answer_id":"f4400c10-1a43-5d13-a95c-79deab886917","at":"2025-06-15T15:06:40.123456Z","attempt":2,"conversation_id":"01961f2a-0002-7000-8000-0000000000c1","finish":"stop","items":["01900000-0002-7000-8000-0000000000a1"],"message_id":"01961f2a-0002-7000-8000-0000000000e1","model":"gpt-large-2025-05-01","owner":"01961f2a-0002-7000-8000-0000000000a1","provider_reply_id":"resp_123","reply_id":"e5bc88aa-3864-5844-b1a0-495be760e722","text":{"$sealed":"LhIou0UUTZiUc+yk2rB13Z84gxhFHdifLdgjDWlyiDQG35ZEGi94a0zWiureRy3tlU7JVMt7nZOQwE8","key":"256984d1-0c6b-4c93-bdf2-5cc1394dc974"},"timings":{"first_token_ms":431,"total_ms":1207},"type":"reply_completed","usage":{"completion_tokens":9,"prompt_tokens":812}}', '{"surface":"api"}', '2026-12-01 03:37:02.085556+00', 66),
	('conversation', '01961f2a-0003-7000-8000-0000000000c1', 2, 'message_sent', '1', '{"at":"2025-06-15T15:06:40.123456Z","author":"01961f2a-0003-7000-8000-0000000000a1","conversation_id":"01961f2a-0003-7000-8000-0000000000c1","message_id":"01961f2a-0003-7000-8000-0000000000e1","text":{"$sealed":"XHWkcI1MK1f0iNk+CCcC0+hku01sL9+6XtEdjBEtZuPe8IQF201NpSyHJwLaWl23gx42SsOvLqbi","key":"0b2bec8f-90cc-4274-8122-bad0e51a20b3"},"type":"message_sent"}', '{"surface":"api"}', '2026-12-01 03:37:02.10118+00', 70),
	('conversation', '01961f2a-0003-7000-8000-0000000000c1', 3, 'reply_requested', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0003-7000-8000-0000000000c1","deadline":"2025-06-15T15:09:40.123456Z","message_id":"01961f2a-0003-7000-8000-0000000000e1","model":"gpt-large","owner":"01961f2a-0003-7000-8000-0000000000a1","reply_id":"e5bc88aa-3865-5844-b1a0-495be760e722","type":"reply_requested"}', '{"surface":"api"}', '2026-12-01 03:37:02.101946+00', 71),
	('conversation', '01961f2a-0004-7000-8000-0000000000c1', 2, 'message_sent', '1', '{"at":"2025-06-15T15:06:40.123456Z","author":"01961f2a-0004-7000-8000-0000000000a1","conversation_id":"01961f2a-0004-7000-8000-0000000000c1","message_id":"01961f2a-0004-7000-8000-0000000000e1","text":{"$sealed":"JQmC0lvAyllMWSXHY96HvGunLPeP41CBl9S/GuoPACPWfrPcBzdjm5lfuGM8wXNsuZKNIZ9KC/D2","key":"29dcf8cf-8261-43aa-a955-c200f5525077"},"type":"message_sent"}', '{"surface":"api"}', '2026-12-01 03:37:02.105159+00', 75),
	('conversation', '01961f2a-0004-7000-8000-0000000000c1', 5, 'conversation_deleted', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0004-7000-8000-0000000000c1","owner":"01961f2a-0004-7000-8000-0000000000a1","type":"conversation_deleted"}', '{"surface":"api"}', '2026-12-01 03:37:02.106849+00', 78),
	('conversation', '01961f2a-0005-7000-8000-0000000000c1', 1, 'conversation_started', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0005-7000-8000-0000000000c1","owner":"01961f2a-0005-7000-8000-0000000000a1","title":{"$sealed":"PTbikUxQ8pIlfGO2vijV+EjLSEOX0wK7brlFQitTRFUORk7JJMmhE9Xzjvk39M8CAbI","key":"c0d5b0aa-84a4-4432-b47e-4dbc812e09ca"},"type":"conversation_started"}', '{"surface":"api"}', '2026-12-01 03:37:02.108774+00', 79),
	('conversation', '01961f2a-0005-7000-8000-0000000000c1', 2, 'message_sent', '1', '{"at":"2025-06-15T15:06:40.123456Z","author":"01961f2a-0005-7000-8000-0000000000a1","conversation_id":"01961f2a-0005-7000-8000-0000000000c1","message_id":"01961f2a-0005-7000-8000-0000000000e1","text":{"$sealed":"U2wSgCS5jqPNeWxpvuDwSCVgurI8YXUFZrUMY7HvpPQIA7zlJIXqjk291TqpQkjCsl4PMQ37CeYh","key":"c0d5b0aa-84a4-4432-b47e-4dbc812e09ca"},"type":"message_sent"}', '{"surface":"api"}', '2026-12-01 03:37:02.109927+00', 80),
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 5, 'quiz_moved_on', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","question_id":"rust-plain","quiz_id":"01961f2a-0000-7000-8000-0000000000d1","type":"quiz_moved_on"}', '{"surface":"api"}', '2026-12-01 03:37:02.113516+00', 86),
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 2, 'quiz_choice_selected', '1', '{"at":"2025-06-15T15:06:40.123456Z","choice":"a","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","question_id":"rust-moves","quiz_id":"01961f2a-0000-7000-8000-0000000000d1","type":"quiz_choice_selected"}', '{"surface":"api"}', '2026-12-01 03:37:02.111697+00', 83),
	('quiz', '01961f2a-0000-7000-8000-0000000000d1', 3, 'quiz_choice_cleared', '1', '{"at":"2025-06-15T15:06:40.123456Z","conversation_id":"01961f2a-0000-7000-8000-0000000000c1","owner":"01961f2a-0000-7000-8000-0000000000a1","question_id":"rust-moves","quiz_id":"01961f2a-0000-7000-8000-0000000000d1","type":"quiz_choice_cleared"}', '{"surface":"api"}', '2026-12-01 03:37:02.112561+00', 84),
	('conversation', '01961f2a-0005-7000-8000-0000000000c1', 4, 'reply_begun', '1', '{"type":"reply_begun","conversation_id":"01961f2a-0005-7000-8000-0000000000c1","message_id":"01961f2a-0005-7000-8000-0000000000e1","reply_id":"e5bc88aa-3867-5844-b1a0-495be760e722","owner":"01961f2a-0005-7000-8000-0000000000a1","attempt":1,"plan":{"worker":"node-1/worker-3","provider":"openai","model":"gpt-large","parameters":{"temperature":0.25,"max_output_tokens":1024,"stop":null},"prompt_versions":["system@3"],"input_message_ids":["01961f2a-0005-7000-8000-0000000000e1"],"file_hashes":["sha256:9f86d081884c7d65"]},"at":"2025-06-15T15:06:40.123456Z"}', '{"surface":"api"}', '2026-12-01 03:41:37.95357+00', 88);
INSERT INTO public.files VALUES
	('01961f2a-0000-7000-8000-0000000000d1', '01961f2a-0000-7000-8000-0000000000a1', 'stored', 'tide table.png', 'image/png', 48213, '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', 1280, 720, '01961f2a-0000-7000-8000-0000000000c1', '2025-06-15 15:06:40.123456+00', 38),
	('01961f2a-0001-7000-8000-0000000000d1', '01961f2a-0001-7000-8000-0000000000a1', 'deleted', NULL, 'image/png', 48213, '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', 1280, 720, NULL, '2025-06-15 15:06:40.123456+00', 41);
INSERT INTO public.items VALUES
	('01a22fad-4a5f-7620-a842-711e8a876dd2', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 27, 'quiz', 'shown', NULL, '{}', NULL, '2026-12-01 03:36:55.647467+00', NULL, 2, false),
	('01900000-0002-7000-8000-0000000000a1', '01961f2a-0002-7000-8000-0000000000c1', 67, 'client_tool_call', 'dropped', '6b996110-8bac-52f2-a218-e35f518f4bcf', '{"name": "look_up", "call_id": "call_7", "arguments": {"limit": null, "place": "garden"}}', NULL, '2025-06-15 15:06:40.123456+00', 68, 0, false),
	('01900000-0000-7000-8000-0000000000a1', '01961f2a-0000-7000-8000-0000000000c1', 55, 'client_tool_call', 'answered', '6b996110-8bac-52f2-a218-e35f518f4bcf', '{"name": "look_up", "output": {"found": [1, 2]}, "call_id": "call_7", "arguments": {"limit": null, "place": "garden"}}', NULL, '2025-06-15 15:06:40.123456+00', 56, 0, true),
	('01900000-0000-7000-8000-0000000000b1', '01961f2a-0000-7000-8000-0000000000c1', 57, 'structured_input', 'answered', '6b996110-8bac-52f2-a218-e35f518f4bcf', '{"answers": [{"id": "colour", "values": ["red"], "skipped": false}, {"id": "why", "values": [], "skipped": true}], "questions": [{"id": "colour", "form": {"kind": "choice", "options": ["red", "green"], "multiple": false}, "question": "Which colour?"}, {"id": "why", "form": {"kind": "freeform", "description": "In a few words"}, "question": "Why?"}]}', NULL, '2025-06-15 15:06:40.123456+00', 58, 0, true),
	('01900000-0000-7000-8000-0000000000b2', '01961f2a-0000-7000-8000-0000000000c1', 59, 'widget', 'shown', '6b996110-8bac-52f2-a218-e35f518f4bcf', '{"widget": {"type": "Card", "children": [{"type": "Text", "value": "Saved"}]}, "copy_text": "Saved"}', NULL, '2025-06-15 15:06:40.123456+00', NULL, 0, true),
	('01900000-0000-7000-8000-0000000000b3', '01961f2a-0000-7000-8000-0000000000c1', 60, 'note', 'shown', NULL, '{"note": "The person stopped the answer."}', NULL, '2025-06-15 15:06:40.123456+00', NULL, 0, true),
	('01961f2a-0000-7000-8000-0000000000d1', '01961f2a-0000-7000-8000-0000000000c1', 82, 'quiz', 'shown', NULL, '{}', NULL, '2025-06-15 15:06:40.123456+00', NULL, 1, true);
INSERT INTO public.logins VALUES
	('01a22fad-311e-712d-b3ee-da772bd207b0', '01a22fad-311e-712d-b3ee-da763ac221dc', '2026-12-01 03:36:49.210467+00', '2026-12-01 03:36:49.210467+00', '2026-12-08 03:36:49.210467+00', '2026-12-31 03:36:49.210467+00', NULL, NULL, '\xd89c278c8cdd92ba72143be8f9e625aa666fa7605414c018bf5b6f851206536f', NULL, 'curl'),
	('01a22fad-3180-77c4-aeac-53634ace06ed', '01a22fad-3180-77c4-aeac-53625c3a51e9', '2026-12-01 03:36:49.285098+00', '2026-12-01 03:36:55.489887+00', '2026-12-08 03:36:55.489887+00', '2026-12-31 03:36:49.285098+00', NULL, NULL, '\xa1d662bef17ed1eea6de43deb1ace278ffbeaaee9a1a1040a997ab0a0c5a82aa', '\xc701fa8ad0a1db42485400ce883c49c1c34443772cb9d9ee92b396cc53edcfea', 'curl'),
	('01a22fad-4a24-7693-8d1d-3332cbb2c081', '01a22fad-311e-712d-b3ee-da763ac221dc', '2026-12-01 03:36:55.589575+00', '2026-12-01 03:36:55.589575+00', '2026-12-08 03:36:55.589575+00', '2026-12-31 03:36:55.589575+00', NULL, NULL, '\x4f900cc85b24bcefa746a2693a502ed1dac9b4c75306d87d88b9c9e199bc8e1e', NULL, 'curl');
INSERT INTO public.mails VALUES
	('ecb502bd-f05d-4b28-bfa7-d67858d586a6', 'password_changed', 'ac5fc687-3630-480e-95c9-93fc0dfdf642', NULL, 2, '2026-12-01 03:38:21.15393+00', 0, '2036-01-01 00:00:00+00'),
	('b5f1b66a-2518-4406-9412-476493a44ace', 'password_reset', NULL, 'email:0badc0de', NULL, '2026-12-01 03:38:21.154339+00', 0, '2036-01-01 00:00:00+00');
INSERT INTO public.messages VALUES
	('dfe0d72b-61a4-51c8-a087-4b248a29f104', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 11, 'assistant', 'complete', 'Built-in scripted provider, no AI. You said: "Good morning" Turns seen: 1 (1 from you, 0 from me); words of instructions: 5.', 'ed9e030f-4903-53ed-b99d-49f5142cf0e0', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 'scripted-echo-1', '2026-12-01 03:36:50.288042+00', NULL, NULL, NULL, NULL, NULL, 0, true),
	('01a22fad-3692-7352-936d-3e1edd1c9044', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 12, 'user', 'complete', 'And then?', '0db379cc-a47c-5fdf-a50f-b64b40f5ec89', NULL, NULL, '2026-12-01 03:36:50.578462+00', NULL, NULL, NULL, NULL, NULL, 0, true),
	('ebba2a82-b65f-58a1-995e-22058c9b2256', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 15, 'assistant', 'complete', 'Built-in scripted provider, no AI. You said: "And then?" Turns seen: 3 (2 from you, 1 from me); words of instructions: 5.', '0db379cc-a47c-5fdf-a50f-b64b40f5ec89', '01a22fad-3692-7352-936d-3e1edd1c9044', 'scripted-echo-1', '2026-12-01 03:36:51.120228+00', NULL, NULL, NULL, NULL, NULL, 0, true),
	('01a22fad-436f-71f2-b33e-a9ff8088a411', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 21, 'user', 'complete', 'Good evening', 'd34b39f1-1891-5821-8f0e-54a9159a6ced', NULL, NULL, '2026-12-01 03:36:53.871876+00', NULL, NULL, NULL, NULL, NULL, 2, false),
	('21c5dc7d-aafa-59d4-a421-35470dc8945a', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 19, 'assistant', 'complete', 'Built-in scripted provider, no AI. You said: "Good morning" Turns seen: 1 (1 from you, 0 from me); words of instructions: 5.', '7fa7f3c0-ead4-5930-a40f-ccea783c59dc', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 'scripted-echo-1', '2026-12-01 03:36:52.843325+00', NULL, NULL, NULL, NULL, NULL, 1, true),
	('01a22fad-31f4-719f-b4a1-55f74dfccb5a', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 8, 'user', 'complete', 'Good morning', 'ed9e030f-4903-53ed-b99d-49f5142cf0e0', NULL, NULL, '2026-12-01 03:36:49.396408+00', NULL, NULL, NULL, NULL, NULL, 0, true),
	('5f510cd1-206d-5791-a03c-8ae5fc1c3018', '01a22fad-31f4-719f-b4a1-55f8b7600ace', 24, 'assistant', 'complete', 'Built-in scripted provider, no AI. You said: "Good evening" Turns seen: 1 (1 from you, 0 from me); words of instructions: 5.', 'd34b39f1-1891-5821-8f0e-54a9159a6ced', '01a22fad-436f-71f2-b33e-a9ff8088a411', 'scripted-echo-1', '2026-12-01 03:36:54.418101+00', NULL, NULL, NULL, NULL, NULL, 2, false),
	('71cbdd1f-e3da-5956-bfa4-930cfabf2cde', '01961f2a-0002-7000-8000-0000000000c1', 66, 'assistant', 'complete', 'In May, after the last frost.', 'e5bc88aa-3864-5844-b1a0-495be760e722', '01961f2a-0002-7000-8000-0000000000e1', 'gpt-large-2025-05-01', '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, NULL, NULL, 0, false),
	('01961f2a-0000-7000-8000-0000000000e1', '01961f2a-0000-7000-8000-0000000000c1', 43, 'user', 'complete', 'When shall I sow beans? ☀', 'e5bc88aa-3862-5844-b1a0-495be760e722', NULL, NULL, '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, 'gpt-large', NULL, 0, true),
	('f4400c10-1a41-5d13-a95c-79deab886917', '01961f2a-0000-7000-8000-0000000000c1', 47, 'assistant', 'complete', 'In May, after the last frost.', 'e5bc88aa-3862-5844-b1a0-495be760e722', '01961f2a-0000-7000-8000-0000000000e1', 'gpt-large-2025-05-01', '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, NULL, NULL, 0, true),
	('01961f2a-0003-7000-8000-0000000000e1', '01961f2a-0003-7000-8000-0000000000c1', 70, 'user', 'complete', 'When shall I sow beans? ☀', 'e5bc88aa-3865-5844-b1a0-495be760e722', NULL, NULL, '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, 'gpt-large', NULL, 0, true),
	('01961f2a-0002-7000-8000-0000000000e1', '01961f2a-0002-7000-8000-0000000000c1', 64, 'user', 'complete', 'When shall I sow beans? ☀', 'e5bc88aa-3864-5844-b1a0-495be760e722', NULL, NULL, '2025-06-15 15:06:40.123456+00', '["01900000-0002-7000-8000-0000000000f1"]', '{"parts": [{"kind": "text", "text": "Look at "}, {"id": "doc-1", "data": {"page": null}, "kind": "mention", "text": "the plan", "group": "Documents", "interactive": true}], "quoted": "as you said"}', 'search', 'gpt-large', NULL, 0, false),
	('01961f2a-0005-7000-8000-0000000000e1', '01961f2a-0005-7000-8000-0000000000c1', 80, 'user', 'complete', 'When shall I sow beans? ☀', 'e5bc88aa-3867-5844-b1a0-495be760e722', NULL, NULL, '2025-06-15 15:06:40.123456+00', NULL, NULL, NULL, 'gpt-large', NULL, 0, false);
INSERT INTO public.parked_messages VALUES
	('verbatim-events', 7, 'verbatim.events.reply_requested', 'unreadable', 3, '2026-11-30 12:00:00+00', true);
INSERT INTO public.password_resets VALUES
	('\x7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed', '3e9c18d8-e03f-4682-82a1-8caecdd00042', NULL, '2026-11-30 12:00:00+00', '2026-11-30 13:00:00+00', '2026-11-30 12:30:00+00'),
	('\x3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3', '0f308292-746a-4a74-9fa9-7f8dd0bab3ba', '7e4dd321-68a4-48de-9e85-1709044a7074', '2026-11-30 12:00:00+00', '2026-11-30 13:00:00+00', NULL);
INSERT INTO public.pending_replies VALUES
	('e5bc88aa-3867-5844-b1a0-495be760e722', '01961f2a-0005-7000-8000-0000000000c1', '01961f2a-0005-7000-8000-0000000000a1', '01961f2a-0005-7000-8000-0000000000e1', 81, 'gpt-large', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:09:40.123456+00', 1, NULL, false);
INSERT INTO public.refresh_tokens VALUES
	('\xd89c278c8cdd92ba72143be8f9e625aa666fa7605414c018bf5b6f851206536f', '01a22fad-311e-712d-b3ee-da772bd207b0'),
	('\xc701fa8ad0a1db42485400ce883c49c1c34443772cb9d9ee92b396cc53edcfea', '01a22fad-3180-77c4-aeac-53634ace06ed'),
	('\xa1d662bef17ed1eea6de43deb1ace278ffbeaaee9a1a1040a997ab0a0c5a82aa', '01a22fad-3180-77c4-aeac-53634ace06ed'),
	('\x4f900cc85b24bcefa746a2693a502ed1dac9b4c75306d87d88b9c9e199bc8e1e', '01a22fad-4a24-7693-8d1d-3332cbb2c081');
INSERT INTO public.relays VALUES
	('events', 'f9b7f2db-fc93-4d05-bf5b-ccf75f018e63', '2026-11-30 12:00:00+00', 'then', 5, 40, '2026-11-30 12:00:00+00', 1);
INSERT INTO public.replies VALUES
	('ed9e030f-4903-53ed-b99d-49f5142cf0e0', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', 'dfe0d72b-61a4-51c8-a087-4b248a29f104', 'completed', NULL, 'scripted-echo-1', '[{"plan": {"model": "scripted-echo-1", "worker": "0.1.0-01a22fad-2532-71ba-9089-ea24d108932b", "provider": "scripted", "parameters": {"context": {"cut": 0, "files": {"cut": 0, "named": 0, "whole": 0}, "turns": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a"], "budget": 16000, "factor": 125, "policy": "context-3", "tokens": {"all": 22, "files": 0, "tools": 0, "turns": 7, "system": 15}, "left_out": {"older": false, "erased": 0, "over_limit": 0, "over_budget": 0}, "vocabulary": "o200k_base"}, "words_per_second": 40, "max_output_tokens": 500}, "file_hashes": [], "prompt_versions": ["context-3"], "input_message_ids": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a"]}, "attempt": 1, "begun_at": "2026-12-01T03:36:49.759374Z", "completed_at": "2026-12-01T03:36:50.288042Z"}]', 'stop', NULL, '{"prompt_tokens": 7, "completion_tokens": 22}', '{"total_ms": 525, "first_token_ms": 1}', 'scripted-ed9e030f-4903-53ed-b99d-49f5142cf0e0-1', '2026-12-01 03:36:49.396408+00', '2026-12-01 03:36:50.288042+00', 11, '[]'),
	('0db379cc-a47c-5fdf-a50f-b64b40f5ec89', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', '01a22fad-3692-7352-936d-3e1edd1c9044', 'ebba2a82-b65f-58a1-995e-22058c9b2256', 'completed', NULL, 'scripted-echo-1', '[{"plan": {"model": "scripted-echo-1", "worker": "0.1.0-01a22fad-2532-71ba-9089-ea24d108932b", "provider": "scripted", "parameters": {"context": {"cut": 0, "files": {"cut": 0, "named": 0, "whole": 0}, "turns": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a", "01a22fad-3692-7352-936d-3e1edd1c9044"], "budget": 16000, "factor": 125, "policy": "context-3", "tokens": {"all": 81, "files": 0, "tools": 0, "turns": 66, "system": 15}, "left_out": {"older": false, "erased": 0, "over_limit": 0, "over_budget": 0}, "vocabulary": "o200k_base"}, "words_per_second": 40, "max_output_tokens": 500}, "file_hashes": [], "prompt_versions": ["context-3"], "input_message_ids": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a", "dfe0d72b-61a4-51c8-a087-4b248a29f104", "01a22fad-3692-7352-936d-3e1edd1c9044"]}, "attempt": 1, "begun_at": "2026-12-01T03:36:50.587505Z", "completed_at": "2026-12-01T03:36:51.120228Z"}]', 'stop', NULL, '{"prompt_tokens": 31, "completion_tokens": 22}', '{"total_ms": 526, "first_token_ms": 1}', 'scripted-0db379cc-a47c-5fdf-a50f-b64b40f5ec89-1', '2026-12-01 03:36:50.578462+00', '2026-12-01 03:36:51.120228+00', 15, '[]'),
	('d34b39f1-1891-5821-8f0e-54a9159a6ced', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', '01a22fad-436f-71f2-b33e-a9ff8088a411', '5f510cd1-206d-5791-a03c-8ae5fc1c3018', 'completed', NULL, 'scripted-echo-1', '[{"plan": {"model": "scripted-echo-1", "worker": "0.1.0-01a22fad-2532-71ba-9089-ea24d108932b", "provider": "scripted", "parameters": {"context": {"cut": 0, "files": {"cut": 0, "named": 0, "whole": 0}, "turns": ["01a22fad-436f-71f2-b33e-a9ff8088a411"], "budget": 16000, "factor": 125, "policy": "context-3", "tokens": {"all": 22, "files": 0, "tools": 0, "turns": 7, "system": 15}, "left_out": {"older": false, "erased": 0, "over_limit": 0, "over_budget": 0}, "vocabulary": "o200k_base"}, "words_per_second": 40, "max_output_tokens": 500}, "file_hashes": [], "prompt_versions": ["context-3"], "input_message_ids": ["01a22fad-436f-71f2-b33e-a9ff8088a411"]}, "attempt": 1, "begun_at": "2026-12-01T03:36:53.889468Z", "completed_at": "2026-12-01T03:36:54.418101Z"}]', 'stop', NULL, '{"prompt_tokens": 7, "completion_tokens": 22}', '{"total_ms": 525, "first_token_ms": 0}', 'scripted-d34b39f1-1891-5821-8f0e-54a9159a6ced-1', '2026-12-01 03:36:53.871876+00', '2026-12-01 03:36:54.418101+00', 24, '[]'),
	('7fa7f3c0-ead4-5930-a40f-ccea783c59dc', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', '01a22fad-31f4-719f-b4a1-55f74dfccb5a', '21c5dc7d-aafa-59d4-a421-35470dc8945a', 'completed', NULL, 'scripted-echo-1', '[{"plan": {"model": "scripted-echo-1", "worker": "0.1.0-01a22fad-2532-71ba-9089-ea24d108932b", "provider": "scripted", "parameters": {"context": {"cut": 0, "files": {"cut": 0, "named": 0, "whole": 0}, "turns": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a"], "budget": 16000, "factor": 125, "policy": "context-3", "tokens": {"all": 22, "files": 0, "tools": 0, "turns": 7, "system": 15}, "left_out": {"older": false, "erased": 0, "over_limit": 0, "over_budget": 0}, "vocabulary": "o200k_base"}, "words_per_second": 40, "max_output_tokens": 500}, "file_hashes": [], "prompt_versions": ["context-3"], "input_message_ids": ["01a22fad-31f4-719f-b4a1-55f74dfccb5a"]}, "attempt": 1, "begun_at": "2026-12-01T03:36:52.314290Z", "completed_at": "2026-12-01T03:36:52.843325Z"}]', 'stop', NULL, '{"prompt_tokens": 7, "completion_tokens": 22}', '{"total_ms": 526, "first_token_ms": 0}', 'scripted-7fa7f3c0-ead4-5930-a40f-ccea783c59dc-1', '2026-12-01 03:36:52.293373+00', '2026-12-01 03:36:52.843325+00', 19, '[]'),
	('e5bc88aa-3862-5844-b1a0-495be760e722', '01961f2a-0000-7000-8000-0000000000c1', '01961f2a-0000-7000-8000-0000000000a1', '01961f2a-0000-7000-8000-0000000000e1', 'f4400c10-1a41-5d13-a95c-79deab886917', 'completed', 'gpt-large', 'gpt-large-2025-05-01', '[{"plan": {"model": "gpt-large", "worker": "node-1/worker-3", "provider": "openai", "parameters": {"stop": null, "temperature": 0.25, "max_output_tokens": 1024}, "file_hashes": ["sha256:9f86d081884c7d65"], "prompt_versions": ["system@3"], "input_message_ids": ["01961f2a-0000-7000-8000-0000000000e1"]}, "attempt": 1, "failure": "rate_limited", "begun_at": "2025-06-15T15:06:40.123456Z", "failed_at": "2025-06-15T15:06:40.123456Z", "next_not_before": "2025-06-15T15:06:45Z"}]', 'stop', NULL, '{"prompt_tokens": 812, "completion_tokens": 9}', '{"total_ms": 1207, "first_token_ms": 431}', 'resp_123', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', 47, '[]'),
	('e5bc88aa-3864-5844-b1a0-495be760e722', '01961f2a-0002-7000-8000-0000000000c1', '01961f2a-0002-7000-8000-0000000000a1', '01961f2a-0002-7000-8000-0000000000e1', '71cbdd1f-e3da-5956-bfa4-930cfabf2cde', 'completed', 'gpt-large', 'gpt-large-2025-05-01', '[]', 'stop', NULL, '{"prompt_tokens": 812, "completion_tokens": 9}', '{"total_ms": 1207, "first_token_ms": 431}', 'resp_123', '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', 66, '["01900000-0002-7000-8000-0000000000a1"]'),
	('e5bc88aa-3865-5844-b1a0-495be760e722', '01961f2a-0003-7000-8000-0000000000c1', '01961f2a-0003-7000-8000-0000000000a1', '01961f2a-0003-7000-8000-0000000000e1', 'dfc074ac-f64e-5fa9-8328-53b2eb3d8b01', 'failed', 'gpt-large', NULL, '[]', NULL, 'deadline', NULL, NULL, NULL, '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', 72, '[]'),
	('e5bc88aa-3867-5844-b1a0-495be760e722', '01961f2a-0005-7000-8000-0000000000c1', '01961f2a-0005-7000-8000-0000000000a1', '01961f2a-0005-7000-8000-0000000000e1', '08f16e6f-15d9-5792-9679-df6a265e6b33', 'begun', 'gpt-large', NULL, '[{"plan": {"model": "gpt-large", "worker": "node-1/worker-3", "provider": "openai", "parameters": {"stop": null, "temperature": 0.25, "max_output_tokens": 1024}, "file_hashes": ["sha256:9f86d081884c7d65"], "prompt_versions": ["system@3"], "input_message_ids": ["01961f2a-0005-7000-8000-0000000000e1"]}, "attempt": 1, "begun_at": "2025-06-15T15:06:40.123456Z"}]', NULL, NULL, NULL, NULL, NULL, '2025-06-15 15:06:40.123456+00', NULL, 88, '[]');
INSERT INTO public.reply_leases VALUES
	('5d8f29b8-47dd-4999-a9ce-a76b1b602156', '68997638-83d4-4dce-a121-4c233e419d2a', '2026-11-30 12:00:00+00');
INSERT INTO public.sign_in_failures VALUES
	('username:ccb86a8a0855e2f33c7332b6ef495f7693810c4b7d07be30c17f4c1f0a9d6621', 1, '2026-12-01 03:36:55.633244+00', 0, NULL, '2026-12-01 03:51:55.633436+00'),
	('proof:nobody', 3, '2026-11-30 12:00:00+00', 1, '2026-11-30 12:01:00+00', '2026-11-30 13:00:00+00');
INSERT INTO public.tickets VALUES
	('\xc3e29340d3a69b30ead0f2d6346388862b3f46a5c8b3f5d038730a315669effb', '01a22fad-311e-712d-b3ee-da763ac221dc', '01a22fad-311e-712d-b3ee-da772bd207b0', '2026-12-01 04:01:49+00', '2026-12-01 03:37:25.472686+00');
INSERT INTO public.usage_begun VALUES
	('e5bc88aa-3867-5844-b1a0-495be760e722', NULL, NULL);
INSERT INTO public.usage_days VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', '2026-12-01', 4),
	('01961f2a-0000-7000-8000-0000000000a1', '2025-06-15', 1),
	('01961f2a-0002-7000-8000-0000000000a1', '2025-06-15', 1),
	('01961f2a-0003-7000-8000-0000000000a1', '2025-06-15', 1),
	('01961f2a-0004-7000-8000-0000000000a1', '2025-06-15', 1),
	('01961f2a-0005-7000-8000-0000000000a1', '2025-06-15', 1);
INSERT INTO public.usage_models VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', '2026-12-01', 'scripted-echo-1', 4, 52, 88, NULL),
	('01961f2a-0000-7000-8000-0000000000a1', '2025-06-15', 'gpt-large-2025-05-01', 1, 812, 9, NULL),
	('01961f2a-0002-7000-8000-0000000000a1', '2025-06-15', 'gpt-large-2025-05-01', 1, 812, 9, NULL);
INSERT INTO public.user_keys VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', 'ac8bf3109281', '\xe1a620e11ab082ca59893ec44d57153b1fba2cfecf79b63f8a03c7ace12140088c26cb1eabd37bed5a143bec2125921c7b5af8d74f5829b98a5f85e8'),
	('01a22fad-3180-77c4-aeac-53625c3a51e9', 'ac8bf3109281', '\x50c386453f1ba0e5039667038a207e4eefca08d6c49f80ee997bf121233efc58329992fbb720ec068fdc9e26591568c47cc807e18baefafe18eaa38f'),
	('01961f2a-0000-7000-8000-0000000000a1', 'ac8bf3109281', '\x7dacb39c12e092b9ef7bf432b39b758378d63e3a3372dbd836458abaa04ccd3fbde6d63229e3a90a738878153af47eb457dcdbc24770150c71502473'),
	('01961f2a-0001-7000-8000-0000000000a1', 'ac8bf3109281', '\xb932254003817861f02b047c39eef1a2ebc99679fe1323fdeeea651080ec6b2d1489bb7558212c18057c6dbfd64af95d67fb9d5dbd5cf3ae56674e82'),
	('01961f2a-0002-7000-8000-0000000000a1', 'ac8bf3109281', '\x46ec89f13cba8e71f9ed86e47ddd3154dcfb9b3d0a9185b812b50c68e0ea74ec35dfd18a72229f9d4fbef689eba2bfa7bd97b528456c5e1c000c692d'),
	('01961f2a-0003-7000-8000-0000000000a1', 'ac8bf3109281', '\x5c1052cd3a94dbbcef27b0666c3622fe3b4f8bc38598836915c4e022896deb3b78ed525013bf6755fae9427dd70b8f93e762ac54b741e9875a03f54d'),
	('01961f2a-0004-7000-8000-0000000000a1', 'ac8bf3109281', '\x4eebd38993285d4e70be9cd091c27e12cb46131b69e87140c96135e0a348b98adbfb8f8d542a80931129242bd23b0c1894f91c3f0c416905f36f5254'),
	('01961f2a-0005-7000-8000-0000000000a1', 'ac8bf3109281', '\xaa6b9f3416416f9b42e147e6dd04f4c9e5fd0d6e0f8c055d804031923ffd6027ce28f8e5573b83902740af07b86d16e4037f956b8dff3e72f806c36e');
INSERT INTO public.users VALUES
	('01a22fad-311e-712d-b3ee-da763ac221dc', 'ada@example.org', 'ada', true, '2026-12-01 03:36:49.181996+00', NULL, 'user'),
	('01a22fad-3180-77c4-aeac-53625c3a51e9', 'grace@example.org', 'grace', true, '2026-12-01 03:36:49.280421+00', NULL, 'user'),
	('01961f2a-0000-7000-8000-0000000000a1', 'Ada.L@example.org', 'ada_l', false, '2025-06-15 15:06:40.123456+00', '2025-06-15 15:06:40.123456+00', 'auditor');
INSERT INTO public.widget_state VALUES
	('01a22fad-4a5f-7620-a842-711e8a876dd2', '01a22fad-31f4-719f-b4a1-55f8b7600ace', '01a22fad-311e-712d-b3ee-da763ac221dc', '{"begun": {"last": null, "open": 0, "owner": "01a22fad-311e-712d-b3ee-da763ac221dc", "topic": "events", "tries": [], "status": "idle", "quiz_id": "01a22fad-4a5f-7620-a842-711e8a876dd2", "attempts": 0, "finished": false, "selected": null, "questions": [{"id": "events-idempotent", "hint": "Delivery is usually at least once.", "prompt": "A message broker delivers an event a second time. What should a consumer that counts orders do?", "correct": "c", "options": [{"label": "Count it: deliveries are what is counted", "value": "a"}, {"label": "Ask the broker to deliver exactly once instead", "value": "b"}, {"label": "Notice by the event''s position or id that it was counted, and skip it", "value": "c"}, {"label": "Subtract one from the count to be safe", "value": "d"}], "explanation": "Brokers repeat a delivery when an acknowledgement was lost. A consumer keeps the last position, in the same transaction as its counts, and so counts each event once."}, {"id": "events-command", "hint": "One is a wish, the other a fact.", "prompt": "What is the difference between a command and an event?", "correct": "d", "options": [{"label": "A command is stored for ever, an event is not", "value": "a"}, {"label": "A command is read by projections, an event by aggregates", "value": "b"}, {"label": "They are two words for one message", "value": "c"}, {"label": "A command may be refused; an event has happened", "value": "d"}], "explanation": "A command asks for something and is checked against the state. What comes of it, if it is accepted, is recorded as events."}, {"id": "events-lag", "hint": "Writing and reading are apart in CQRS.", "prompt": "A client has just been told that its command succeeded, but a query does not show the change yet. Why may that be?", "correct": "c", "options": [{"label": "The command was rolled back after the answer", "value": "a"}, {"label": "Queries are answered from a backup", "value": "b"}, {"label": "Read models are updated from the log a little later", "value": "c"}, {"label": "Events are sorted once a night", "value": "d"}], "explanation": "Read models follow the log and are eventually consistent. A query that has to show a write waits until its model has come to the write''s position."}, {"id": "events-upcast", "hint": "The log is append-only.", "prompt": "An event has got another shape. What is done about the old ones in the log?", "correct": "d", "options": [{"label": "They are rewritten in place by a migration", "value": "a"}, {"label": "They are deleted after the next snapshot", "value": "b"}, {"label": "Nothing: old code keeps reading them", "value": "c"}, {"label": "They stay as they are, and are raised to the new shape when they are read", "value": "d"}], "explanation": "Stored events are never changed. An upcaster turns an old payload into the newest shape on its way from the log to the code."}, {"id": "events-concurrency", "hint": "It is called optimistic.", "prompt": "Two writers append to one stream at the same time, each having read it at version 7. What keeps both from succeeding?", "correct": "b", "options": [{"label": "The slower one waits until the faster one is projected", "value": "a"}, {"label": "Each append names the version it expects, and the second no longer finds it", "value": "b"}, {"label": "Events carry time stamps, and the later one wins", "value": "c"}, {"label": "Both succeed, and a projection merges them", "value": "d"}], "explanation": "With optimistic concurrency an append says where the stream must stand. The one that comes second is refused, loads the new events and decides again."}], "conversation_id": "01a22fad-31f4-719f-b4a1-55f8b7600ace"}}', 27, 27),
	('01961f2a-0000-7000-8000-0000000000d1', '01961f2a-0000-7000-8000-0000000000c1', '01961f2a-0000-7000-8000-0000000000a1', '{"begun": {"last": null, "open": 1, "owner": "01961f2a-0000-7000-8000-0000000000a1", "topic": "rust", "tries": [2], "status": "idle", "quiz_id": "01961f2a-0000-7000-8000-0000000000d1", "attempts": 0, "finished": true, "selected": null, "questions": [{"id": "rust-moves", "hint": "A String owns its text.", "prompt": "What is `a` after `let b = a;`, when it is a String?", "correct": "b", "options": [{"label": "A copy", "value": "a"}, {"label": "Moved away ☀", "value": "b"}], "explanation": "Ownership goes to `b`."}, {"id": "rust-plain", "hint": null, "prompt": "Is `i32` Copy?", "correct": "a", "options": [{"label": "Yes", "value": "a"}, {"label": "No", "value": "b"}], "explanation": null}], "conversation_id": "01961f2a-0000-7000-8000-0000000000c1"}}', 82, 87);
INSERT INTO public.widget_state_deleted VALUES
	('01961f2a-0004-7000-8000-0000000000c1');
SELECT pg_catalog.setval('public.events_position_seq', 88, true);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.administrators
    ADD CONSTRAINT administrators_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.aggregate_snapshots
    ADD CONSTRAINT aggregate_snapshots_pkey PRIMARY KEY (aggregate_type, aggregate_id);
ALTER TABLE ONLY public.allowances
    ADD CONSTRAINT allowances_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.asked_again
    ADD CONSTRAINT asked_again_pkey PRIMARY KEY (message_id, "position");
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (bucket);
ALTER TABLE ONLY public.branches
    ADD CONSTRAINT branches_pkey PRIMARY KEY (conversation_id, branch);
ALTER TABLE ONLY public.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (projection);
ALTER TABLE ONLY public.command_keys
    ADD CONSTRAINT command_keys_pkey PRIMARY KEY (owner, key);
ALTER TABLE ONLY public.conversation_branches
    ADD CONSTRAINT conversation_branches_pkey PRIMARY KEY (conversation_id, branch);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (conversation_id);
ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (key_id);
ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_stream UNIQUE (user_id, stream_type, stream_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (aggregate_type, aggregate_id, sequence);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_position_key UNIQUE ("position");
ALTER TABLE ONLY public.files
    ADD CONSTRAINT files_pkey PRIMARY KEY (file_id);
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (item_id);
ALTER TABLE ONLY public.logins
    ADD CONSTRAINT logins_pkey PRIMARY KEY (login_id);
ALTER TABLE ONLY public.mails
    ADD CONSTRAINT mails_pkey PRIMARY KEY (mail_id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (message_id);
ALTER TABLE ONLY public.parked_messages
    ADD CONSTRAINT parked_messages_pkey PRIMARY KEY (stream, sequence);
ALTER TABLE ONLY public.password_resets
    ADD CONSTRAINT password_resets_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.pending_replies
    ADD CONSTRAINT pending_replies_pkey PRIMARY KEY (reply_id);
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);
ALTER TABLE ONLY public.relays
    ADD CONSTRAINT relays_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.replies
    ADD CONSTRAINT replies_pkey PRIMARY KEY (reply_id);
ALTER TABLE ONLY public.reply_leases
    ADD CONSTRAINT reply_leases_pkey PRIMARY KEY (reply_id);
ALTER TABLE ONLY public.sign_in_failures
    ADD CONSTRAINT sign_in_failures_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.tickets
    ADD CONSTRAINT tickets_pkey PRIMARY KEY (ticket_hash);
ALTER TABLE ONLY public.usage_begun
    ADD CONSTRAINT usage_begun_pkey PRIMARY KEY (reply_id);
ALTER TABLE ONLY public.usage_days
    ADD CONSTRAINT usage_days_pkey PRIMARY KEY (user_id, day);
ALTER TABLE ONLY public.usage_models
    ADD CONSTRAINT usage_models_pkey PRIMARY KEY (user_id, day, model);
ALTER TABLE ONLY public.user_keys
    ADD CONSTRAINT user_keys_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.widget_state_deleted
    ADD CONSTRAINT widget_state_deleted_pkey PRIMARY KEY (conversation_id);
ALTER TABLE ONLY public.widget_state
    ADD CONSTRAINT widget_state_pkey PRIMARY KEY (quiz_id);
CREATE INDEX asked_again_by_conversation ON public.asked_again USING btree (conversation_id);
CREATE UNIQUE INDEX branches_active ON public.branches USING btree (conversation_id) INCLUDE (branch) WHERE active;
CREATE INDEX command_keys_created_at ON public.command_keys USING btree (created_at);
CREATE INDEX conversations_by_creation ON public.conversations USING btree (owner, created_at, conversation_id);
CREATE INDEX conversations_by_owner ON public.conversations USING btree (owner, archived, pinned DESC, updated_at DESC, conversation_id);
CREATE INDEX files_announced ON public.files USING btree (created_at) WHERE (state = 'announced'::text);
CREATE INDEX files_by_conversation ON public.files USING btree (conversation_id) WHERE (conversation_id IS NOT NULL);
CREATE INDEX files_by_owner ON public.files USING btree (owner) WHERE (state <> 'deleted'::text);
CREATE INDEX files_deleted ON public.files USING btree ("position", file_id) WHERE (state = 'deleted'::text);
CREATE INDEX items_elsewhere ON public.items USING btree (conversation_id, branch, "position") WHERE elsewhere;
CREATE INDEX items_shown ON public.items USING btree (conversation_id, "position") WHERE (NOT elsewhere);
CREATE INDEX logins_of_user ON public.logins USING btree (user_id) WHERE (ended_at IS NULL);
CREATE INDEX logins_over_since ON public.logins USING btree (COALESCE(ended_at, LEAST(idle_until, ends_at)));
CREATE INDEX mails_due ON public.mails USING btree (not_before);
CREATE UNIQUE INDEX mails_for_claim ON public.mails USING btree (kind, claim) WHERE (claim IS NOT NULL);
CREATE INDEX messages_elsewhere ON public.messages USING btree (conversation_id, branch, "position") WHERE elsewhere;
CREATE INDEX messages_shown ON public.messages USING btree (conversation_id, "position") WHERE (NOT elsewhere);
CREATE INDEX password_resets_by_age ON public.password_resets USING btree (created_at);
CREATE INDEX password_resets_of_user ON public.password_resets USING btree (user_id);
CREATE INDEX pending_replies_by_conversation ON public.pending_replies USING btree (conversation_id, "position");
CREATE INDEX refresh_tokens_of_login ON public.refresh_tokens USING btree (login_id);
CREATE INDEX replies_by_conversation ON public.replies USING btree (conversation_id);
CREATE INDEX sign_in_failures_expired ON public.sign_in_failures USING btree (expires_at);
CREATE INDEX widget_state_by_conversation ON public.widget_state USING btree (conversation_id, started);
CREATE TRIGGER events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change_of_log();
ALTER TABLE public.events ENABLE ALWAYS TRIGGER events_append_only;
ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_login_id_fkey FOREIGN KEY (login_id) REFERENCES public.logins(login_id) ON DELETE CASCADE;
GRANT SELECT ON TABLE public.allowances TO verbatim_app;
REVOKE ALL ON FUNCTION public.allowance_take(p_user uuid, p_charge jsonb, OUT rest jsonb, OUT refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.allowance_take(p_user uuid, p_charge jsonb, OUT rest jsonb, OUT refused jsonb) TO verbatim_app;
REVOKE ALL ON FUNCTION public.append(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[]) TO verbatim_app;
REVOKE ALL ON FUNCTION public.append_charged(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, p_user uuid, p_charge jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[], OUT rest jsonb, OUT refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_charged(p_owner text, p_key text, p_fingerprint bytea, p_result json, p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text, p_beside jsonb, p_user uuid, p_charge jsonb, OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[], OUT rest jsonb, OUT refused jsonb) TO verbatim_app;
REVOKE ALL ON FUNCTION public.append_together(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_together(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[]) TO verbatim_app;
REVOKE ALL ON FUNCTION public.append_together_charged(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[], p_users uuid[], p_charges jsonb[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_together_charged(p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[], p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[], p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[], p_payloads text[], p_metadata text[], p_users uuid[], p_charges jsonb[]) TO verbatim_app;
REVOKE ALL ON FUNCTION public.attempt_take(p_buckets text[], p_quotas double precision[], p_spans double precision[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.attempt_take(p_buckets text[], p_quotas double precision[], p_spans double precision[]) TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.mails TO verbatim_app;
GRANT SELECT ON TABLE public.events TO verbatim_app;
GRANT SELECT ON TABLE public.events TO verbatim_projector;
GRANT SELECT ON TABLE public.events TO verbatim_auditor;
GRANT SELECT ON TABLE public._sqlx_migrations TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.aggregate_snapshots TO verbatim_app;
GRANT SELECT ON TABLE public.asked_again TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.asked_again TO verbatim_projector;
GRANT SELECT ON TABLE public.asked_again TO verbatim_auditor;
GRANT SELECT,DELETE ON TABLE public.attempts TO verbatim_app;
GRANT SELECT ON TABLE public.branches TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.branches TO verbatim_projector;
GRANT SELECT ON TABLE public.branches TO verbatim_auditor;
GRANT SELECT ON TABLE public.checkpoints TO verbatim_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.checkpoints TO verbatim_projector;
GRANT SELECT ON TABLE public.checkpoints TO verbatim_auditor;
GRANT SELECT,DELETE ON TABLE public.command_keys TO verbatim_app;
GRANT SELECT ON TABLE public.conversation_branches TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.conversation_branches TO verbatim_projector;
GRANT SELECT ON TABLE public.conversation_branches TO verbatim_auditor;
GRANT SELECT ON TABLE public.conversations TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.conversations TO verbatim_projector;
GRANT SELECT ON TABLE public.conversations TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.credentials TO verbatim_app;
GRANT SELECT ON TABLE public.data_keys TO verbatim_app;
GRANT SELECT ON TABLE public.data_keys TO verbatim_projector;
GRANT SELECT ON TABLE public.data_keys TO verbatim_auditor;
GRANT SELECT ON SEQUENCE public.events_position_seq TO verbatim_app;
GRANT SELECT ON SEQUENCE public.events_position_seq TO verbatim_projector;
GRANT SELECT ON SEQUENCE public.events_position_seq TO verbatim_auditor;
GRANT SELECT ON TABLE public.files TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.files TO verbatim_projector;
GRANT SELECT ON TABLE public.files TO verbatim_auditor;
GRANT SELECT ON TABLE public.items TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.items TO verbatim_projector;
GRANT SELECT ON TABLE public.items TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.logins TO verbatim_app;
GRANT SELECT ON TABLE public.messages TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.messages TO verbatim_projector;
GRANT SELECT ON TABLE public.messages TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.parked_messages TO verbatim_app;
GRANT SELECT ON TABLE public.parked_messages TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.password_resets TO verbatim_app;
GRANT SELECT ON TABLE public.pending_replies TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.pending_replies TO verbatim_projector;
GRANT SELECT ON TABLE public.pending_replies TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.refresh_tokens TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.relays TO verbatim_app;
GRANT SELECT ON TABLE public.relays TO verbatim_auditor;
GRANT SELECT ON TABLE public.replies TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.replies TO verbatim_projector;
GRANT SELECT ON TABLE public.replies TO verbatim_auditor;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.reply_leases TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sign_in_failures TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.tickets TO verbatim_app;
GRANT SELECT,INSERT,DELETE,TRUNCATE,UPDATE ON TABLE public.usage_begun TO verbatim_projector;
GRANT SELECT ON TABLE public.usage_begun TO verbatim_auditor;
GRANT SELECT ON TABLE public.usage_days TO verbatim_app;
GRANT SELECT,INSERT,DELETE,TRUNCATE,UPDATE ON TABLE public.usage_days TO verbatim_projector;
GRANT SELECT ON TABLE public.usage_days TO verbatim_auditor;
GRANT SELECT ON TABLE public.usage_models TO verbatim_app;
GRANT SELECT,INSERT,DELETE,TRUNCATE,UPDATE ON TABLE public.usage_models TO verbatim_projector;
GRANT SELECT ON TABLE public.usage_models TO verbatim_auditor;
GRANT SELECT ON TABLE public.user_keys TO verbatim_app;
GRANT SELECT ON TABLE public.user_keys TO verbatim_projector;
GRANT SELECT ON TABLE public.user_keys TO verbatim_auditor;
GRANT SELECT ON TABLE public.users TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.users TO verbatim_projector;
GRANT SELECT ON TABLE public.users TO verbatim_auditor;
GRANT SELECT ON TABLE public.widget_state TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.widget_state TO verbatim_projector;
GRANT SELECT ON TABLE public.widget_state TO verbatim_auditor;
GRANT SELECT ON TABLE public.widget_state_deleted TO verbatim_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.widget_state_deleted TO verbatim_projector;
GRANT SELECT ON TABLE public.widget_state_deleted TO verbatim_auditor;

-- How much each person may do: rates per minute, quotas per day. Rows beside the log, changed in the transaction of the
-- append that they belong to: a message that was not kept costs nothing, one that was kept costs exactly once, and all
-- nodes share one count.

CREATE TABLE allowances (
    user_id  uuid     PRIMARY KEY,
    -- Rates. By policy ('user', a conversation, a channel): when its window began (seconds since 1970), what was
    -- taken in it, and in the window before.
    policies text[]   NOT NULL DEFAULT '{}',
    begun    float8[] NOT NULL DEFAULT '{}',
    taken    float8[] NOT NULL DEFAULT '{}',
    before   float8[] NOT NULL DEFAULT '{}',
    -- Quotas: what was used on this day (UTC).
    day      date     NOT NULL,
    messages bigint   NOT NULL DEFAULT 0,
    tokens   bigint   NOT NULL DEFAULT 0,
    -- Replies that are owed: {reply: [conversation, tokens reserved, until when (seconds since 1970)]}.
    open     jsonb    NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- The row of a person, locked until the transaction ends.
CREATE FUNCTION allowance_held(p_user uuid) RETURNS allowances LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    held allowances;
BEGIN
    SELECT * INTO held FROM allowances a WHERE a.user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO allowances (user_id, day) VALUES (p_user, (clock_timestamp() AT TIME ZONE 'UTC')::date)
            ON CONFLICT (user_id) DO NOTHING;
        SELECT * INTO held FROM allowances a WHERE a.user_id = p_user FOR NO KEY UPDATE;
    END IF;
    RETURN held;
END $$;

-- Charges a person's row, which the caller holds. In `p_charge`:
--   rates   [[policy, how many in a minute], ...]: one is taken of each;
--   opens   [[reply, conversation, until when (seconds since 1970)], ...]: replies that are owed from now on;
--   quota   {messages, tokens, reserve, at_once}: what these are held against, 0 for no bound: messages and tokens of a
--           day, the tokens reserved for a reply until it ends, the conversations in which replies are owed at once;
--   ends    [[reply, tokens | null], ...]: replies that have ended; null: as many as were reserved.
-- Gives what is left of the rates: [[their place in the list, rest, seconds until all of it is there again], ...].
-- SQLSTATE VB009: refused; the detail is [policy, seconds after which it is worth trying again, what may be had].
--
-- A rate is counted over the minute that has just passed: all of the current window, and of the one before as much as that
-- minute still covers. A window begins with the first message after a quiet time.
CREATE FUNCTION allowance_charge(p_held allowances, p_charge jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
<<charge>>
DECLARE
    span CONSTANT float8 := 60;
    moment CONSTANT float8 := extract(epoch FROM clock_timestamp());
    today CONSTANT date := to_timestamp(moment) AT TIME ZONE 'UTC';
    -- The row in variables: a record's fields are slow to change one by one.
    policies text[] := p_held.policies;
    begun float8[] := p_held.begun;
    taken float8[] := p_held.taken;
    before float8[] := p_held.before;
    messages bigint := p_held.messages;
    tokens bigint := p_held.tokens;
    open jsonb := p_held.open;
    list jsonb;
    item jsonb;
    name text;
    rest text := '';
    refused text;
    wait float8 := 0;
    later float8;
    bound float8;
    quota float8;
    at integer;
    began float8;
    took float8;
    past float8;
    weighted float8;
    reserve bigint;
    reserved bigint := 0;
    elsewhere integer;
BEGIN
    IF p_held.day <> today THEN
        messages := 0;
        tokens := 0;
    END IF;

    list := p_charge -> 'ends';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        IF open ? name THEN
            tokens := tokens + coalesce((item ->> 1)::bigint, (open -> name ->> 1)::bigint);
            open := open - name;
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
        ELSIF moment >= began + span OR moment < began THEN
            IF moment < began OR moment >= began + 2 * span THEN
                began := moment;
                past := 0;
            ELSE
                began := began + span;
                past := took;
            END IF;
            took := 0;
        END IF;
        weighted := past * (1 - (moment - began) / span) + took;
        IF weighted + 1 > quota THEN
            IF took + 1 > quota THEN
                later := began + span - moment + span * (1 - (quota - 1) / took);
            ELSE
                later := span * (1 - (quota - 1 - took) / past) - (moment - began);
            END IF;
            IF refused IS NULL OR later > wait THEN
                refused := name;
                wait := later;
                bound := quota;
            END IF;
        END IF;
        begun[at] := began;
        taken[at] := took + 1;
        before[at] := past;
        rest := rest || ',[' || i || ',' || greatest(floor(quota - weighted - 1), 0) || ','
            || ceil(began + span - moment + CASE WHEN weighted > 0 THEN span ELSE 0 END) || ']';
    END LOOP;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'too often' USING ERRCODE = 'VB009', DETAIL = jsonb_build_array(refused, wait, bound)::text;
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
            SELECT count(DISTINCT o.value ->> 0) INTO elsewhere
                FROM jsonb_each(open) AS o WHERE o.value ->> 0 <> item ->> 1;
            IF elsewhere >= bound THEN
                RAISE EXCEPTION 'too many at once' USING ERRCODE = 'VB009',
                    DETAIL = jsonb_build_array('replies_at_once', 5, bound)::text;
            END IF;
        END IF;
        bound := (p_charge #>> '{quota,messages}')::float8;
        IF bound > 0 AND messages + 1 > bound THEN
            RAISE EXCEPTION 'used up' USING ERRCODE = 'VB009',
                DETAIL = jsonb_build_array('messages_per_day', extract(epoch FROM (today + 1)::timestamp) - moment, bound)::text;
        END IF;
        bound := (p_charge #>> '{quota,tokens}')::float8;
        IF bound > 0 AND tokens + reserved + reserve > bound THEN
            RAISE EXCEPTION 'used up' USING ERRCODE = 'VB009',
                DETAIL = jsonb_build_array('tokens_per_day', extract(epoch FROM (today + 1)::timestamp) - moment, bound)::text;
        END IF;
        messages := messages + 1;
        open := jsonb_set(open, ARRAY[item ->> 0], jsonb_build_array(item -> 1, reserve, item -> 2));
        reserved := reserved + reserve;
    END LOOP;

    UPDATE allowances a SET policies = charge.policies, begun = charge.begun, taken = charge.taken, before = charge.before,
            day = today, messages = charge.messages, tokens = charge.tokens, open = charge.open
        WHERE a.user_id = p_held.user_id;
    RETURN ('[' || substr(rest, 2) || ']')::jsonb;
END $$;

-- Charges what belongs to no append, such as a file that is about to be sent.
CREATE FUNCTION allowance_take(p_user uuid, p_charge jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN allowance_charge(allowance_held(p_user), p_charge);
END $$;

-- `append` with a charge. The row of the charge is locked before anything else, so that two appends of one person wait for
-- each other here and nowhere later. A repetition of a key is charged nothing.
CREATE FUNCTION append_charged(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_beside jsonb, p_user uuid, p_charge jsonb,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[], OUT rest jsonb
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    held allowances;
BEGIN
    IF p_user IS NOT NULL THEN
        held := allowance_held(p_user);
    END IF;
    SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
        FROM append(p_owner, p_key, p_fingerprint, p_result, p_check_types, p_check_ids, p_check_sequences,
            p_types, p_ids, p_sequences, p_event_types, p_event_versions, p_payloads, p_metadata, p_beside) a;
    IF p_user IS NOT NULL AND NOT replayed THEN
        rest := allowance_charge(held, p_charge);
    END IF;
END $$;

-- `append_together` with charges; none for those whose user is null.
CREATE FUNCTION append_together_charged(
    p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[],
    p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[],
    p_event_versions text[], p_payloads text[], p_metadata text[], p_users uuid[], p_charges jsonb[]
) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[], rest jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c integer := 1;
    e integer := 1;
    c_end integer;
    e_end integer;
    held allowances;
BEGIN
    FOR i IN 1 .. cardinality(p_metadata) LOOP
        c_end := c + p_check_counts[i] - 1;
        e_end := e + p_event_counts[i] - 1;
        rest := NULL;
        IF p_users[i] IS NOT NULL THEN
            held := allowance_held(p_users[i]);
        END IF;
        SELECT a.* INTO replayed, stored_fingerprint, stored_result, positions
            FROM append(p_owners[i], p_keys[i], p_fingerprints[i], p_results[i]::json,
                p_check_types[c:c_end], p_check_ids[c:c_end], p_check_sequences[c:c_end],
                p_types[e:e_end], p_ids[e:e_end], p_sequences[e:e_end], p_event_types[e:e_end],
                p_event_versions[e:e_end], p_payloads[e:e_end], p_metadata[i], NULL) a;
        IF p_users[i] IS NOT NULL AND NOT replayed THEN
            rest := allowance_charge(held, p_charges[i]);
        END IF;
        RETURN NEXT;
        c := c_end + 1;
        e := e_end + 1;
    END LOOP;
END $$;

-- How often something may be tried by whoever is not signed in: by client address, or by account. Lost in a crash, which
-- nobody needs to be told.
CREATE UNLOGGED TABLE attempts (
    bucket text   PRIMARY KEY,
    begun  float8 NOT NULL,
    taken  float8 NOT NULL,
    before float8 NOT NULL
);

-- Takes one of each bucket, at most so many in so many seconds; counted like a rate above. Gives the seconds after which it
-- is worth trying again, 0 when it was taken. Buckets are taken in the order of their names.
CREATE FUNCTION attempt_take(p_buckets text[], p_quotas float8[], p_spans float8[]) RETURNS float8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment float8 := extract(epoch FROM clock_timestamp());
    item record;
    known attempts;
    weighted float8;
    wait float8 := 0;
BEGIN
    FOR item IN SELECT * FROM unnest(p_buckets, p_quotas, p_spans) AS u(bucket, quota, span) ORDER BY bucket LOOP
        INSERT INTO attempts AS a (bucket, begun, taken, before) VALUES (item.bucket, moment, 1, 0)
        ON CONFLICT (bucket) DO UPDATE SET
            before = CASE WHEN moment >= a.begun + 2 * item.span OR moment < a.begun THEN 0
                          WHEN moment >= a.begun + item.span THEN a.taken ELSE a.before END,
            taken = CASE WHEN moment >= a.begun + item.span OR moment < a.begun THEN 1 ELSE a.taken + 1 END,
            begun = CASE WHEN moment >= a.begun + 2 * item.span OR moment < a.begun THEN moment
                         WHEN moment >= a.begun + item.span THEN a.begun + item.span ELSE a.begun END
        RETURNING * INTO known;
        weighted := known.before * (1 - (moment - known.begun) / item.span) + known.taken;
        IF weighted > item.quota THEN
            -- What was refused does not count, or whoever goes on trying would never be let in again.
            UPDATE attempts a SET taken = known.taken - 1 WHERE a.bucket = item.bucket;
            wait := greatest(wait, 1, CASE WHEN known.taken > item.quota
                THEN known.begun + item.span - moment + item.span * (1 - (item.quota - 1) / (known.taken - 1))
                ELSE item.span * (1 - (item.quota - known.taken) / known.before) - (moment - known.begun) END);
        END IF;
    END LOOP;
    RETURN wait;
END $$;

DO $$
BEGIN
    REVOKE ALL ON FUNCTION append_charged(text, text, bytea, json, text[], text[], bigint[], text[], text[], bigint[],
        text[], text[], text[], text, jsonb, uuid, jsonb) FROM PUBLIC;
    REVOKE ALL ON FUNCTION append_together_charged(text[], text[], bytea[], text[], integer[], text[], text[], bigint[],
        integer[], text[], text[], bigint[], text[], text[], text[], text[], uuid[], jsonb[]) FROM PUBLIC;
    REVOKE ALL ON FUNCTION allowance_take(uuid, jsonb), attempt_take(text[], float8[], float8[]) FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON allowances TO verbatim_app;
        GRANT SELECT, DELETE ON attempts TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append_charged(text, text, bytea, json, text[], text[], bigint[], text[], text[],
            bigint[], text[], text[], text[], text, jsonb, uuid, jsonb) TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append_together_charged(text[], text[], bytea[], text[], integer[], text[], text[],
            bigint[], integer[], text[], text[], bigint[], text[], text[], text[], text[], uuid[], jsonb[])
            TO verbatim_app;
        GRANT EXECUTE ON FUNCTION allowance_take(uuid, jsonb), attempt_take(text[], float8[], float8[]) TO verbatim_app;
    END IF;
END $$;

-- What bounds an append is looked at before anything is written, so that a refusal writes nothing; ends of replies that come to
-- nothing cost what was sent; several appends together lock all people first. These take the place of those of
-- 20261123000500_allowances.sql.

DROP FUNCTION append_together_charged(text[], text[], bytea[], text[], integer[], text[], text[], bigint[],
    integer[], text[], text[], bigint[], text[], text[], text[], text[], uuid[], jsonb[]);
DROP FUNCTION append_charged(text, text, bytea, json, text[], text[], bigint[], text[], text[], bigint[],
    text[], text[], text[], text, jsonb, uuid, jsonb);
DROP FUNCTION allowance_take(uuid, jsonb);
DROP FUNCTION allowance_charge(allowances, jsonb);
DROP FUNCTION allowance_held(uuid);

-- The row of a person, locked until the transaction ends. It is made where there is none and something is taken from it;
-- where a reply only ends, there is nothing to settle without one.
CREATE FUNCTION allowance_held(p_user uuid, p_make boolean) RETURNS allowances LANGUAGE plpgsql VOLATILE AS $$
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

-- What a charge makes of a person's row, which the caller holds and writes: nothing is written here, so that a refusal
-- costs nothing. In `p_charge`:
--   rates   [[policy, how many in a minute], ...]: one is taken of each;
--   opens   [[reply, conversation, until when (seconds since 1970)], ...]: replies that are owed from now on;
--   quota   {messages, tokens, reserve, at_once}: what these are held against, 0 for no bound: messages and tokens of a
--           day, the tokens reserved for a reply until it ends, the conversations in which replies are owed at once;
--   holds   [[reply, tokens], ...]: for these owed replies at least so much is reserved from now on, whatever is left;
--   ends    [[reply, tokens | null, tokens besides], ...]: replies that have ended; null: as many as were reserved.
-- Gives the row as it is to be (null: as it was), what is left of the rates: [[their place in the list, rest, seconds
-- until all of it is there again], ...], or why it is refused: [policy, seconds after which it is worth trying again,
-- what may be had, the conversations that it does not hold for].
--
-- A rate is counted over the minute that has just passed: all of the current window, and of the one before as much as that
-- minute still covers. A window begins with the first message after a quiet time. A clock that was put back by less than a
-- window stands still until it has caught up: nobody is given a fresh window.
CREATE FUNCTION allowance_charge(p_held allowances, p_charge jsonb, OUT changed allowances, OUT rest jsonb, OUT refused jsonb)
LANGUAGE plpgsql VOLATILE AS $$
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

-- Writes a row that `allowance_charge` gave, if it gave one.
CREATE FUNCTION allowance_write(p_row allowances) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF p_row.user_id IS NOT NULL THEN
        UPDATE allowances a SET policies = p_row.policies, begun = p_row.begun, taken = p_row.taken, before = p_row.before,
                day = p_row.day, messages = p_row.messages, tokens = p_row.tokens, open = p_row.open
            WHERE a.user_id = p_row.user_id;
    END IF;
END $$;

-- Whether a charge takes something, or only settles what was taken.
CREATE FUNCTION allowance_takes(p_charge jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_charge ?| ARRAY['rates', 'opens']
$$;

-- Whether a command was carried out under this key before. A key in the last minute of its day counts as a new one here,
-- so that what this says still holds when `append` looks.
CREATE FUNCTION command_repeated(p_owner text, p_key text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN p_key IS NOT NULL AND EXISTS (SELECT FROM command_keys k WHERE k.owner = p_owner AND k.key = p_key
        AND k.created_at > clock_timestamp() - interval '23 hours 59 minutes');
END $$;

-- Charges what belongs to no append, such as a file that is about to be sent. Gives what `allowance_charge` does.
CREATE FUNCTION allowance_take(p_user uuid, p_charge jsonb, OUT rest jsonb, OUT refused jsonb) LANGUAGE plpgsql VOLATILE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    charged record;
BEGIN
    charged := allowance_charge(allowance_held(p_user, true), p_charge);
    rest := charged.rest;
    refused := charged.refused;
    PERFORM allowance_write(charged.changed);
END $$;

-- `append` with a charge. The row of the charge is locked before anything else, so that two appends of one person wait for
-- each other here and nowhere later. What it bounds is looked at before anything is written, and the charge is written
-- last: a refusal (`refused`, as `allowance_charge` tells it) leaves nothing behind. A repetition of a key is neither
-- charged nor refused.
CREATE FUNCTION append_charged(
    p_owner text, p_key text, p_fingerprint bytea, p_result json,
    p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[], p_event_versions text[],
    p_payloads text[], p_metadata text, p_beside jsonb, p_user uuid, p_charge jsonb,
    OUT replayed boolean, OUT stored_fingerprint bytea, OUT stored_result json, OUT positions bigint[], OUT rest jsonb,
    OUT refused jsonb
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- `append_together` with charges; none for those whose user is null. All rows of charges are locked first, in one order,
-- before any key or stream: whoever holds a key or a stream waits for no row, so that nobody waits in a circle. A charge
-- that is refused leaves out its own append only.
CREATE FUNCTION append_together_charged(
    p_owners text[], p_keys text[], p_fingerprints bytea[], p_results text[],
    p_check_counts integer[], p_check_types text[], p_check_ids text[], p_check_sequences bigint[],
    p_event_counts integer[], p_types text[], p_ids text[], p_sequences bigint[], p_event_types text[],
    p_event_versions text[], p_payloads text[], p_metadata text[], p_users uuid[], p_charges jsonb[]
) RETURNS TABLE(replayed boolean, stored_fingerprint bytea, stored_result json, positions bigint[], rest jsonb, refused jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

DO $$
BEGIN
    REVOKE ALL ON FUNCTION append_charged(text, text, bytea, json, text[], text[], bigint[], text[], text[], bigint[],
        text[], text[], text[], text, jsonb, uuid, jsonb) FROM PUBLIC;
    REVOKE ALL ON FUNCTION append_together_charged(text[], text[], bytea[], text[], integer[], text[], text[], bigint[],
        integer[], text[], text[], bigint[], text[], text[], text[], text[], uuid[], jsonb[]) FROM PUBLIC;
    REVOKE ALL ON FUNCTION allowance_take(uuid, jsonb) FROM PUBLIC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT EXECUTE ON FUNCTION append_charged(text, text, bytea, json, text[], text[], bigint[], text[], text[],
            bigint[], text[], text[], text[], text, jsonb, uuid, jsonb) TO verbatim_app;
        GRANT EXECUTE ON FUNCTION append_together_charged(text[], text[], bytea[], text[], integer[], text[], text[],
            bigint[], integer[], text[], text[], bigint[], text[], text[], text[], text[], uuid[], jsonb[])
            TO verbatim_app;
        GRANT EXECUTE ON FUNCTION allowance_take(uuid, jsonb) TO verbatim_app;
    END IF;
END $$;

-- Quotas and rate limits: rates per minute and quotas per day for each user, rates for clients that are not signed in.
-- A user's row changes in the transaction of the append that it is charged for: a message that is not stored costs
-- nothing, a stored one is charged exactly once, and all nodes share one count.

CREATE TABLE user_quotas (
    user_id         uuid     PRIMARY KEY,
    -- Rate limits, one element per policy ('user', a conversation, a surface): start of the current window (seconds since
    -- 1970), the count in it, and the count in the window before.
    policies        text[]   NOT NULL DEFAULT '{}',
    window_starts   float8[] NOT NULL DEFAULT '{}',
    current_counts  float8[] NOT NULL DEFAULT '{}',
    previous_counts float8[] NOT NULL DEFAULT '{}',
    -- Quotas: what was used on this day (UTC).
    day             date     NOT NULL,
    messages        bigint   NOT NULL DEFAULT 0,
    tokens          bigint   NOT NULL DEFAULT 0,
    -- Pending replies: {reply: [conversation, reserved tokens, expiry (seconds since 1970)]}.
    reservations    jsonb    NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- Rate limits of clients that are not signed in, by client address or by account. Unlogged: a crash resets them, which
-- is acceptable.
CREATE UNLOGGED TABLE rate_limit_buckets (
    bucket         text   PRIMARY KEY,
    window_start   float8 NOT NULL,
    current_count  float8 NOT NULL,
    previous_count float8 NOT NULL
);

-- == Functions and grants ==

-- Returns a user's row, locked until the transaction ends. If there is none, it is created when `p_create` is true.
CREATE FUNCTION quota_lock(p_user uuid, p_create boolean) RETURNS user_quotas LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    locked user_quotas;
BEGIN
    SELECT * INTO locked FROM user_quotas q WHERE q.user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND AND p_create THEN
        INSERT INTO user_quotas (user_id, day) VALUES (p_user, (clock_timestamp() AT TIME ZONE 'UTC')::date)
            ON CONFLICT (user_id) DO NOTHING;
        SELECT * INTO locked FROM user_quotas q WHERE q.user_id = p_user FOR NO KEY UPDATE;
    END IF;
    RETURN locked;
END $$;

-- Computes the effect of a charge on a user's row, which the caller has locked and stores with `append_charge_store`. Writes
-- nothing, so that a rejection costs nothing. In `p_charge`:
--   rates   [[policy, limit per minute], ...]: each is charged one;
--   opens   [[reply, conversation, expiry (seconds since 1970)], ...]: replies that are pending from now on;
--   quota   {messages, tokens, reserve, at_once}: the limits that these are checked against, 0 for no limit: messages and
--           tokens per day, tokens reserved for a reply until it ends, conversations with pending replies at once;
--   holds   [[reply, tokens], ...]: at least so many tokens are reserved for these pending replies from now on, whatever
--           is left;
--   ends    [[reply, tokens | null, extra tokens], ...]: replies that have ended; null: they cost what was reserved.
-- Returns the new row (NULL: unchanged) and what remains of the rates: [[index in the list, remaining, seconds until the
-- full rate is available again], ...]. Or a rejection: [policy, seconds until a retry makes sense, limit, conversations
-- that the limit does not concern].
--
-- A rate is counted over the last minute: the whole current window, and as much of the previous one as that minute still
-- covers. A window starts with the first message after an idle time. If the clock is set back by less than a window, the
-- window stays until the clock has caught up: a user never gets a fresh window that way.
CREATE FUNCTION quota_charge(p_row user_quotas, p_charge jsonb, OUT new_state user_quotas, OUT remaining jsonb,
    OUT rejection jsonb) LANGUAGE plpgsql VOLATILE AS $$
<<charge>>
DECLARE
    window_length CONSTANT float8 := 60;
    moment CONSTANT float8 := extract(epoch FROM clock_timestamp());
    today date := to_timestamp(moment) AT TIME ZONE 'UTC';
    -- The row in variables: the fields of a record are slow to change one by one.
    policies text[] := p_row.policies;
    window_starts float8[] := p_row.window_starts;
    current_counts float8[] := p_row.current_counts;
    previous_counts float8[] := p_row.previous_counts;
    messages bigint := p_row.messages;
    tokens bigint := p_row.tokens;
    reservations jsonb := p_row.reservations;
    is_changed boolean := false;
    list jsonb;
    item jsonb;
    name text;
    remaining_list text := '';
    exceeded text;
    wait float8 := 0;
    candidate_wait float8;
    bound float8;
    rate float8;
    index integer;
    window_start float8;
    current_count float8;
    previous_count float8;
    elapsed float8;
    weighted float8;
    reserve bigint;
    reserved bigint := 0;
    other_conversations jsonb;
BEGIN
    IF p_row.day > today AND p_row.day = (to_timestamp(moment + window_length) AT TIME ZONE 'UTC')::date THEN
        today := p_row.day;
    ELSIF p_row.day <> today THEN
        messages := 0;
        tokens := 0;
    END IF;

    list := p_charge -> 'holds';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        IF (reservations -> name ->> 1)::bigint < (item ->> 1)::bigint THEN
            reservations := jsonb_set(reservations, ARRAY[name, '1'], item -> 1);
            is_changed := true;
        END IF;
    END LOOP;

    list := p_charge -> 'ends';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        IF reservations ? name THEN
            tokens := tokens + coalesce((item ->> 1)::bigint, (reservations -> name ->> 1)::bigint)
                + coalesce((item ->> 2)::bigint, 0);
            reservations := reservations - name;
            is_changed := true;
        END IF;
    END LOOP;

    list := p_charge -> 'rates';
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        name := item ->> 0;
        rate := (item ->> 1)::float8;
        index := array_position(policies, name);
        window_start := window_starts[index];
        current_count := current_counts[index];
        previous_count := previous_counts[index];
        IF index IS NULL THEN
            IF cardinality(policies) >= 8 THEN
                -- Policies that have been idle make room.
                SELECT coalesce(array_agg(u.p), '{}'), coalesce(array_agg(u.s), '{}'), coalesce(array_agg(u.c), '{}'),
                       coalesce(array_agg(u.b), '{}')
                    INTO policies, window_starts, current_counts, previous_counts
                    FROM unnest(policies, window_starts, current_counts, previous_counts) AS u(p, s, c, b)
                    WHERE u.s > moment - 2 * window_length;
            END IF;
            index := cardinality(policies) + 1;
            policies[index] := name;
            window_start := moment;
            current_count := 0;
            previous_count := 0;
        ELSIF moment >= window_start + 2 * window_length OR moment < window_start - window_length THEN
            window_start := moment;
            previous_count := 0;
            current_count := 0;
        ELSIF moment >= window_start + window_length THEN
            window_start := window_start + window_length;
            previous_count := current_count;
            current_count := 0;
        END IF;
        elapsed := greatest(moment - window_start, 0);
        weighted := previous_count * (1 - elapsed / window_length) + current_count;
        IF weighted + 1 > rate THEN
            IF current_count + 1 > rate THEN
                candidate_wait := window_length - elapsed + window_length * (1 - (rate - 1) / current_count);
            ELSE
                candidate_wait := window_length * (1 - (rate - 1 - current_count) / previous_count) - elapsed;
            END IF;
            IF exceeded IS NULL OR candidate_wait > wait THEN
                exceeded := name;
                wait := candidate_wait;
                bound := rate;
            END IF;
        END IF;
        window_starts[index] := window_start;
        current_counts[index] := current_count + 1;
        previous_counts[index] := previous_count;
        is_changed := true;
        remaining_list := remaining_list || ',[' || i || ',' || greatest(floor(rate - weighted - 1), 0) || ','
            || ceil(window_length - elapsed + CASE WHEN weighted > 0 THEN window_length ELSE 0 END) || ']';
    END LOOP;
    IF exceeded IS NOT NULL THEN
        rejection := jsonb_build_array(exceeded, wait, bound);
        RETURN;
    END IF;

    list := p_charge -> 'opens';
    IF list IS NOT NULL THEN
        reserve := coalesce((p_charge #>> '{quota,reserve}')::bigint, 0);
        -- A reservation that has expired: its reply ended without a charge reaching this table.
        IF reservations <> '{}' THEN
            SELECT coalesce(jsonb_object_agg(r.key, r.value), '{}'), coalesce(sum((r.value ->> 1)::bigint), 0)
                INTO reservations, reserved FROM jsonb_each(reservations) AS r WHERE (r.value ->> 2)::float8 > moment;
        END IF;
    END IF;
    FOR i IN 0 .. coalesce(jsonb_array_length(list), 0) - 1 LOOP
        item := list -> i;
        bound := (p_charge #>> '{quota,at_once}')::float8;
        IF bound > 0 AND reservations <> '{}' THEN
            SELECT jsonb_agg(DISTINCT r.value -> 0) INTO other_conversations
                FROM jsonb_each(reservations) AS r WHERE r.value ->> 0 <> item ->> 1;
            IF jsonb_array_length(other_conversations) >= bound THEN
                rejection := jsonb_build_array('replies_at_once', 5, bound, other_conversations);
                RETURN;
            END IF;
        END IF;
        bound := (p_charge #>> '{quota,messages}')::float8;
        IF bound > 0 AND messages + 1 > bound THEN
            rejection := jsonb_build_array('messages_per_day', extract(epoch FROM (today + 1)::timestamp) - moment,
                bound);
            RETURN;
        END IF;
        bound := (p_charge #>> '{quota,tokens}')::float8;
        IF bound > 0 AND tokens + reserved + reserve > bound THEN
            -- Reserved tokens may be free again when the pending replies have ended.
            rejection := jsonb_build_array('tokens_per_day', CASE WHEN tokens + reserve > bound
                THEN extract(epoch FROM (today + 1)::timestamp) - moment ELSE 5 END, bound);
            RETURN;
        END IF;
        messages := messages + 1;
        reservations := jsonb_set(reservations, ARRAY[item ->> 0], jsonb_build_array(item -> 1, reserve, item -> 2));
        reserved := reserved + reserve;
        is_changed := true;
    END LOOP;

    IF is_changed THEN
        new_state := ROW(p_row.user_id, policies, window_starts, current_counts, previous_counts, today, messages,
            tokens, reservations);
    END IF;
    remaining := ('[' || substr(remaining_list, 2) || ']')::jsonb;
END $$;

-- Returns whether a charge consumes something, or only settles earlier charges. Without a row there is nothing to settle.
CREATE FUNCTION quota_is_consumed(p_charge jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_charge ?| ARRAY['rates', 'opens']
$$;

-- Charges what belongs to no append, such as a file before it is uploaded.
CREATE FUNCTION quota_consume(p_user uuid, p_charge jsonb, OUT remaining jsonb, OUT rejection jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    charged record;
BEGIN
    charged := quota_charge(quota_lock(p_user, true), p_charge);
    remaining := charged.remaining;
    rejection := charged.rejection;
    PERFORM append_charge_store(charged.new_state);
END $$;

-- The functions that the event store calls for the charge of an append. The event store passes `new_state` from
-- `append_charge` or `append_charge_locked` to `append_charge_store` and does not look into it.

-- Locks the user's row and computes the charge of one append. Everything is NULL where nothing is charged.
CREATE FUNCTION append_charge(p_user uuid, p_charge jsonb, p_owner text, p_key text,
    OUT new_state user_quotas, OUT remaining jsonb, OUT rejection jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    locked user_quotas := quota_lock(p_user, quota_is_consumed(p_charge));
    charged record;
BEGIN
    -- After the lock: an earlier append under the same key has ended by now.
    IF locked.user_id IS NOT NULL AND NOT is_command_recorded(p_owner, p_key) THEN
        charged := quota_charge(locked, p_charge);
        new_state := charged.new_state;
        remaining := charged.remaining;
        rejection := charged.rejection;
    END IF;
END $$;

-- Locks the rows of all users that a batch charges, in the order of their ids. Returns the users that have a row.
CREATE FUNCTION append_charges_lock(p_users uuid[], p_charges jsonb[]) RETURNS uuid[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    charged record;
    row_lock user_quotas;
    locked uuid[] := '{}';
BEGIN
    FOR charged IN SELECT u.id, bool_or(quota_is_consumed(u.charge)) AS is_consumed
        FROM unnest(p_users, p_charges) AS u(id, charge) WHERE u.id IS NOT NULL GROUP BY u.id ORDER BY u.id
    LOOP
        row_lock := quota_lock(charged.id, charged.is_consumed);
        IF row_lock.user_id IS NOT NULL THEN
            locked := locked || row_lock.user_id;
        END IF;
    END LOOP;
    RETURN locked;
END $$;

-- Computes the charge of one append of a batch, whose user's row is locked. Reads the row again: an earlier append of
-- the batch may have changed it.
CREATE FUNCTION append_charge_locked(p_user uuid, p_charge jsonb,
    OUT new_state user_quotas, OUT remaining jsonb, OUT rejection jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    locked user_quotas;
    charged record;
BEGIN
    SELECT * INTO locked FROM user_quotas q WHERE q.user_id = p_user;
    charged := quota_charge(locked, p_charge);
    new_state := charged.new_state;
    remaining := charged.remaining;
    rejection := charged.rejection;
END $$;

-- Stores a row that `quota_charge` returned; NULL: there is nothing to store.
CREATE FUNCTION append_charge_store(p_row user_quotas) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF p_row.user_id IS NOT NULL THEN
        UPDATE user_quotas q SET policies = p_row.policies, window_starts = p_row.window_starts,
                current_counts = p_row.current_counts, previous_counts = p_row.previous_counts, day = p_row.day,
                messages = p_row.messages, tokens = p_row.tokens, reservations = p_row.reservations
            WHERE q.user_id = p_row.user_id;
    END IF;
END $$;

-- Takes one from each bucket, at most `p_limits` in `p_windows` seconds, counted like a rate of `quota_charge`. Returns
-- the seconds until a retry makes sense, 0 when it was taken. A rejected request does not count, so that a client that
-- keeps trying is not locked out for ever, and writes nothing. Buckets are locked in the order of their names.
CREATE FUNCTION rate_limit_consume(p_buckets text[], p_limits float8[], p_windows float8[]) RETURNS float8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moment float8;
    item record;
    known rate_limit_buckets;
    elapsed float8;
    weighted float8;
    wait float8 := 0;
BEGIN
    FOR item IN SELECT * FROM unnest(p_buckets, p_limits, p_windows) AS u(bucket, bound, span) ORDER BY bucket LOOP
        LOOP
            SELECT * INTO known FROM rate_limit_buckets b WHERE b.bucket = item.bucket FOR NO KEY UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO rate_limit_buckets (bucket, window_start, current_count, previous_count)
                VALUES (item.bucket, extract(epoch FROM clock_timestamp()), 0, 0) ON CONFLICT (bucket) DO NOTHING;
        END LOOP;
        -- Read after the lock: the transaction that held it may have moved the window.
        moment := extract(epoch FROM clock_timestamp());
        IF moment >= known.window_start + 2 * item.span OR moment < known.window_start - item.span THEN
            known.window_start := moment;
            known.previous_count := 0;
            known.current_count := 0;
        ELSIF moment >= known.window_start + item.span THEN
            known.window_start := known.window_start + item.span;
            known.previous_count := known.current_count;
            known.current_count := 0;
        END IF;
        elapsed := greatest(moment - known.window_start, 0);
        weighted := known.previous_count * (1 - elapsed / item.span) + known.current_count;
        IF weighted + 1 > item.bound THEN
            wait := greatest(wait, 1, CASE WHEN known.current_count + 1 > item.bound
                THEN item.span - elapsed + item.span * (1 - (item.bound - 1) / nullif(known.current_count, 0))
                ELSE item.span * (1 - (item.bound - 1 - known.current_count) / known.previous_count) - elapsed END);
        ELSE
            UPDATE rate_limit_buckets b
                SET window_start = known.window_start, current_count = known.current_count + 1,
                    previous_count = known.previous_count
                WHERE b.bucket = item.bucket;
        END IF;
    END LOOP;
    RETURN wait;
END $$;

REVOKE ALL ON FUNCTION quota_consume, rate_limit_consume FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'verbatim_app') THEN
        GRANT SELECT ON user_quotas TO verbatim_app;
        GRANT SELECT, DELETE ON rate_limit_buckets TO verbatim_app;
        GRANT EXECUTE ON FUNCTION quota_consume, rate_limit_consume TO verbatim_app;
    END IF;
END $$;

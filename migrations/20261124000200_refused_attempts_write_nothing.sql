-- Takes one of each bucket, at most so many in so many seconds; counted like a rate of `allowance_charge`. Gives the seconds
-- after which it is worth trying again, 0 when it was taken. What is refused does not count, or whoever goes on trying would
-- never be let in again, and writes nothing. Buckets are taken in the order of their names.
CREATE OR REPLACE FUNCTION attempt_take(p_buckets text[], p_quotas float8[], p_spans float8[]) RETURNS float8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

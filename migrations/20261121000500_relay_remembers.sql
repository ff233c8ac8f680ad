-- Notes how far the relay has come, and renews its turn. It commits without waiting for the disk: where the stream stands is
-- read from the stream, so a note that a crash takes back costs nothing, and one flush less is one less for commands to
-- wait behind. False: the turn is another's by now.
CREATE FUNCTION relay_remember(
    p_name text, p_holder uuid, p_created text, p_sequence bigint, p_position bigint, p_term interval
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public
AS $$
BEGIN
    -- For this transaction only.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE relays SET stream_created = p_created, last_sequence = p_sequence, position = p_position,
        published_at = clock_timestamp(), held_until = clock_timestamp() + p_term
        WHERE name = p_name AND holder = p_holder;
    RETURN FOUND;
END $$;

-- What the owner of a conversation has read: the last message, and the position of the event that says so (a client that
-- comes back asks for marks after the position that it has).
ALTER TABLE conversations ADD COLUMN read_to uuid, ADD COLUMN read_marked bigint;

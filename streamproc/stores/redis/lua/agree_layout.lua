#!lua flags=allow-oom
-- Writes the shard's layout where there is none, and returns the one in force: pods must agree on it.
--
-- KEYS  1 layout
-- ARGV  name, value, ...
-- Returns [name, value, ...] in force

if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HGETALL', KEYS[1])

#!lua flags=allow-oom
-- Writes the shard's layout where there is none, and returns the one in force: pods must agree on it.
-- Without ARGV it only looks.
--
-- KEYS  1 layout
-- ARGV  name, value, ...
-- Returns [name, value, ...] in force

if #ARGV > 0 and redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HGETALL', KEYS[1])

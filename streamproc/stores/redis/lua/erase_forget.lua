#!lua flags=allow-oom
-- Forgets tombstones that nothing can need any more.
--
-- KEYS  1 erased
-- ARGV  1 start_ms: of newest windows erased before this one
-- Returns the number of tombstones removed

return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])

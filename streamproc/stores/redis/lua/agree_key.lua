#!lua flags=allow-oom
-- Writes the fingerprint of the erasure key where there is none, and returns the one in force: pods must agree on it.
--
-- KEYS  1 layout
-- ARGV  1 fingerprint
-- Returns the fingerprint in force

redis.call('HSETNX', KEYS[1], 'erasure_key', ARGV[1])
return redis.call('HGET', KEYS[1], 'erasure_key')

#!lua flags=allow-oom
-- Writes the fingerprint of the erasure key where there is none, and returns the one in force: pods must agree on it.
--
-- KEYS  1 layout
-- ARGV  1 fingerprint, or '' to write none
-- Returns the fingerprint in force, or '' where there is none

local layout, ours = KEYS[1], ARGV[1]
if ours ~= '' then redis.call('HSETNX', layout, 'erasure_key', ours) end
return redis.call('HGET', layout, 'erasure_key') or ''

#!lua flags=no-writes
-- The time of the server that a shard is on. TIME names no key: in a cluster, a server that has lost the shard to
-- another would answer it just as well.
--
-- KEYS  1 any key of the shard
-- ARGV  none
-- Returns now_ms

local time = redis.call('TIME')
return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

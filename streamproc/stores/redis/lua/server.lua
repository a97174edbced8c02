#!lua flags=no-writes
-- Reads how the server is that a shard is on: its memory, and how far its replicas are. INFO names no key: in a
-- cluster, a server that has lost the shard to another would answer it just as well.
--
-- KEYS  1 any key of the shard
-- ARGV  none
-- Returns [now_ms, info]
--         info  as text, the sections `replication` and `memory`

local time = redis.call('TIME')
return {
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), redis.call('INFO', 'replication', 'memory'),
}

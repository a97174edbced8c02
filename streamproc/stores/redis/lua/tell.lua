#!lua flags=allow-oom
-- Keeps what a pod says of itself, and drops the pods that have been silent for too long: they were killed.
--
-- KEYS  1 pods   2 heard
-- ARGV  1 consumer   2 what it says, '' where it leaves   3 silent_ms
-- Returns [name, ...] of the silent pods dropped

local pods, heard = KEYS[1], KEYS[2]
local consumer, report, silent_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if report == '' then
  redis.call('HDEL', pods, consumer)
  redis.call('ZREM', heard, consumer)
else
  redis.call('HSET', pods, consumer, report)
  redis.call('ZADD', heard, now_ms, consumer)
end
local silent = redis.call('ZRANGEBYSCORE', heard, '-inf', now_ms - silent_ms)
for _, name in ipairs(silent) do
  redis.call('HDEL', pods, name)
  redis.call('ZREM', heard, name)
end
return silent

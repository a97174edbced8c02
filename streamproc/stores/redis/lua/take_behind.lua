#!lua flags=allow-oom
-- Takes sessions whose documents are behind, for one keeper. Whom it does not bring up to date in time, another takes.
--
-- KEYS  1 behind   2 last_errors
-- ARGV  1 limit   2 visibility_ms, after which a session may be taken again
-- Returns [now_ms, until_ms, how many are behind, session, last error, session, ...]; a last error is
--         '<milliseconds> <text>', or '' where none is known

local behind, last_errors = KEYS[1], KEYS[2]
local limit, visibility_ms = ARGV[1], tonumber(ARGV[2])

-- Checks come first: this read fails on a key of the wrong type.
redis.call('HLEN', last_errors)
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answer = { now_ms, now_ms + visibility_ms, redis.call('ZCARD', behind) }
for _, session in ipairs(redis.call('ZRANGEBYSCORE', behind, '-inf', now_ms, 'LIMIT', 0, limit)) do
  redis.call('ZADD', behind, now_ms + visibility_ms, session)
  answer[#answer + 1] = session
  answer[#answer + 1] = redis.call('HGET', last_errors, session) or ''
end
return answer

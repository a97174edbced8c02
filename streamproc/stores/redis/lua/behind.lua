#!lua flags=allow-oom
-- Notes that the documents of sessions are behind: hours of theirs are stored which their totals may not hold yet.
--
-- KEYS  1 behind   2 last_errors
-- ARGV  1 for how long this is kept, in ms, unless more comes
--       2 the sessions, MessagePack: [[session, at_ms, error], ...]
--         at_ms, error: the last error of the hours stored; nil where there is none
-- Returns the number of sessions noted

local behind, last_errors = KEYS[1], KEYS[2]
local kept_ms = ARGV[1]
local sessions = cmsgpack.unpack(ARGV[2])

-- Checks come first: these reads fail on a key of the wrong type.
redis.call('ZCARD', behind)
redis.call('HLEN', last_errors)
for s = 1, #sessions do
  local session, at_ms, error = sessions[s][1], sessions[s][2], sessions[s][3]
  -- Due at once, and taken from whoever is at it: what that one has read may be older than these hours.
  redis.call('ZADD', behind, 0, session)
  if at_ms then
    local known = redis.call('HGET', last_errors, session)
    if not known or tonumber(known:match('^%d+')) < at_ms then
      redis.call('HSET', last_errors, session, string.format('%.0f %s', at_ms, error))
    end
  end
end
redis.call('PEXPIRE', behind, kept_ms)
redis.call('PEXPIRE', last_errors, kept_ms)
return #sessions

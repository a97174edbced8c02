#!lua flags=allow-oom
-- Ends a flush: looks at each window once more and lets go of it.
--
-- KEYS  1 open   2 taken   3 closed   4 erased   then for each window: its segments
-- ARGV  1 now_ms
--       2 until_ms, when this flusher's time with them is up: a window taken until another time is another flusher's
--       3 the windows, MessagePack: [[name, revision, user_hash, start_ms, forgettable_at_ms], ...]
--         revision: the number of segments that the flusher saw, which MongoDB now holds
-- Returns for each window: 'closed', 'open' (it grew meanwhile: flush again), 'gone' (nothing left to flush), 'taken'
--         (by another flusher, who will finish it) or 'erased' (its user was erased meanwhile: delete what was inserted)

local open, taken, closed, erased = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now_ms, until_ms = ARGV[1], tonumber(ARGV[2])
local windows = cmsgpack.unpack(ARGV[3])

redis.call('ZCARD', open)
redis.call('ZCARD', closed)
local answer = {}
for w = 1, #windows do
  local name, revision, user_hash, start_ms, forgettable_at_ms = unpack(windows[w])
  local segments = redis.call('HLEN', KEYS[4 + w])
  local erased_up_to_ms = tonumber(redis.call('ZSCORE', erased, user_hash) or '-1')
  -- What an overtaken flusher stored may not be what is there now, even if as many: Redis may have been rolled back.
  local is_anothers = tonumber(redis.call('ZSCORE', taken, name) or until_ms) ~= until_ms
  if not is_anothers then redis.call('ZREM', taken, name) end
  if start_ms <= erased_up_to_ms then
    answer[w] = 'erased'
  elseif is_anothers then
    answer[w] = 'taken'
  elseif segments == 0 then
    answer[w] = 'gone'
  elseif segments == revision then
    redis.call('ZADD', closed, forgettable_at_ms, name)
    answer[w] = 'closed'
  else
    redis.call('ZADD', open, 'NX', now_ms, name)
    answer[w] = 'open'
  end
end
return answer

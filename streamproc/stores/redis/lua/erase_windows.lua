#!lua flags=allow-oom
-- Marks a user as erased, and removes a page of that user's covered windows. From the mark on, no commit adds one.
--
-- KEYS  1 erased   2 the user's index   3 open   4 taken   5 closed
--       then for each window: its segments, its channel index
-- ARGV  1 user_hash   2 start_ms of the newest window covered   3... name of each window
-- Returns [windows, segments] removed

local erased, of_user, open, taken, closed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local user_hash, covered_start_ms = ARGV[1], ARGV[2]

-- Checks come first: these reads fail on a key of the wrong type.
for k = 1, 5 do redis.call('ZCARD', KEYS[k]) end
local windows, segments = 0, 0
for w = 1, #ARGV - 2 do
  local size = redis.call('HLEN', KEYS[4 + 2 * w])
  redis.call('SCARD', KEYS[5 + 2 * w])
  if size > 0 then windows = windows + 1 end
  segments = segments + size
end

redis.call('ZADD', erased, 'GT', covered_start_ms, user_hash)
for w = 1, #ARGV - 2 do
  local name = ARGV[2 + w]
  redis.call('UNLINK', KEYS[4 + 2 * w])
  redis.call('SREM', KEYS[5 + 2 * w], name)
  for k = 2, 5 do redis.call('ZREM', KEYS[k], name) end
end
return { windows, segments }

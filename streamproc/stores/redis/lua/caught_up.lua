#!lua flags=allow-oom
-- Lets go of sessions whose documents are up to date: of those that are still taken until then, and so by this keeper,
-- with nothing stored since.
--
-- KEYS  1 behind   2 last_errors
-- ARGV  1 until_ms, as it was told when they were taken   2... session
-- Returns how many were let go of

local behind, last_errors = KEYS[1], KEYS[2]
local until_ms = tonumber(ARGV[1])

-- Checks come first: this read fails on a key of the wrong type.
redis.call('HLEN', last_errors)
local let_go = 0
for s = 2, #ARGV do
  if tonumber(redis.call('ZSCORE', behind, ARGV[s]) or '-1') == until_ms then
    redis.call('ZREM', behind, ARGV[s])
    redis.call('HDEL', last_errors, ARGV[s])
    let_go = let_go + 1
  end
end
return let_go

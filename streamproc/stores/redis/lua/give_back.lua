#!lua flags=allow-oom
-- Puts taken windows back into open, due at once: their flusher could not store them.
--
-- KEYS  1 open   2 taken
-- ARGV  1 watermark_ms at which they were taken   2... name
-- Returns the number of windows put back

local open, taken = KEYS[1], KEYS[2]
local put_back = 0
for i = 2, #ARGV do
  if redis.call('ZREM', taken, ARGV[i]) == 1 then
    redis.call('ZADD', open, 'LT', ARGV[1], ARGV[i])
    put_back = put_back + 1
  end
end
return put_back

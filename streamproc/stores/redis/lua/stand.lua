#!lua flags=no-writes
-- Where windows stand, each at one moment: how many segments it has, and whether a flush is still to come. A window that
-- is neither in open nor in taken is stored with all that it has.
--
-- KEYS  1 open   2 taken   then for each window: its segments
-- ARGV  name of each window
-- Returns for each window, one after the other: its number of segments, and 1 if it is in open or taken, else 0

local open, taken = KEYS[1], KEYS[2]
local answer = {}
for w = 1, #ARGV do
  answer[2 * w - 1] = redis.call('HLEN', KEYS[2 + w])
  answer[2 * w] = (redis.call('ZSCORE', open, ARGV[w]) or redis.call('ZSCORE', taken, ARGV[w])) and 1 or 0
end
return answer

#!lua flags=allow-oom
-- Forgets closed windows whose measurement is stored: raises the mark, then removes detail and index entries.
-- Below the mark every entry is a duplicate: whatever comes for such a window was committed before. So the low
-- watermark is looked at once more: Redis may have failed over since somebody listed these windows, and a replica may
-- have entries pending again that the primary had committed.
--
-- KEYS  1 open   2 taken   3 closed   4 ledger   5 stream
--       then for each window: its segments, channel index, user index
-- ARGV  1 now_ms
--       2 the windows, MessagePack: [[name, stored_revision, end_ms], ...]; stored_revision 0 where none is stored
--       3 group
-- Returns for each window: 'forgotten', 'open' (more segments than stored: to be flushed again) or 'busy'
-- use low_watermark

local open, taken, closed, ledger, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now_ms, group = ARGV[1], ARGV[3]
local windows = cmsgpack.unpack(ARGV[2])

local at = survey_stream(stream, group)
local mark = tonumber(redis.call('HGET', ledger, 'mark') or '-1')
local verdicts = {}
for w = 1, #windows do
  local name, stored_revision, end_ms = unpack(windows[w])
  local forgettable_at_ms = tonumber(redis.call('ZSCORE', closed, name) or math.huge)
  if redis.call('ZSCORE', open, name) or redis.call('ZSCORE', taken, name) then
    verdicts[w] = 'busy'
  elseif not at or at.watermark_ms <= forgettable_at_ms then
    verdicts[w] = 'busy'
  elseif redis.call('HLEN', KEYS[3 + 3 * w]) > stored_revision then
    verdicts[w] = 'open'
  else
    verdicts[w] = 'forgotten'
    mark = math.max(mark, end_ms)
  end
end

if mark >= 0 then redis.call('HSET', ledger, 'mark', string.format('%.0f', mark)) end
for w = 1, #windows do
  local name = windows[w][1]
  if verdicts[w] == 'forgotten' then
    redis.call('UNLINK', KEYS[3 + 3 * w])
    redis.call('SREM', KEYS[4 + 3 * w], name)
    redis.call('ZREM', KEYS[5 + 3 * w], name)
    redis.call('ZREM', closed, name)
  elseif verdicts[w] == 'open' then
    redis.call('ZREM', closed, name)
    redis.call('ZADD', open, 'NX', now_ms, name)
  end
end
return verdicts

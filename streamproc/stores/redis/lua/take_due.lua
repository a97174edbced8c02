#!lua flags=allow-oom
-- Moves due windows from open to taken, for one flusher. First puts back what an earlier flusher left behind.
--
-- KEYS  1 stream   2 open   3 taken
-- ARGV  1 group   2 limit   3 visibility_ms, after which a taken window goes back
-- Returns [now_ms, watermark_ms, name, ...]; [] where there is no group, hence no watermark: nothing is due
-- use low_watermark

local stream, open, taken = KEYS[1], KEYS[2], KEYS[3]
local group, limit, visibility_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])

local at = survey_stream(stream, group)
if not at then return {} end

for _, name in ipairs(redis.call('ZRANGEBYSCORE', taken, '-inf', at.now_ms, 'LIMIT', 0, limit)) do
  redis.call('ZREM', taken, name)
  -- It was due once, so it is due now; LT, as a late entry may meanwhile have put it to a later time.
  redis.call('ZADD', open, 'LT', at.watermark_ms, name)
end

local answer = { at.now_ms, at.watermark_ms }
for _, name in ipairs(redis.call('ZRANGEBYSCORE', open, '-inf', at.watermark_ms, 'LIMIT', 0, limit)) do
  redis.call('ZREM', open, name)
  redis.call('ZADD', taken, at.now_ms + visibility_ms, name)
  answer[#answer + 1] = name
end
return answer

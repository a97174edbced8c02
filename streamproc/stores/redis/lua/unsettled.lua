#!lua flags=no-writes
-- Where the low watermark is, and of which hours windows are still to be flushed, at one moment. A window moves to and fro
-- between open and taken: two looks, one after the other, could miss it in both.
--
-- KEYS  1 stream   2 open   3 taken
-- ARGV  1 group
-- Returns [watermark_ms, name, ...], one window's name for each hour; [] where there is no group, hence no watermark
-- use low_watermark

local at = survey_stream(KEYS[1], ARGV[1])
if not at then return {} end
local answer, seen = { at.watermark_ms }, {}
for k = 2, 3 do
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k], '-inf', '+inf')) do
    local hour = name:match('^[^:]*')
    if not seen[hour] then
      seen[hour] = true
      answer[#answer + 1] = name
    end
  end
end
return answer

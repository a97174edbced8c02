#!lua flags=allow-oom
-- Trims the stream, never past the low watermark nor the retention, and old dead letters.
--
-- KEYS  1 stream   2 dead
-- ARGV  1 group   2 retention_ms   3 dead_letter_retention_ms
-- Returns [entries removed, dead letters removed]
-- use low_watermark

local stream, dead_letters = KEYS[1], KEYS[2]
local group, retention_ms, dead_letter_retention_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local at = survey_stream(stream, group)
if not at then return { 0, 0 } end
local keep_from_ms = math.min(at.watermark_ms, at.now_ms - retention_ms)
local keep_dead_from_ms = at.now_ms - dead_letter_retention_ms
return {
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', math.max(0, keep_from_ms))),
  redis.call('XTRIM', dead_letters, 'MINID', '~', string.format('%.0f', math.max(0, keep_dead_from_ms))),
}

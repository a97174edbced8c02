#!lua flags=no-writes
-- Lists closed windows to which nothing can be added any more: the low watermark has passed end + horizon.
--
-- KEYS  1 stream   2 closed
-- ARGV  1 group   2 limit
-- Returns [name, ...]; [] where there is no group, hence no watermark
-- use low_watermark

local at = survey_stream(KEYS[1], ARGV[1])
if not at then return {} end
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', at.watermark_ms), 'LIMIT', 0, ARGV[2])

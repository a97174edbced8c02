-- Where the stream stands. Everything added before the low watermark is committed.
--
-- Returns a table, or nil where stream or group is missing: then there is no watermark, and nothing may be
-- closed or forgotten.
--   now_ms         Redis' time
--   watermark_ms   the smallest of: oldest pending entry, first undelivered entry, now
--   pending, oldest_pending_id, last_delivered_id, first_undelivered_id     ids are '' where there is none
-- XINFO GROUPS' own `lag` is not used: it is null or wrong after trimming before Redis 7.4.2.
local function survey_stream(stream, group)
  if redis.call('EXISTS', stream) == 0 then return nil end
  local last_delivered_id = nil
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = {}
    for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
    if info['name'] == group then last_delivered_id = info['last-delivered-id'] end
  end
  if not last_delivered_id then return nil end

  local function ms_of(id) return tonumber(id:match('^%d+')) end
  local time = redis.call('TIME')
  local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local watermark_ms = now_ms
  local pending = redis.call('XPENDING', stream, group)
  local oldest_pending_id = pending[2] or ''
  if oldest_pending_id ~= '' then watermark_ms = math.min(watermark_ms, ms_of(oldest_pending_id)) end
  local undelivered = redis.call('XRANGE', stream, '(' .. last_delivered_id, '+', 'COUNT', 1)
  local first_undelivered_id = undelivered[1] and undelivered[1][1] or ''
  if first_undelivered_id ~= '' then watermark_ms = math.min(watermark_ms, ms_of(first_undelivered_id)) end
  return {
    now_ms = now_ms, watermark_ms = watermark_ms, pending = pending[1], oldest_pending_id = oldest_pending_id,
    last_delivered_id = last_delivered_id, first_undelivered_id = first_undelivered_id,
  }
end

#!lua flags=no-writes
-- Reads where a shard stands, in one consistent look: for metrics, readiness, status and the ledger's balance.
--
-- KEYS  1 stream   2 open   3 taken   4 closed   5 ledger   6 dead
-- ARGV  1 group   2 the most undelivered entries to count
-- Returns [now_ms, watermark_ms, pending, oldest_pending_id, first_undelivered_id, undelivered, entries_added, length,
--          open, due, first_due_ms, taken, closed, dead, consumers, [term, value, ...]]; [] where there is no group
--         undelivered  counted entry by entry; -1 where there are more than ARGV[2]
--         due          windows in open that the low watermark has passed
--         first_due_ms low watermark at which the first of them was due; '' where there is none
-- use low_watermark

local stream, open, taken, closed, ledger, dead_letters = unpack(KEYS)
local group, most = ARGV[1], tonumber(ARGV[2])

local at = survey_stream(stream, group)
if not at then return {} end
local undelivered = 0
if at.first_undelivered_id ~= '' then
  undelivered = #redis.call('XRANGE', stream, at.first_undelivered_id, '+', 'COUNT', most + 1)
  if undelivered > most then undelivered = -1 end
end
local due = redis.call('ZCOUNT', open, '-inf', at.watermark_ms)
local first_due_ms = ''
if due > 0 then first_due_ms = redis.call('ZRANGEBYSCORE', open, '-inf', at.watermark_ms, 'WITHSCORES', 'LIMIT', 0, 1)[2] end
local info = {}
local fields = redis.call('XINFO', 'STREAM', stream)
for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
return {
  at.now_ms, at.watermark_ms, at.pending, at.oldest_pending_id, at.first_undelivered_id, undelivered,
  info['entries-added'], info['length'],
  redis.call('ZCARD', open), due, first_due_ms,
  redis.call('ZCARD', taken), redis.call('ZCARD', closed), redis.call('XLEN', dead_letters),
  #redis.call('XINFO', 'CONSUMERS', stream, group), redis.call('HGETALL', ledger),
}

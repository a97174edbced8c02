#!lua flags=allow-oom
-- Creates stream and group where they are missing, from the first entry on, and opens a new epoch of the ledger.
--
-- KEYS  1 stream   2 ledger
-- ARGV  1 group
-- Returns the reason of the new epoch, or '' where the group was there: 'first start', 'stream missing' or
--         'group missing'. The closed epoch stays in the ledger as JSON, field epoch:<number>.

local stream, ledger, group = KEYS[1], KEYS[2], ARGV[1]
local TERMS = { 'counted', 'duplicates', 'dead_lettered', 'erased', 'forwarded', 'lost', 'epoch_base', 'epoch_reason' }

local had_stream = redis.call('EXISTS', stream) == 1
if had_stream then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if fields[2] == group then return '' end
  end
end

local epoch = tonumber(redis.call('HGET', ledger, 'epoch') or '0')
local reason = 'first start'
if epoch > 0 then
  reason = had_stream and 'group missing' or 'stream missing'
  local ended = {}
  for _, term in ipairs(TERMS) do ended[term] = redis.call('HGET', ledger, term) or '0' end
  redis.call('HSET', ledger, 'epoch:' .. epoch, cjson.encode(ended))
end

redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
local info = {}
local fields = redis.call('XINFO', 'STREAM', stream)
for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
for _, term in ipairs(TERMS) do redis.call('HDEL', ledger, term) end
redis.call('HSET', ledger, 'epoch', epoch + 1, 'epoch_base', info['entries-added'] - info['length'], 'epoch_reason', reason)
return reason

#!lua flags=allow-oom
-- Creates stream and group where they are missing, from the first entry on, and begins a new epoch of the ledger.
--
-- KEYS  1 stream   2 ledger
-- ARGV  1 group
-- Returns the reason of the new epoch, or '' where the group was there: 'first start', 'stream missing' or
--         'group missing'
-- use epoch

local stream, ledger, group = KEYS[1], KEYS[2], ARGV[1]

local had_stream = redis.call('EXISTS', stream) == 1
if had_stream then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if fields[2] == group then return '' end
  end
end

local reason = 'first start'
if redis.call('HGET', ledger, 'epoch') then reason = had_stream and 'group missing' or 'stream missing' end

redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
local info = {}
local fields = redis.call('XINFO', 'STREAM', stream)
for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
begin_epoch(ledger, info['entries-added'] - info['length'], reason, {})
return reason

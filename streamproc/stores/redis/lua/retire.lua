#!lua flags=allow-oom
-- Removes consumers that have gone: idle for long and with nothing pending. XGROUP DELCONSUMER silently discards
-- pending entries (https://redis.io/docs/latest/commands/xgroup-delconsumer/), so both are checked here, in one step.
--
-- KEYS  1 stream
-- ARGV  1 group   2 idle_ms   3 the only consumer to look at, or '' for all
-- Returns [name, ...] of the consumers removed

local stream, group, idle_ms, only = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local removed = {}
local consumers = {}
if redis.call('EXISTS', stream) == 1 then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if fields[2] == group then consumers = redis.call('XINFO', 'CONSUMERS', stream, group) end
  end
end
for _, fields in ipairs(consumers) do
  local info = {}
  for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
  if info['pending'] == 0 and info['idle'] >= idle_ms and (only == '' or info['name'] == only) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, info['name'])
    removed[#removed + 1] = info['name']
  end
end
return removed

#!lua flags=allow-oom
-- Takes over entries that another consumer left pending too long, and counts those that a stranger deleted.
-- XAUTOCLAIM drops a deleted entry from the pending list and tells its id once, in its third answer: were this no
-- script, a lost reply would lose the count (https://redis.io/docs/latest/commands/xautoclaim/).
--
-- KEYS  1 stream   2 ledger
-- ARGV  1 group   2 consumer   3 idle_ms   4 cursor, carried on from call to call   5 count
-- Returns [next cursor, now_ms, entries, deliveries, lost]
--         entries     [[id, [name, value, ...]], ...]
--         deliveries  [count, ...], how often each entry was delivered

local stream, ledger = KEYS[1], KEYS[2]
local group, consumer, idle_ms, cursor, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

redis.call('HLEN', ledger)
local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, idle_ms, cursor, 'COUNT', count)
local entries, deleted = claimed[2], claimed[3]
if #deleted > 0 then redis.call('HINCRBY', ledger, 'lost', #deleted) end

local deliveries = {}
if #entries > 0 then
  local times_delivered = {}
  -- All claimed entries are this consumer's now; others of its own may lie between them.
  local own = redis.call('XPENDING', stream, group, entries[1][1], entries[#entries][1], 7000, consumer)
  for _, pending in ipairs(own) do times_delivered[pending[1]] = pending[4] end
  for i, entry in ipairs(entries) do deliveries[i] = times_delivered[entry[1]] or 1 end
end

local time = redis.call('TIME')
return { claimed[1], tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), entries, deliveries, #deleted }

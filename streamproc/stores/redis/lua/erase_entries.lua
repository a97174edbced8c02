#!lua flags=allow-oom
-- Deletes entries of the stream that have been processed: delivered, and not pending. The others are left: whoever
-- commits them refuses them, and the ledger counts that. Without a group nothing has been processed.
--
-- KEYS  1 stream
-- ARGV  1 group   2... entry ids
-- Returns [1 or 0, ...] for each id: whether it was deleted

local stream, group = KEYS[1], ARGV[1]

local function parts(id)
  local ms, sequence = id:match('^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local deleted = {}
for i = 2, #ARGV do deleted[i - 1] = 0 end
if redis.call('EXISTS', stream) == 0 then return deleted end
local last_ms, last_sequence = nil, nil
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local info = {}
  for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
  if info['name'] == group then last_ms, last_sequence = parts(info['last-delivered-id']) end
end
if not last_ms then return deleted end

for i = 2, #ARGV do
  local ms, sequence = parts(ARGV[i])
  local delivered = ms < last_ms or (ms == last_ms and sequence <= last_sequence)
  if delivered and #redis.call('XPENDING', stream, group, ARGV[i], ARGV[i], 1) == 0 then
    deleted[i - 1] = redis.call('XDEL', stream, ARGV[i])
  end
end
return deleted

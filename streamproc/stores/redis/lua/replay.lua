#!lua flags=allow-oom
-- Puts dead letters back into the stream, each together with its removal. A letter that is gone is passed over, so
-- running it again adds nothing.
--
-- KEYS  1 stream   2 dead
-- ARGV  for each letter: its id, the payload of the new entry
-- Returns [entry_id, ...], the id of each new entry; '' where the letter was gone

local stream, dead_letters = KEYS[1], KEYS[2]

-- Checks come first: a script that fails after its first write is not rolled back. This read fails on a key of the
-- wrong type.
redis.call('XLEN', stream)
local added = {}
for i = 1, #ARGV, 2 do
  local id = ARGV[i]
  local entry_id = ''
  if #redis.call('XRANGE', dead_letters, id, id) == 1 then
    entry_id = redis.call('XADD', stream, '*', 'data', ARGV[i + 1])
    redis.call('XDEL', dead_letters, id)
  end
  added[#added + 1] = entry_id
end
return added

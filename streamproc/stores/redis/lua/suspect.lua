#!lua flags=allow-oom
-- Marks an entry that is to be tried alone, as it may have killed its consumers. The commit removes the marks.
-- One that is not pending any more gets none: nobody would remove it.
--
-- KEYS  1 stream   2 suspects
-- ARGV  1 group   2 entry_id   3 consumer
-- Returns how many other consumers marked it before, and have not committed it

local stream, suspects = KEYS[1], KEYS[2]
local group, entry_id, consumer = ARGV[1], ARGV[2], ARGV[3]

if #redis.call('XPENDING', stream, group, entry_id, entry_id, 1) == 0 then return 0 end
local marks = redis.call('HGET', suspects, entry_id) or ''
local others, ours = 0, false
for name in marks:gmatch('[^\n]+') do
  if name == consumer then ours = true else others = others + 1 end
end
if not ours then redis.call('HSET', suspects, entry_id, marks .. consumer .. '\n') end
return others

#!lua flags=allow-oom
-- Tells one pod to apply all erasures again: when the last time is too long ago, or when this is another Redis than
-- then. A restored, promoted or restarted Redis has a new replication id, and may have forgotten who was erased; one
-- that was emptied has forgotten this turn, too (https://redis.io/docs/latest/operate/oss_and_stack/management/replication/).
--
-- KEYS  1 turn
-- ARGV  1 for how long the turn is taken, in ms   2 '' to take it, else the replication id that the caller was told:
--         the turn is done
-- Returns the replication id where the turn is the caller's, else ''

local turn, ms, done = KEYS[1], ARGV[1], ARGV[2]

local id = redis.call('INFO', 'replication'):match('master_replid:(%x+)')
local of = redis.call('GET', turn)
if done ~= '' then
  -- Should Redis have been replaced or emptied meanwhile, then the next pod takes the turn.
  if of == id and done == id then redis.call('SET', turn, id, 'PX', ms) end
  return ''
end
if of == id then return '' end
redis.call('SET', turn, id, 'PX', ms)
return id

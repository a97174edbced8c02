#!lua flags=allow-oom
-- Marks an entry before it is processed alone, for it may have killed its consumer. The commit removes the mark.
--
-- KEYS  1 suspects
-- ARGV  1 entry_id   2 consumer
-- Returns the consumer that marked it before, or '' where this is the first mark

local before = redis.call('HGET', KEYS[1], ARGV[1])
if before then return before end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ''

#!lua flags=allow-oom
-- Ends an epoch of the ledger in which entries disappeared, and begins one that balances. What is missing stays on
-- record in the ended one, with a note.
--
-- KEYS  1 stream   2 ledger
-- ARGV  1 group   2 epoch to end   3 the most undelivered entries to count   4 note
-- Returns 1; 0 where there is no group, or another epoch; -1 where there are more than ARGV[3]: nothing is changed
-- use low_watermark
-- use epoch

local stream, ledger = KEYS[1], KEYS[2]
local group, epoch, most, note = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local at = survey_stream(stream, group)
if not at or redis.call('HGET', ledger, 'epoch') ~= epoch then return 0 end
local undelivered = 0
if at.first_undelivered_id ~= '' then
  undelivered = #redis.call('XRANGE', stream, at.first_undelivered_id, '+', 'COUNT', most + 1)
  if undelivered > most then return -1 end
end
local info = {}
local fields = redis.call('XINFO', 'STREAM', stream)
for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end

local function whole(number) return string.format('%.0f', number) end
begin_epoch(ledger, whole(info['entries-added'] - at.pending - undelivered), 'written off', {
  note = note, at = whole(at.now_ms),
  entries_added = whole(info['entries-added']), pending = whole(at.pending), undelivered = whole(undelivered),
})
return 1

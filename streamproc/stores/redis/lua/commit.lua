#!lua flags=allow-oom
-- Commits a batch: counts each segment once, writes dead letters, acknowledges. What is refused of an
-- erased user is deleted as well.
-- Running it again changes nothing: a counted segment is then a duplicate, and nothing is left to acknowledge.
--
-- KEYS  1 stream   2 open   3 closed   4 ledger   5 dead   6 erased   7 suspects
--       then the segments of each window
--       then for each window that may be new: its channel index, its user index
-- ARGV  1 group
--       2 the batch, MessagePack: [windows, entry_ids, segment_ids, details, dead, forwarded, lost]
--         window   [name, start_ms, due_ms, user_hash, entries, index]
--                  entries  how many of the batch's are its own: those of the first window come first
--                  index    where in KEYS its channel index is; 0 where its segments are known to be there
--         dead     [entry_id, reason, detail, user_hash, start_ms]; user_hash '' where unknown
--         forwarded, lost  [entry_id, ...]
--       3... the payload of each dead letter: any bytes, which MessagePack text may not be
-- Returns [acknowledged, uncounted, dead_written], or with nothing done [unindexed]
--         acknowledged  [counted, duplicates, dead_lettered, erased, forwarded, lost]
--         uncounted     [position, ...] from 1, of the entries that did not count
--         dead_written  [position, ...] from 1, of the dead letters written
--         unindexed     [window, ...] from 1: these are new after all, so their indexes are needed

local stream, open, closed, ledger, dead_letters, erased, suspects =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local SEGMENTS = 7
local group = ARGV[1]
local windows, entry_ids, segment_ids, details, dead, forwarded, lost = unpack(cmsgpack.unpack(ARGV[2]))

-- Checks come first: a script that fails after its first write is not rolled back. These reads fail on a key
-- of the wrong type.
redis.call('XLEN', stream)
redis.call('ZCARD', open)
redis.call('ZCARD', closed)
redis.call('XLEN', dead_letters)
local mark = tonumber(redis.call('HGET', ledger, 'mark') or '-1')
local anyone_erased = redis.call('ZCARD', erased) > 0
local anything_suspect = redis.call('HLEN', suspects) > 0

local function is_erased(user_hash, start_ms)
  if not anyone_erased or user_hash == '' then return false end
  local up_to_ms = redis.call('ZSCORE', erased, user_hash)
  return up_to_ms and start_ms <= tonumber(up_to_ms)
end

local counted_ids, duplicate_ids, erased_ids, uncounted = {}, {}, {}, {}
local refused, is_new, unindexed = {}, {}, {}
for w = 1, #windows do
  local window = windows[w]
  local start_ms, index = window[2], window[6]
  if is_erased(window[4], start_ms) then
    refused[w] = erased_ids
  elseif start_ms < mark then
    refused[w] = duplicate_ids
  elseif redis.call('HLEN', KEYS[SEGMENTS + w]) == 0 then
    if index == 0 then
      unindexed[#unindexed + 1] = w
    else
      redis.call('SCARD', KEYS[index])
      redis.call('ZCARD', KEYS[index + 1])
      is_new[w] = true
    end
  end
end
if #unindexed > 0 then return { unindexed } end

local function set_aside(ids, position)
  ids[#ids + 1] = entry_ids[position]
  uncounted[#uncounted + 1] = position
end

local due, names = {}, {}
local last = 0
for w = 1, #windows do
  local name, start_ms, due_ms, _, entries, index = unpack(windows[w])
  local first, before = last + 1, #counted_ids
  last = last + entries
  if refused[w] then
    for position = first, last do set_aside(refused[w], position) end
  else
    local segments = KEYS[SEGMENTS + w]
    if is_new[w] then
      redis.call('SADD', KEYS[index], name)
      redis.call('ZADD', KEYS[index + 1], start_ms, name)
    end
    for position = first, last do
      if redis.call('HSETNX', segments, segment_ids[position], details[position]) == 1 then
        counted_ids[#counted_ids + 1] = entry_ids[position]
      else
        set_aside(duplicate_ids, position)
      end
    end
  end
  if #counted_ids > before then
    due[#due + 1] = due_ms
    due[#due + 1] = name
    names[#names + 1] = name
  end
end
if #names > 0 then
  redis.call('ZADD', open, 'NX', unpack(due))
  redis.call('ZREM', closed, unpack(names))
end

-- XACK says what this batch still had to say: the ledger counts that, so a repeated batch counts nothing.
local function acknowledge(ids, term)
  if #ids == 0 then return 0 end
  if anything_suspect then redis.call('HDEL', suspects, unpack(ids)) end
  local acknowledged = redis.call('XACK', stream, group, unpack(ids))
  if acknowledged > 0 then redis.call('HINCRBY', ledger, term, acknowledged) end
  return acknowledged
end

-- Of an erased user nothing is to stay, the entry itself included; but only where it is acknowledged here: an entry
-- that was not pending may still have to be delivered, to a group that was made again.
local function refuse(ids)
  local refused = 0
  for _, id in ipairs(ids) do
    if acknowledge({ id }, 'erased') == 1 then
      redis.call('XDEL', stream, id)
      refused = refused + 1
    end
  end
  return refused
end

local dead_written = {}
local time = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
for d = 1, #dead do
  local entry_id, reason, detail, user_hash, start_ms = unpack(dead[d])
  if anything_suspect then redis.call('HDEL', suspects, entry_id) end
  if is_erased(user_hash, start_ms) then
    erased_ids[#erased_ids + 1] = entry_id
  elseif redis.call('XACK', stream, group, entry_id) == 1 then
    redis.call('XADD', dead_letters, '*', 'entry_id', entry_id, 'reason', reason, 'detail', detail,
      'payload', ARGV[2 + d], 'at', now_ms)
    dead_written[#dead_written + 1] = d
  end
end
if #dead_written > 0 then redis.call('HINCRBY', ledger, 'dead_lettered', #dead_written) end

return {
  {
    acknowledge(counted_ids, 'counted'),
    acknowledge(duplicate_ids, 'duplicates'),
    #dead_written,
    refuse(erased_ids),
    acknowledge(forwarded, 'forwarded'),
    acknowledge(lost, 'lost'),
  },
  uncounted,
  dead_written,
}

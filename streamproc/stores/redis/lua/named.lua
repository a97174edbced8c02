#!lua flags=no-writes
-- The windows of these sorted sets whose names match, all sets seen at one moment: one that moves between them is found.
--
-- KEYS  sorted sets of window names
-- ARGV  1 pattern, as SCAN takes it   2 most: of more names than so many this is too slow, as everyone waits for it
-- Returns [name, ...], where one that is in several sets comes several times; or nil if there are more than `most`

local pattern, most = ARGV[1], tonumber(ARGV[2])

local names = 0
for k = 1, #KEYS do names = names + redis.call('ZCARD', KEYS[k]) end
if names > most then return false end

local answer = {}
for k = 1, #KEYS do
  local cursor = '0'
  repeat
    local page = redis.call('ZSCAN', KEYS[k], cursor, 'MATCH', pattern, 'COUNT', most)
    cursor = page[1]
    for n = 1, #page[2], 2 do answer[#answer + 1] = page[2][n] end
  until cursor == '0'
end
return answer

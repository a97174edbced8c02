#!lua flags=no-writes
-- Which commands may the user who runs this not run? Runs none of them, and touches no key.
-- https://redis.io/docs/latest/develop/programmability/lua-api/#redis.acl_check_cmd
--
-- KEYS  none: those named in ARGV are only names here
-- ARGV  1 commands with their arguments, as JSON: [["XACK", key, ...], ...]
-- Returns [number, ...] of the commands that are denied, from 0

local denied = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then denied[#denied + 1] = i - 1 end
end
return denied

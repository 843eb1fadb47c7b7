-- The vendor said "too many calls": nobody calls before `until`.
-- KEYS: blocked (string)
-- ARGV: now ('' = the server's time), how long in ms
-- Returns: until when the window is full, ms
--@include _clock.lua
--@include _window.lua
local until_ms = clock_ms(ARGV[1]) + tonumber(ARGV[2])
local before = read_block(KEYS[1])
if before > until_ms then
  return whole(before)
end
redis.call('SET', KEYS[1], whole(until_ms) .. ':blocked', 'PX', 86400000)
return whole(until_ms)

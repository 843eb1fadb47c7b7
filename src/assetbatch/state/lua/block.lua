-- The vendor said "too many calls": nobody calls before `until`.
-- KEYS: blocked (string)
-- ARGV: now ('' = the server's time), how long in ms
-- Returns: until when the window is full, ms
--@include _clock.lua
local until_ms = clock_ms(ARGV[1]) + tonumber(ARGV[2])
until_ms = math.max(until_ms, tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], whole(until_ms), 'PX', 86400000)
return whole(until_ms)

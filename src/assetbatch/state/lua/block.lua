-- The provider said "too many calls": nobody calls before `until`.
-- KEYS: blocked (string)
-- ARGV: now ('' = the server's time), how long in ms
-- Returns: until when the window is full, ms
--@include _clock.lua
--@include _window.lua
return whole(block_for(KEYS[1], clock_ms(ARGV[1]), tonumber(ARGV[2]), 'blocked'))

-- A call was certainly never sent: its slot is free again, and nobody is kept apart from it. What was settled stays: its
-- call was made.
-- KEYS: calls (zset), last_grant (string)
-- ARGV: now ('' = the server's time), call id
--@include _clock.lua
local latest = redis.call('ZSCORE', KEYS[1], ARGV[2])
if latest and tonumber(latest) > clock_ms(ARGV[1]) + 1 then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2])
end

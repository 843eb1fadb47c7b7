-- Asks the window for one call.
-- KEYS: calls (zset), blocked (string), reservation (hash)
-- ARGV: now ('' = the server's time), call id, limit, window ms, hold ms, kind ('priority'|'queue')
-- Returns: {1} granted; {0, moment to come back at, reason ('window'|'blocked'|'reserved'), now} refused
--@include _clock.lua
--@include _window.lua
local now = clock_ms(ARGV[1])
local w = {
  calls = KEYS[1], blocked = KEYS[2], reservation = KEYS[3],
  limit = tonumber(ARGV[3]), window = tonumber(ARGV[4]), hold = tonumber(ARGV[5]), kind = ARGV[6],
}
local retry_at, reason = grant(w, now, ARGV[2])
if retry_at then
  return { 0, whole(retry_at), reason, whole(now) }
end
return { 1 }

-- The log of this server is believed from now on; where calls may be missing in it, as if it were full.
-- KEYS: blocked (string), origin (string)
-- ARGV: now ('' = the server's time), the server's name ('' = its run id), for how long nobody calls, ms
-- Returns: until when nobody calls, ms ('0': nothing is missing)
--@include _clock.lua
--@include _window.lua
local until_ms = read_block(KEYS[1])
local here = server_name(ARGV[2])
if redis.call('GET', KEYS[2]) ~= here then -- else another process was faster
  if tonumber(ARGV[3]) > 0 then
    until_ms = math.max(until_ms, clock_ms(ARGV[1]) + tonumber(ARGV[3]))
    redis.call('SET', KEYS[1], whole(until_ms) .. ':lost', 'PX', 86400000)
  end
  redis.call('SET', KEYS[2], here)
end
return whole(until_ms)

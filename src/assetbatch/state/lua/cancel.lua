-- Free the slot of a call that was certainly never sent; no later call is kept apart from it. The entry of a completed
-- call stays: that call was made.
-- KEYS: calls (zset), last_grant (string)
-- ARGV: options { now_ms }, call id
--@include _clock.lua
local calls_key, last_grant_key = KEYS[1], KEYS[2]
local options, call_id = cmsgpack.unpack(ARGV[1]), ARGV[2]
local latest = redis.call('ZSCORE', calls_key, call_id)
if latest and tonumber(latest) > clock_ms(options) + 1 then
  redis.call('ZREM', calls_key, call_id)
  redis.call('DEL', last_grant_key)
end

-- Take one of a number of places in a lock, for a limited time: the place of a dead holder ends by itself.
-- KEYS: lock (zset, member = token ':' life ms, score = moment (ms) at which the place ends)
-- ARGV: options { now_ms, life_ms }, token, number of places
-- Returns: 1 where this token has a place (since before, or from now on), 0 where others have all of them
--@include _clock.lua
local lock_key = KEYS[1]
local options, token, places = cmsgpack.unpack(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = clock_ms(options)
local member = token .. ':' .. whole(options.life_ms)
redis.call('ZREMRANGEBYSCORE', lock_key, '-inf', whole(now))
-- No place can end later than its own life from now: if one does, the server's clock was set back.
for _, other in ipairs(redis.call('ZRANGE', lock_key, 0, -1)) do
  local life_ms = tonumber(string.match(other, ':(%d+)$') or options.life_ms)
  redis.call('ZADD', lock_key, 'LT', whole(now + life_ms), other)
end
if redis.call('ZSCORE', lock_key, member) then
  return 1
end
if redis.call('ZCARD', lock_key) >= places then
  return 0
end
redis.call('ZADD', lock_key, whole(now + options.life_ms), member)
redis.call('PEXPIRE', lock_key, 86400000)
return 1

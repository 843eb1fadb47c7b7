-- One of at most `n` holders of a lock, until a bound: a dead holder's place ends by itself.
-- KEYS: lock (zset, member = token ':' bound ms, score = moment (ms) at which the place ends)
-- ARGV: now ('' = the server's time), token, n, bound ms
-- Returns: 1 held (by this token since before, or from now on), 0 taken by others
--@include _clock.lua
local now = clock_ms(ARGV[1])
local member = ARGV[2] .. ':' .. ARGV[4]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
-- No place can end later than its own bound from now: if one does, the server's clock was set back.
for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local bound_ms = tonumber(string.match(other, ':(%d+)$') or ARGV[4])
  redis.call('ZADD', KEYS[1], 'LT', whole(now + bound_ms), other)
end
if redis.call('ZSCORE', KEYS[1], member) then
  return 1
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[4])), member)
redis.call('PEXPIRE', KEYS[1], 86400000)
return 1

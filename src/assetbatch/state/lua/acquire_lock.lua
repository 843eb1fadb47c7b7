-- One of at most `n` holders of a lock, until a bound: a dead holder's place ends by itself.
-- KEYS: lock (zset, member = token, score = moment (ms) at which the place ends)
-- ARGV: now ('' = the server's time), token, n, bound ms
-- Returns: 1 held, 0 taken by others
--@include _clock.lua
local now = clock_ms(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[4])), ARGV[2])
redis.call('PEXPIRE', KEYS[1], 86400000)
return 1

-- The answer of a call is in (or its failure): its entry is dated to this moment, rounded up, and `arrival` ms more
-- where it may still be under way. Never makes an entry leave earlier than the truth: the call arrived before its
-- answer came.
-- KEYS: calls (zset)
-- ARGV: now ('' = the server's time), call id, arrival (ms)
--@include _clock.lua
redis.call('ZADD', KEYS[1], whole(clock_ms(ARGV[1]) + 1 + tonumber(ARGV[3])), ARGV[2])

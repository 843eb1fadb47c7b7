-- The answer of a call is in (or its failure): its entry is dated to this moment, rounded up.
-- Never makes an entry leave earlier than the truth: the call arrived before its answer came.
-- KEYS: calls (zset)
-- ARGV: now ('' = the server's time), call id
-- Returns: the new date, ms
--@include _clock.lua
local at = clock_ms(ARGV[1]) + 1
redis.call('ZADD', KEYS[1], whole(at), ARGV[2])
return whole(at)

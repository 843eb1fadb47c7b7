-- Complete a call whose answer is in, or which has failed: its entry is dated to this moment, rounded up, and
-- `arrival_ms` more where the request may still be under way. An entry never ends earlier than the truth: the call
-- arrived before its answer came.
-- KEYS: calls (zset)
-- ARGV: options { now_ms, arrival_ms }, call id
--@include _clock.lua
local calls_key = KEYS[1]
local options, call_id = cmsgpack.unpack(ARGV[1]), ARGV[2]
redis.call('ZADD', calls_key, whole(clock_ms(options) + 1 + options.arrival_ms), call_id)

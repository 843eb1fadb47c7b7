-- Block all calls: the provider said "too many calls".
-- KEYS: blocked (string)
-- ARGV: options { now_ms, duration_ms }
-- Returns: the moment at which the block ends, ms
--@include _clock.lua
--@include _blocks.lua
local blocked_key = KEYS[1]
local options = cmsgpack.unpack(ARGV[1])
return whole(block_for(blocked_key, clock_ms(options), options.duration_ms, 'blocked'))

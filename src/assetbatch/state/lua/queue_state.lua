-- Return the queue's figures; changes nothing.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, owner
-- ARGV: options { now_ms, server }
-- Returns: {now (ms), size, critical, high, medium, low, bars, history, leased, delayed, dead,
--          enqueued_us of what has waited longest or '0', 1 where the queue was filled on this server, else 0}
--@include _clock.lua
--@include _server.lua
--@include _figures.lua
return queue_figures(KEYS, cmsgpack.unpack(ARGV[1]))

-- Asks the window for one call.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, origin (see _window.lua)
-- ARGV: now ('' = the server's time), call id, limit, window ms, hold ms, kind ('priority'|'queue'),
--       the server's name ('' = its run id), spacing of the queue's calls, ms, and what the call
--       ids of this host begin with
-- Returns: {'granted'}; {'refused', moment to come back at, reason ('window'|'blocked'|'lost'|'reserved'|'spaced'),
--          now};
--          {'unknown'} where the log may have been lost
--@include _clock.lua
--@include _window.lua
local now = clock_ms(ARGV[1])
local w = window_keys(KEYS, 1)
w.limit, w.window, w.hold = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
w.kind, w.origin_here, w.spacing = ARGV[6], ARGV[7], tonumber(ARGV[8])
w.host = ARGV[9]
local answer, retry_at, reason = grant(w, now, ARGV[2])
if answer == 'refused' then
  return { answer, whole(retry_at), reason, whole(now) }
end
return { answer }

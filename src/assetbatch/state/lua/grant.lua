-- Ask the window for one slot.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: options (see _window.lua), call id
-- Returns: {'granted'};
--          {'denied', moment (ms) to come back at, reason ('window'|'blocked'|'lost'|'reserved'|'spaced'), now (ms)};
--          {'unknown'} where the log may have been lost
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
--@include _reservations.lua
--@include _grant.lua
local w, call_id = window_of(KEYS, 1, cmsgpack.unpack(ARGV[1])), ARGV[2]
local now = clock_ms(w)
local answer, retry_at, reason = grant(w, now, call_id)
if answer == 'denied' then
  return { answer, whole(retry_at), reason, whole(now) }
end
return { answer }

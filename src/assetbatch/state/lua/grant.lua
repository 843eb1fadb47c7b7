-- Asks the window for one call.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: now ('' = the server's time), options (see _window.lua), call id
-- Returns: {'granted'}; {'refused', moment to come back at, reason ('window'|'blocked'|'lost'|'reserved'|'spaced'),
--          now};
--          {'unknown'} where the log may have been lost
--@include _clock.lua
--@include _server.lua
--@include _window.lua
local now = clock_ms(ARGV[1])
local answer, retry_at, reason = grant(window_of(KEYS, 1, ARGV[2]), now, ARGV[3])
if answer == 'refused' then
  return { answer, whole(retry_at), reason, whole(now) }
end
return { answer }

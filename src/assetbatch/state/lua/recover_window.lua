-- Trust this server's call log from now on. If entries may be missing, block all calls until they would have expired.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: now ('' = the server's time), options (see _window.lua), for how long nobody calls, ms, '1' where the database
--       has never seen a call. Nobody waits then, unless there is a log, which another installation has written
--@include _clock.lua
--@include _server.lua
--@include _window.lua
local now = clock_ms(ARGV[1])
local w = window_of(KEYS, 1, ARGV[2])
if is_trusted(w) then -- another process was faster
  return
end
if ARGV[4] ~= '1' or redis.call('EXISTS', w.log_owner, w.calls) > 0 then
  block_for(w.blocked, now, tonumber(ARGV[3]), 'lost')
end
redis.call('SET', w.log_owner, server_name(w.server))

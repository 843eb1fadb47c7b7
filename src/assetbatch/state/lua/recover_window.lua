-- Trust this server's call log from now on. If entries may be missing, block all calls until they would have expired.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: options (see _window.lua), with silence_ms: how long no call is made, and is_first: the database has never seen a
--       call. Nobody waits then, unless there is a log, which another installation has written
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
local w = window_of(KEYS, 1, cmsgpack.unpack(ARGV[1]))
local now = clock_ms(w)
if is_trusted(w) then -- another process was faster
  return
end
if not w.is_first or redis.call('EXISTS', w.log_owner, w.calls) > 0 then
  block_for(w.blocked, now, w.silence_ms, 'lost')
end
redis.call('SET', w.log_owner, server_name(w.server))

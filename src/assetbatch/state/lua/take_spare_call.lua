-- Take a slot for a spare call: only where nothing waits in the queue, a spare call is there, and the slot is free for the
-- queue. Nobody waits for one: a denied call leaves no ticket.
-- KEYS: critical, high, medium, low, bars, history, spare (see _spare.lua), the seven keys of the window (see _window.lua)
-- ARGV: options { now_ms, window: its options (see _window.lua) }, call id
-- Returns: 1 where it is granted, else 0. The same call id asked again is the same slot.
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
--@include _reservations.lua
--@include _grant.lua
local options, call_id = cmsgpack.unpack(ARGV[1]), ARGV[2]
local spare_key, first_window_key, lanes = KEYS[7], 8, 6
local w, now = window_of(KEYS, first_window_key, options.window), clock_ms(options)
if redis.call('ZSCORE', w.calls, call_id) then
  return 1
end
for i = 1, lanes do
  if redis.call('ZCARD', KEYS[i]) > 0 then
    return 0
  end
end
if tonumber(redis.call('HGET', spare_key, 'credit') or '0') < 1 - 1e-6 then
  return 0
end
if grant(w, now, call_id) ~= 'granted' then
  delete_ticket(w, call_id)
  return 0
end
redis.call('HINCRBYFLOAT', spare_key, 'credit', -1)
return 1

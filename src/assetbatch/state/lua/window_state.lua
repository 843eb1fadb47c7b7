-- Return what is left of the window; changes nothing.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: options (see _window.lua), with silence_ms: how long no call is made once a start has found no log
-- Returns: {now (ms), calls that count, moment (ms) at which the next slot is free (now where one is), slots reserved,
--          from when (ms), why no call is made ('blocked'|'lost'|''), whether that has begun (1|0)}
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
--@include _reservations.lua
local w = window_of(KEYS, 1, cmsgpack.unpack(ARGV[1]))
local now = clock_ms(w)
local used = redis.call('ZCOUNT', w.calls, '(' .. whole(now - w.window_ms), '+inf')
local free_at = now
if used >= w.limit then
  local entry = redis.call('ZREVRANGE', w.calls, w.limit - 1, w.limit - 1, 'WITHSCORES')
  free_at = math.min(tonumber(entry[2]), now + w.max_in_flight_ms) + w.window_ms
end
local pause, begun = '', 0
local blocked, why = read_block(w.blocked, now)
if blocked > now then
  pause, begun = why, 1
  free_at = math.max(free_at, blocked)
end
if redis.call('EXISTS', w.log_owner) == 1 and not is_trusted(w) then -- the first to ask is told to wait as long
  pause, begun = 'lost', 0
  free_at = math.max(free_at, now + w.silence_ms)
end
local needed, from = 0, 0
for _, cycle in ipairs(expected_cycles(w, now)) do
  needed = needed + cycle.needed
  from = from == 0 and cycle.at or math.min(from, cycle.at)
end
return { whole(now), used, whole(free_at), math.min(needed, w.limit), whole(from), pause, begun }

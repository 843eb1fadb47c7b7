-- Date the entry of a call that takes longer ahead anew. Not where the log was lost since, for others may rely on a
-- silence that is shorter; nor where a priority cycle needs the slot of a call of the queue.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: options (see _window.lua), call id
-- Returns: 1 where the entry is dated `lead_ms` ahead, 0 where it stays as it is or is gone
--@include _clock.lua
--@include _server.lua
--@include _window.lua
--@include _reservations.lua
local w, call_id = window_of(KEYS, 1, cmsgpack.unpack(ARGV[1])), ARGV[2]
local now = clock_ms(w)
local latest = tonumber(redis.call('ZSCORE', w.calls, call_id) or '0')
if latest <= now or not is_trusted(w) then
  return 0
end
if w.kind == 'queue' then
  redis.call('ZREM', w.calls, call_id)
  local used = redis.call('ZCOUNT', w.calls, '(' .. whole(now - w.window_ms), '+inf')
  local reserved = reserved_until(w, now, used, 0)
  redis.call('ZADD', w.calls, whole(latest), call_id)
  if reserved then
    return 0
  end
end
redis.call('ZADD', w.calls, whole(math.max(latest, now + w.lead_ms)), call_id)
return 1

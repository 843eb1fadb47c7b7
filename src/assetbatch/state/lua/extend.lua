-- A call takes longer: its entry is dated ahead anew. Not where the log was lost since, for others may count on a
-- silence that is shorter; nor where a priority cycle needs the slot of a call of the queue.
-- KEYS: calls, blocked, reservation, waiters, waiters_until, log_owner, last_grant (see _window.lua)
-- ARGV: now ('' = the server's time), options (see _window.lua), call id
-- Returns: 1 where the entry is dated `lead` ms ahead, 0 where it stays as it is or is gone
--@include _clock.lua
--@include _server.lua
--@include _window.lua
local now = clock_ms(ARGV[1])
local w = window_of(KEYS, 1, ARGV[2])
local call_id = ARGV[3]
local latest = tonumber(redis.call('ZSCORE', w.calls, call_id) or '0')
if latest <= now or not is_trusted(w) then
  return 0
end
if w.kind == 'queue' then
  redis.call('ZREM', w.calls, call_id)
  local used = redis.call('ZCOUNT', w.calls, '(' .. whole(now - w.window), '+inf')
  local reserved = reserved_until(w, now, used, 0)
  redis.call('ZADD', w.calls, whole(latest), call_id)
  if reserved then
    return 0
  end
end
redis.call('ZADD', w.calls, whole(math.max(latest, now + w.lead)), call_id)
return 1

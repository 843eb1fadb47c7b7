-- The call window: one sorted set per API key, member = call id, score = the latest moment (ms) at
-- which the call can have arrived at the vendor. An entry counts while score > now - window.
--
-- w = { calls=, blocked=, reservation= (keys), limit=, window=, hold=, kind= 'priority'|'queue' }

local function read_reservation(w, now)
  local r = redis.call('HMGET', w.reservation, 'at', 'slots', 'interval', 'grace', 'used')
  if not r[1] then
    return nil
  end
  local at, slots, interval, grace = tonumber(r[1]), tonumber(r[2]), tonumber(r[3]), tonumber(r[4])
  local used = tonumber(r[5] or '0')
  if now >= at + grace then
    -- The cycle did not come: expect the next ones for a bounded time, then reserve nothing.
    local missed = math.floor((now - grace - at) / interval) + 1
    if missed > 3 then
      return nil
    end
    at = at + missed * interval
    used = 0
  end
  return { at = at, grace = grace, needed = math.max(0, math.min(slots, w.limit) - used) }
end

-- Returns nil where the call may be made, else the moment to come back at and the reason.
local function refused_until(w, now)
  redis.call('ZREMRANGEBYSCORE', w.calls, '-inf', whole(now - w.window))
  local blocked = tonumber(redis.call('GET', w.blocked) or '0')
  if blocked > now then
    return blocked, 'blocked'
  end
  local used = redis.call('ZCARD', w.calls)
  if used >= w.limit then
    local oldest = redis.call('ZRANGE', w.calls, used - w.limit, used - w.limit, 'WITHSCORES')
    return tonumber(oldest[2]) + w.window, 'window'
  end
  if w.kind == 'priority' then
    return nil
  end
  local r = read_reservation(w, now)
  if not r or r.needed == 0 then
    return nil
  end
  if now >= r.at then
    if used + 1 + r.needed > w.limit then
      return now + 2000, 'reserved'
    end
    return nil
  end
  local counts_then = now + w.hold > r.at - w.window
  local live_then = redis.call('ZCOUNT', w.calls, '(' .. whole(r.at - w.window), '+inf')
  if counts_then and live_then + 1 + r.needed > w.limit then
    return r.at + 1000, 'reserved'
  end
  return nil
end

-- Asks for one slot. The same call id asked again is the same slot (a reply may get lost).
local function grant(w, now, call_id)
  if redis.call('ZSCORE', w.calls, call_id) then
    return nil
  end
  local retry_at, reason = refused_until(w, now)
  if retry_at then
    return retry_at, reason
  end
  redis.call('ZADD', w.calls, whole(now + w.hold), call_id)
  redis.call('PEXPIRE', w.calls, 86400000 + w.window + w.hold)
  if w.kind == 'priority' then
    local at, grace = unpack(redis.call('HMGET', w.reservation, 'at', 'grace'))
    if at and now >= tonumber(at) and now < tonumber(at) + tonumber(grace) then
      redis.call('HINCRBY', w.reservation, 'used', 1)
    end
  end
  return nil
end

-- The call window: one sorted set per API key, member = call id, score = the latest moment (ms) at
-- which the call can have arrived at the vendor. An entry counts while score > now - window.
--
-- calls         zset    the window itself
-- blocked       string  "moment (ms):reason": nobody calls before it; see `read_block`
-- reservation   hash    what the next priority cycle will need: at, slots, interval, grace, used
-- waiters       zset    call id -> its turn: who was refused first is served first, priority before queue
-- waiters_until zset    call id -> when its turn lapses, should it not come back
-- origin        string  the server that holds the log; see `believed`
--
-- w = { the six keys, limit=, window=, hold=, kind= 'priority'|'queue', origin_here=, spacing=, host= }

-- Turns are the moments of the first refusal in microseconds, later by the spacing for each call that the host has had
-- in this window; priority waiters go before all queue waiters.
local PRIORITY_FIRST = 1000000000000000
-- How long after the promised moment a waiter may come back before its turn lapses.
local TURN_SLACK_MS = 2000

local function window_keys(keys, first)
  return {
    calls = keys[first], blocked = keys[first + 1], reservation = keys[first + 2],
    waiters = keys[first + 3], waiters_until = keys[first + 4], origin = keys[first + 5],
  }
end

-- The log is believed only on the server that wrote it: after a restart or a failover entries may be missing.
-- Embedded servers, which lose nothing in a restart, go by a name that the caller gives.
local function server_name(given)
  if given ~= '' then
    return given
  end
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local function believed(w)
  return redis.call('GET', w.origin) == server_name(w.origin_here)
end

-- Until when nobody calls (ms), and why: 'blocked' (the vendor said so) or 'lost' (the log may be incomplete).
local function read_block(key)
  local until_ms, why = string.match(redis.call('GET', key) or '0:', '^(%d+):(.*)$')
  return tonumber(until_ms), why
end

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
  return { at = at, needed = math.max(0, math.min(slots, w.limit) - used) }
end

-- The moment at which a slot is free for whom `ahead` others go before: the slots become free in the order of
-- their entries, and again a window later for who comes after them.
local function slot_free_at(w, now, ahead)
  local rounds = math.floor(ahead / w.limit)
  local index = redis.call('ZCARD', w.calls) - w.limit + ahead % w.limit
  if index < 0 then -- free now, but others take it first
    return now + rounds * w.window
  end
  local score = tonumber(redis.call('ZRANGE', w.calls, index, index, 'WITHSCORES')[2])
  if score > now then -- not settled yet: it may be at any moment
    score = now
  end
  return score + (rounds + 1) * w.window
end

-- When the last call was granted or answered (ms), whichever came later; 0 without any.
local function last_call(w, now)
  local score = tonumber(redis.call('ZRANGE', w.calls, -1, -1, 'WITHSCORES')[2] or '0')
  return score > now + 1 and score - w.hold or score -- an answer is dated a millisecond ahead
end

-- Returns nil where the call may be made, else the moment to come back at and the reason.
-- `ahead` is how many others are to be served first.
local function refused_until(w, now, ahead)
  local blocked, why = read_block(w.blocked)
  if blocked > now then
    return blocked + math.floor(ahead / w.limit) * w.window, why
  end
  local used = redis.call('ZCARD', w.calls)
  if used + ahead >= w.limit then
    return slot_free_at(w, now, ahead), 'window'
  end
  if w.kind == 'priority' then
    return nil
  end
  -- Calls of the queue are kept apart where several hosts work it: slots that become free all at once would be
  -- taken by whoever runs just then, minute after minute.
  if w.spacing > 0 then
    local spaced = last_call(w, now) + w.spacing * (1 + ahead)
    if spaced > now then
      return spaced, 'spaced'
    end
  end
  local r = read_reservation(w, now)
  if not r or r.needed == 0 then
    return nil
  end
  if now >= r.at then
    if used + ahead + 1 + r.needed > w.limit then
      return now + 2000, 'reserved'
    end
    return nil
  end
  local counts_then = now + w.hold > r.at - w.window
  local live_then = redis.call('ZCOUNT', w.calls, '(' .. whole(r.at - w.window), '+inf')
  if counts_then and live_then + ahead + 1 + r.needed > w.limit then
    return r.at + 1000, 'reserved'
  end
  return nil
end

-- How many of the calls that count are this host's: their ids begin with it.
local function calls_of_host(w)
  local count = 0
  if w.spacing > 0 then -- else nobody lets others go before, and the window may be a large one
    for _, id in ipairs(redis.call('ZRANGE', w.calls, 0, -1)) do
      if string.sub(id, 1, #w.host) == w.host then
        count = count + 1
      end
    end
  end
  return count
end

local function leave_the_line(w, call_id)
  redis.call('ZREM', w.waiters, call_id)
  redis.call('ZREM', w.waiters_until, call_id)
end

-- Asks for one slot. Returns 'granted'; 'refused', the moment to come back at, the reason; or 'unknown' where
-- the log is not believed. The same call id asked again is the same slot, and keeps its turn while it waits.
local function grant(w, now, call_id)
  if redis.call('ZSCORE', w.calls, call_id) then
    return 'granted'
  end
  if not believed(w) then
    return 'unknown'
  end
  redis.call('ZREMRANGEBYSCORE', w.calls, '-inf', whole(now - w.window))
  for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', w.waiters_until, '-inf', whole(now), 'LIMIT', 0, 100)) do
    leave_the_line(w, lapsed)
  end
  local turn = tonumber(redis.call('ZSCORE', w.waiters, call_id) or '0')
  if turn == 0 then
    turn = (now + w.spacing * calls_of_host(w)) * 1000 + redis.call('ZCARD', w.waiters) % 1000 - (w.kind == 'priority' and PRIORITY_FIRST or 0)
  end
  local ahead = redis.call('ZRANK', w.waiters, call_id) or redis.call('ZCOUNT', w.waiters, '-inf', whole(turn))
  local retry_at, reason = refused_until(w, now, ahead)
  if retry_at then
    retry_at = math.max(now + 1, retry_at) -- whoever is told a moment that is over asks again and again
    redis.call('ZADD', w.waiters, whole(turn), call_id)
    redis.call('ZADD', w.waiters_until, whole(retry_at + TURN_SLACK_MS), call_id)
    redis.call('PEXPIRE', w.waiters, 86400000)
    redis.call('PEXPIRE', w.waiters_until, 86400000)
    return 'refused', retry_at, reason
  end
  leave_the_line(w, call_id)
  redis.call('ZADD', w.calls, whole(now + w.hold), call_id)
  redis.call('PEXPIRE', w.calls, 86400000 + w.window + w.hold)
  if w.kind == 'priority' then
    local at, grace = unpack(redis.call('HMGET', w.reservation, 'at', 'grace'))
    if at and now >= tonumber(at) and now < tonumber(at) + tonumber(grace) then
      redis.call('HINCRBY', w.reservation, 'used', 1)
    end
  end
  return 'granted'
end

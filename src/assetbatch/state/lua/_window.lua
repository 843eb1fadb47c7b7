-- The call window: one sorted set per API key, member = call id, score = the latest moment (ms) at
-- which the call can have arrived at the provider. An entry counts while score > now - window.
--
-- calls         zset    the window itself
-- blocked       string  "moment (ms):longest duration (ms):reason": nobody calls before it; see `read_block`
-- reservation   hash    what the next priority cycle will need: at, slots, interval, grace, used
-- waiters       zset    call id -> its turn: who was refused first is served first, priority before queue
-- waiters_until zset    call id -> when its turn lapses, should it not come back
-- log_owner     string  the server that has written the log; see `is_trusted`. None of calls, blocked and log_owner
--                       has an expiry: with maxmemory-policy volatile-* the log would go, and its owner stay
-- last_grant    string  moment (ms) of the last grant
--
-- Options (one msgpack map, see Window.options): limit, window (ms), hold (ms: the longest a call may take),
-- kind ('priority'|'queue'), server (its name where it keeps one, else ''), spacing (ms) and host.

-- Turns are the moments of the first refusal in microseconds, later by the spacing for each call that the host has had
-- in this window; priority waiters go before all queue waiters.
local PRIORITY_FIRST = 1000000000000000
-- How long after the promised moment a waiter may come back before its turn lapses.
local TURN_SLACK_MS = 2000

local function window_of(keys, first, options)
  local w = cmsgpack.unpack(options)
  local names = { 'calls', 'blocked', 'reservation', 'waiters', 'waiters_until', 'log_owner', 'last_grant' }
  for i, name in ipairs(names) do
    w[name] = keys[first + i - 1]
  end
  return w
end

-- The log is trusted only on the server that wrote it: after a restart or a failover entries may be missing.
local function is_trusted(w)
  return redis.call('GET', w.log_owner) == server_name(w.server)
end

-- Until when nobody calls (ms), and why: 'blocked' (the provider said so) or 'lost' (the log may be incomplete); and for
-- how long it was to last (ms). No block can end later than that from now: if it does, the server's clock was set back.
local function read_block(key, now)
  local text = redis.call('GET', key) or '0:0:'
  local until_ms, longest, why = string.match(text, '^(%d+):(%d+):(.*)$')
  if not until_ms then -- written before durations were kept
    until_ms, why = string.match(text, '^(%d+):(.*)$')
    longest = '3600000'
  end
  return math.min(tonumber(until_ms), now + tonumber(longest)), why, tonumber(longest)
end

local function write_block(key, until_ms, longest, why)
  redis.call('SET', key, whole(until_ms) .. ':' .. whole(longest) .. ':' .. why)
end

-- Nobody calls for `duration` ms, or until an earlier block ends if that is later. Returns the end (ms).
local function block_for(key, now, duration, why)
  local before = read_block(key, now)
  local until_ms = now + duration
  if before >= until_ms then
    return before
  end
  write_block(key, until_ms, duration, why)
  return until_ms
end

local function clamp(key, latest)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. whole(latest), '+inf')) do
    redis.call('ZADD', key, whole(latest), id)
  end
end

-- A server's clock that was set back leaves moments that cannot be. A block ends at the latest its duration from now. A
-- call arrives at the latest `hold` from now. A waiter comes back within one window for each group of calls before it.
-- The last grant lies in the past. What lies later is written down as the latest it can be: so it passes with time.
local function clamp_all(w, now)
  local blocked, why, longest = read_block(w.blocked, now)
  if blocked >= now + longest and longest > 0 then
    write_block(w.blocked, blocked, longest, why)
  end
  clamp(w.calls, now + w.hold)
  local windows = math.floor(redis.call('ZCARD', w.waiters) / w.limit) + 1
  clamp(w.waiters_until, math.max(now, blocked) + windows * w.window + w.hold + 1000 + TURN_SLACK_MS)
  if tonumber(redis.call('GET', w.last_grant) or '0') > now then
    redis.call('SET', w.last_grant, whole(now), 'PX', 86400000)
  end
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

-- Returns nil where the call may be made, else the moment to come back at and the reason.
-- `ahead` is how many others are to be served first.
local function refused_until(w, now, ahead)
  local blocked, why = read_block(w.blocked, now)
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
    local spaced = tonumber(redis.call('GET', w.last_grant) or '0') + w.spacing * (1 + ahead)
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
-- the log is not trusted. The same call id asked again is the same slot, and keeps its turn while it waits.
local function grant(w, now, call_id)
  if redis.call('ZSCORE', w.calls, call_id) then
    return 'granted'
  end
  if not is_trusted(w) then
    return 'unknown'
  end
  clamp_all(w, now)
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
  if w.spacing > 0 then
    redis.call('SET', w.last_grant, whole(now), 'PX', 86400000)
  end
  if w.kind == 'priority' then
    local at, grace = unpack(redis.call('HMGET', w.reservation, 'at', 'grace'))
    if at and now >= tonumber(at) and now < tonumber(at) + tonumber(grace) then
      redis.call('HINCRBY', w.reservation, 'used', 1)
    end
  end
  return 'granted'
end

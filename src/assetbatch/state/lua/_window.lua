-- The call window: one sorted set per API key, member = call id, score = the latest moment (ms) at
-- which the call can have arrived at the provider. An entry counts while score > now - window.
--
-- calls         zset    the window itself
-- blocked       string  "moment (ms):longest duration (ms):reason": nobody calls before it; see `read_block`
-- reservation   hash    installation -> "at:slots:interval:grace:used": what its next priority cycle will need
-- waiters       zset    call id -> its turn: who was refused first is served first, priority before queue
-- waiters_until zset    call id -> when its turn lapses, should it not come back
-- log_owner     string  the server that has written the log; see `is_trusted`. None of calls, blocked and log_owner
--                       has an expiry: with maxmemory-policy volatile-* the log would go, and its owner stay
-- last_grant    string  moment (ms) of the last grant
-- former_calls, former_blocked   the same below the prefix of an installation, where earlier versions kept them; absent
--                       where that is the same place. See `move_former`
--
-- Options (one msgpack map, see Window.options): limit, window (ms), hold (ms: the longest any call may take), lead
-- (ms: the longest this call may take), kind ('priority'|'queue'), server (its name where it keeps one, else ''),
-- spacing (ms), host and installation (in whose name a call is made).

-- Turns are the moments of the first refusal in microseconds, later by the spacing for each call that the host has had
-- in this window; priority waiters go before all queue waiters.
local PRIORITY_FIRST = 1000000000000000
-- How long after the promised moment a waiter may come back before its turn lapses.
local TURN_SLACK_MS = 2000

local function window_of(keys, first, options)
  local w = cmsgpack.unpack(options)
  local names = {
    'calls', 'blocked', 'reservation', 'waiters', 'waiters_until', 'log_owner', 'last_grant',
    'former_calls', 'former_blocked',
  }
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

-- What an installation has reserved; nil for text of another form, as earlier versions wrote.
local function parse_reservation(text)
  local at, slots, interval, grace, used = string.match(text, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if at then
    return {
      at = tonumber(at), slots = tonumber(slots), interval = tonumber(interval), grace = tonumber(grace),
      used = tonumber(used),
    }
  end
end

local function write_reservation(key, installation, r)
  local parts = { whole(r.at), whole(r.slots), whole(r.interval), whole(r.grace), whole(r.used) }
  redis.call('HSET', key, installation, table.concat(parts, ':'))
end

-- How many cycles in a row did not come. After three nothing is reserved any more.
local MISSED_AT_MOST = 3
local function missed_cycles(r, now)
  return now < r.at + r.grace and 0 or math.floor((now - r.grace - r.at) / r.interval) + 1
end

-- The next priority cycle of each installation: when it starts, and how many slots it still needs.
local function expected_cycles(w, now)
  local cycles = {}
  for _, text in ipairs(redis.call('HVALS', w.reservation)) do
    local r = parse_reservation(text)
    local missed = r and missed_cycles(r, now)
    if r and missed <= MISSED_AT_MOST then
      local used = missed == 0 and r.used or 0
      cycles[#cycles + 1] = {
        at = r.at + missed * r.interval,
        needed = math.max(0, math.min(r.slots, w.limit) - used),
      }
    end
  end
  return cycles
end

-- Returns nil where a call of the queue leaves enough slots to the priority cycles, else the moment to come back at. A
-- cycle that runs may take its slots at any moment; one that is expected needs them at its start, beside those of other
-- installations that start up to one window earlier.
local function reserved_until(w, now, used, ahead)
  local cycles, running = expected_cycles(w, now), 0
  for _, cycle in ipairs(cycles) do
    running = running + (now >= cycle.at and cycle.needed or 0)
  end
  if running > 0 and used + ahead + 1 + running > w.limit then
    return now + 2000
  end
  local first
  for _, cycle in ipairs(cycles) do
    local from = cycle.at - w.window
    if now < cycle.at and cycle.needed > 0 and now + w.lead > from then
      local needed = running
      for _, other in ipairs(cycles) do
        if now < other.at and from < other.at and other.at <= cycle.at then
          needed = needed + other.needed
        end
      end
      local live_then = redis.call('ZCOUNT', w.calls, '(' .. whole(from), '+inf')
      if live_then + ahead + 1 + needed > w.limit then
        first = math.min(first or cycle.at, cycle.at)
      end
    end
  end
  return first and first + 1000
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
  local reserved = reserved_until(w, now, used, ahead)
  return reserved, reserved and 'reserved'
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

-- Earlier versions kept the window of a key below the prefix of each installation. What such a version writes is moved.
local function move_former(w, now)
  if not w.former_calls then
    return
  end
  if redis.call('EXISTS', w.former_calls) == 1 then
    redis.call('ZUNIONSTORE', w.calls, 2, w.calls, w.former_calls, 'AGGREGATE', 'MAX')
    redis.call('DEL', w.former_calls)
  end
  local until_ms, why = read_block(w.former_blocked, now)
  if until_ms > now then
    block_for(w.blocked, now, until_ms - now, why)
  end
  redis.call('DEL', w.former_blocked)
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
  move_former(w, now)
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
  redis.call('ZADD', w.calls, whole(now + w.lead), call_id)
  if w.spacing > 0 then
    redis.call('SET', w.last_grant, whole(now), 'PX', 86400000)
  end
  if w.kind == 'priority' then
    local r = parse_reservation(redis.call('HGET', w.reservation, w.installation) or '')
    if r and now >= r.at and now < r.at + r.grace then
      r.used = r.used + 1
      write_reservation(w.reservation, w.installation, r)
    end
  end
  return 'granted'
end

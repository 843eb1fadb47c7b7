-- Granting a slot of the window, and the order in which denied calls are served.

-- A ticket is the time (µs) at which a call was first denied, plus the spacing for each call that its host has made in
-- this window. Tickets of priority calls sort before all tickets of the queue.
local PRIORITY_FIRST = 1000000000000000
-- Maximum time (ms) after the promised moment for which a ticket is kept.
local TICKET_SLACK_MS = 2000

local function clamp(key, latest)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. whole(latest), '+inf')) do
    redis.call('ZADD', key, whole(latest), id)
  end
end

-- Correct moments that cannot be, which a server's clock leaves when it is set back. A block ends at the latest its
-- duration from now. A call arrives at the latest `max_in_flight_ms` from now. A waiter comes back within one window for
-- each group of calls before it. The last grant lies in the past. A moment that lies later is replaced by the latest
-- that it can be: so it passes with time.
local function clamp_all(w, now)
  local blocked, why, longest = read_block(w.blocked, now)
  if blocked >= now + longest and longest > 0 then
    write_block(w.blocked, blocked, longest, why)
  end
  clamp(w.calls, now + w.max_in_flight_ms)
  local windows = math.floor(redis.call('ZCARD', w.waiters) / w.limit) + 1
  clamp(w.waiters_until, math.max(now, blocked) + windows * w.window_ms + w.max_in_flight_ms + 1000 + TICKET_SLACK_MS)
  if tonumber(redis.call('GET', w.last_grant) or '0') > now then
    redis.call('SET', w.last_grant, whole(now), 'PX', 86400000)
  end
end

-- Return the moment (ms) at which a slot is free for a call before which `ahead` others go: the slots become free in
-- the order of their entries, and again a window later for the calls after them.
local function slot_free_at(w, now, ahead)
  local rounds = math.floor(ahead / w.limit)
  local index = redis.call('ZCARD', w.calls) - w.limit + ahead % w.limit
  if index < 0 then -- free now, but others take it first
    return now + rounds * w.window_ms
  end
  local score = tonumber(redis.call('ZRANGE', w.calls, index, index, 'WITHSCORES')[2])
  if score > now then -- not completed yet: it may be at any moment
    score = now
  end
  return score + (rounds + 1) * w.window_ms
end

-- Return nil where the call may be made, else the moment (ms) to come back at and the reason.
-- `ahead` is how many other calls are served first.
local function denied_until(w, now, ahead)
  local blocked, why = read_block(w.blocked, now)
  if blocked > now then
    return blocked + math.floor(ahead / w.limit) * w.window_ms, why
  end
  local used = redis.call('ZCARD', w.calls)
  if used + ahead >= w.limit then
    return slot_free_at(w, now, ahead), 'window'
  end
  if w.kind == 'priority' then
    return nil
  end
  -- Calls of the queue are kept apart where several hosts work it: slots that become free all at once would be
  -- taken by the host that runs just then, minute after minute.
  if w.spacing_ms > 0 then
    local spaced = tonumber(redis.call('GET', w.last_grant) or '0') + w.spacing_ms * (1 + ahead)
    if spaced > now then
      return spaced, 'spaced'
    end
  end
  local reserved = reserved_until(w, now, used, ahead)
  return reserved, reserved and 'reserved'
end

-- Return how many of the calls that count are this host's: their ids begin with its name.
local function calls_of_host(w)
  local count = 0
  if w.spacing_ms > 0 then -- else no host lets others go before, and the window may be a large one
    for _, id in ipairs(redis.call('ZRANGE', w.calls, 0, -1)) do
      if string.sub(id, 1, #w.host) == w.host then
        count = count + 1
      end
    end
  end
  return count
end

-- Move what an earlier version has written: it kept the window of a key below the prefix of each installation.
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

local function delete_ticket(w, call_id)
  redis.call('ZREM', w.waiters, call_id)
  redis.call('ZREM', w.waiters_until, call_id)
end

-- Count a call of a priority cycle against what its installation has reserved.
local function use_reservation(w, now)
  local r = parse_reservation(redis.call('HGET', w.reservation, w.installation) or '')
  if r and now >= r.at and now < r.at + r.grace then
    r.used = r.used + 1
    write_reservation(w.reservation, w.installation, r)
  end
end

-- Ask for one slot. Return 'granted'; 'denied', the moment (ms) to come back at, the reason; or 'unknown' where
-- the log is not trusted. The same call id asked again is the same slot, and keeps its ticket while it waits.
local function grant(w, now, call_id)
  if redis.call('ZSCORE', w.calls, call_id) then
    return 'granted'
  end
  if not is_trusted(w) then
    return 'unknown'
  end
  move_former(w, now)
  clamp_all(w, now)
  redis.call('ZREMRANGEBYSCORE', w.calls, '-inf', whole(now - w.window_ms))
  for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', w.waiters_until, '-inf', whole(now), 'LIMIT', 0, 100)) do
    delete_ticket(w, lapsed)
  end
  local ticket = tonumber(redis.call('ZSCORE', w.waiters, call_id) or '0')
  if ticket == 0 then
    ticket = (now + w.spacing_ms * calls_of_host(w)) * 1000 + redis.call('ZCARD', w.waiters) % 1000
      - (w.kind == 'priority' and PRIORITY_FIRST or 0)
  end
  local ahead = redis.call('ZRANK', w.waiters, call_id) or redis.call('ZCOUNT', w.waiters, '-inf', whole(ticket))
  local retry_at, reason = denied_until(w, now, ahead)
  if retry_at then
    retry_at = math.max(now + 1, retry_at) -- a caller that is told a moment in the past asks again and again
    redis.call('ZADD', w.waiters, whole(ticket), call_id)
    redis.call('ZADD', w.waiters_until, whole(retry_at + TICKET_SLACK_MS), call_id)
    redis.call('PEXPIRE', w.waiters, 86400000)
    redis.call('PEXPIRE', w.waiters_until, 86400000)
    return 'denied', retry_at, reason
  end
  delete_ticket(w, call_id)
  redis.call('ZADD', w.calls, whole(now + w.lead_ms), call_id)
  if w.spacing_ms > 0 then
    redis.call('SET', w.last_grant, whole(now), 'PX', 86400000)
  end
  if w.kind == 'priority' then
    use_reservation(w, now)
  end
  return 'granted'
end

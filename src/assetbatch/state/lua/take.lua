-- Takes work under a lease and, where asked to, a slot of the window with it, in one decision:
-- no slot is spent on an empty queue and nothing is taken without a slot. On the way, expired leases
-- come back (their attempt stays counted) and retries whose time has come wait in line again.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       reply (string of this take), and with a window its seven keys (see _window.lua)
-- ARGV: now ('' = the server's time), token (also the call id), how many, lease ms, max attempts,
--       retry delay ms, dead letters to keep, the window's options (see _window.lua; '' = no slot is asked for)
-- Returns: {'taken', now, JSON array: id, rank, attempts, stamp µs, id, …, all as text};
--          {'empty', moment of the next retry or '0'};
--          {'refused', moment to come back at, reason, now}; {'unknown'} where the window's log may be lost
-- The same token asked again within a minute gets the same answer: a reply may get lost.
--@include _clock.lua
--@include _server.lua
--@include _window.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local reply_key = KEYS[13]
local past = redis.call('GET', reply_key)
if past then
  return cmsgpack.unpack(past)
end
local now = clock_ms(ARGV[1])
local token, want, lease_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local max_attempts, delay_ms, keep = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.leased, '-inf', whole(now), 'LIMIT', 0, 100)) do
  local r = read_record(q, id)
  if r then
    attempt_failed(q, id, r, now, 'the worker died: its lease ran out', false, max_attempts, delay_ms, keep)
  else
    redis.call('ZREM', q.leased, id)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.delayed, '-inf', whole(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', q.delayed, id)
  local r = read_record(q, id)
  if r then
    wait_in_line(q, id, r)
  end
end

-- The lines, each in its order: id, stamp, id, stamp, …; the first of each, and where it stands.
local lines, first, stamps, places, waiting = {}, {}, {}, {}, false

local function look_at_first(rank)
  local stamp = lines[rank][first[rank] + 1]
  stamps[rank] = stamp and tonumber(stamp)
  places[rank] = stamp and place(rank, stamps[rank])
end

for rank = 0, LAST_RANK do
  lines[rank] = redis.call('ZRANGE', q.waiting[rank], 0, want - 1, 'WITHSCORES')
  first[rank] = 1
  look_at_first(rank)
  waiting = waiting or places[rank]
end
if not waiting then
  local due = redis.call('ZRANGE', q.delayed, 0, 0, 'WITHSCORES')
  return { 'empty', due[2] and whole(tonumber(due[2])) or '0' }
end
if ARGV[8] ~= '' then
  local granted, retry_at, reason = grant(window_of(KEYS, 14, ARGV[8]), now, token)
  if granted == 'refused' then
    return { 'refused', whole(retry_at), reason, whole(now) }
  end
  if granted == 'unknown' then
    return { 'unknown' }
  end
end

-- The line whose first stands before all others; of two at one place who has risen to it has waited longer.
local function next_line()
  local best
  for rank = 0, LAST_RANK do
    local at = places[rank]
    if at and (not best or at < places[best] or at == places[best] and stamps[rank] < stamps[best]) then
      best = rank
    end
  end
  return best
end

-- One command per key, not per item: a take of 250 holds up the server for a third of the time.
local ids, ranks, of_line, records, leases, taken = {}, {}, {}, {}, {}, {}
for i = 1, want do
  local rank = next_line()
  if not rank then
    break
  end
  local id = lines[rank][first[rank]]
  first[rank] = first[rank] + 2
  look_at_first(rank)
  ids[i], ranks[i] = id, tostring(rank)
  of_line[rank] = of_line[rank] or {}
  table.insert(of_line[rank], id)
  leases[2 * i - 1], leases[2 * i] = whole(now + lease_ms), id
end
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local r = parse_record(text)
  r.attempts = r.attempts + 1
  r.token = token
  records[2 * i - 1], records[2 * i] = ids[i], as_text(r)
  local at = #taken
  taken[at + 1], taken[at + 2], taken[at + 3], taken[at + 4] = ids[i], ranks[i], tostring(r.attempts), whole(r.stamp)
end
for rank, gone in pairs(of_line) do
  redis.call('ZREM', q.waiting[rank], unpack(gone))
end
redis.call('HSET', q.items, unpack(records))
redis.call('ZADD', q.leased, unpack(leases))
local answer = { 'taken', whole(now), cjson.encode(taken) }
redis.call('SET', reply_key, cmsgpack.pack(answer), 'PX', 60000)
return answer

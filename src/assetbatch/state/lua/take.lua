-- Takes work under a lease and, where asked to, a slot of the window with it, in one decision:
-- no slot is spent on an empty queue and nothing is taken without a slot. On the way, expired leases
-- end (see lease_ended) and retries whose time has come wait in line again. What is taken is counted as an
-- attempt only when a call goes out for it (start.lua).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       reply (string of this take), and with a window its seven keys (see _window.lua)
-- ARGV: now ('' = the server's time), token (also the call id), JSON array of how many in all and how many
--       of them of bars and history, lease ms, max attempts, retry delay ms, dead letters to keep,
--       the window's options (see _window.lua; '' = no slot is asked for)
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
local CLEARED_AT_ONCE, CLEARED_TIMES = 1000, 10

local now = clock_ms(ARGV[1])
local token, lease_ms = ARGV[2], tonumber(ARGV[4])
local want, want_alone = unpack(cjson.decode(ARGV[3]))
local retry = { attempts = tonumber(ARGV[5]), delay = tonumber(ARGV[6]), keep = tonumber(ARGV[7]) }

clamp_leases(q, now, lease_ms)
clamp_retries(q, now, retry)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.leased, '-inf', whole(now), 'LIMIT', 0, 100)) do
  lease_ended(q, id, read_record(q, id), now, 'the worker died: its lease ran out', retry)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.delayed, '-inf', whole(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', q.delayed, id)
  local r = read_record(q, id)
  if not r then
    forget(q, id)
  elseif r.token == '' then
    wait_in_line(q, id, r)
  end
end

-- What is to be served next: ids, and the line (by rank) that each stands in.
local function choose()
  -- The lines, each in its order: id, stamp, id, stamp, …; the first of each, and where it stands.
  local lines, first, stamps, places = {}, {}, {}, {}

  local function look_at_first(rank)
    local stamp = lines[rank][first[rank] + 1]
    stamps[rank] = stamp and tonumber(stamp)
    places[rank] = stamp and place(rank, stamps[rank])
  end

  for rank = 0, LAST_RANK do
    lines[rank] = redis.call('ZRANGE', q.waiting[rank], 0, want - 1, 'WITHSCORES')
    first[rank] = 1
    look_at_first(rank)
  end
  local ids, ranks, alone = {}, {}, 0
  while #ids < want do
    -- The line whose first stands before all others; of two at one place who has risen to it has waited longer.
    local best
    for rank = 0, LAST_RANK do
      local at = places[rank]
      if at and (rank < FIRST_ALONE or alone < want_alone)
        and (not best or at < places[best] or at == places[best] and stamps[rank] < stamps[best]) then
        best = rank
      end
    end
    if not best then
      break
    end
    ids[#ids + 1], ranks[#ranks + 1] = lines[best][first[best]], best
    alone = alone + (best >= FIRST_ALONE and 1 or 0)
    first[best] = first[best] + 2
    look_at_first(best)
  end
  return ids, ranks
end

-- The records of what waits in these lines; nil where one of them is no work.
local function records_of(ids, ranks)
  local found = {}
  for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
    local r = parse_record(text)
    if not waits(r, ranks[i]) then
      return nil
    end
    found[i] = r
  end
  return found
end

-- Takes out of the lines what is no work, as far as it stands at their head.
local function clear_lines()
  for rank = 0, LAST_RANK do
    local ids = redis.call('ZRANGE', q.waiting[rank], 0, CLEARED_AT_ONCE - 1)
    if #ids > 0 then
      for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
        local r = parse_record(text)
        if not r then
          forget(q, ids[i])
        end
        if not waits(r, rank) then
          redis.call('ZREM', q.waiting[rank], ids[i])
        end
      end
    end
  end
end

local ids, ranks = choose()
local records = #ids > 0 and records_of(ids, ranks)
for _ = 1, CLEARED_TIMES do
  if records or #ids == 0 then
    break
  end
  clear_lines()
  ids, ranks = choose()
  records = #ids > 0 and records_of(ids, ranks)
end
if #ids == 0 then
  local due = redis.call('ZRANGE', q.delayed, 0, 0, 'WITHSCORES')
  return { 'empty', due[2] and whole(tonumber(due[2])) or '0' }
end
if not records then -- more than one script may clear
  return { 'empty', whole(now) }
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

-- One command per key, not per item: a take of 250 holds up the server for a third of the time.
local of_line, texts, leases, taken = {}, {}, {}, {}
for i, r in ipairs(records) do
  local id, rank = ids[i], ranks[i]
  r.token, r.life = token, lease_ms
  texts[2 * i - 1], texts[2 * i] = id, as_text(r)
  leases[2 * i - 1], leases[2 * i] = whole(now + lease_ms), id
  of_line[rank] = of_line[rank] or {}
  table.insert(of_line[rank], id)
  for _, field in ipairs({ id, tostring(rank), tostring(r.attempts), whole(r.stamp) }) do
    taken[#taken + 1] = field
  end
end
for rank, gone in pairs(of_line) do
  redis.call('ZREM', q.waiting[rank], unpack(gone))
end
redis.call('HSET', q.items, unpack(texts))
redis.call('ZADD', q.leased, unpack(leases))
local answer = { 'taken', whole(now), cjson.encode(taken) }
redis.call('SET', reply_key, cmsgpack.pack(answer), 'PX', 60000)
return answer

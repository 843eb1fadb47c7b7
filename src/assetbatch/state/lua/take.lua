-- Take work under a lease and, where a window is given, a slot with it, in one decision: no slot is spent on an empty
-- queue and nothing is taken without a slot. On the way, expired leases end (see lease_ended) and retries whose time
-- has come go back to their lanes. What is taken is counted as an attempt only when a call goes out for it (start.lua).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       reply (string of this take), and with a window its seven keys (see _window.lua)
-- ARGV: options { now_ms, lease_ms, retry (see _queue.lua), window: its options (see _window.lua; absent: no slot is
--       asked for) }, token (also the call id), maximum number of items, maximum number of them of bars and history
-- Returns: {'taken', now (ms), JSON array of the ids, JSON array of "rank:attempts:enqueued_us" of each};
--          {'empty', moment (ms) of the next retry or '0'};
--          {'denied', moment (ms) to come back at, reason, now (ms)}; {'unknown'} where the window's log may be lost
-- The same token asked again within a minute gets the same answer: a reply may get lost.
--@include _clock.lua
--@include _server.lua
--@include _blocks.lua
--@include _window.lua
--@include _reservations.lua
--@include _grant.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
--@include _dead_letters.lua
--@include _leases.lua
local q, reply_key, window_keys = queue_keys(KEYS, 1), KEYS[13], 14
local options, token, want, want_alone = cmsgpack.unpack(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local past = redis.call('GET', reply_key)
if past then
  return cmsgpack.unpack(past)
end
local CLEARED_AT_ONCE, CLEARED_TIMES = 1000, 10

local now = clock_ms(options)
local lease_ms, retry = options.lease_ms, options.retry

-- No lease ends later than its own life from now, and no retry waits for longer than the delay: if one does, the
-- server's clock was set back. `lease_ms` is the life of most leases; those that end earlier need no look.
local function clamp_leases()
  local latest = whole(now + lease_ms)
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', q.leased, '+inf', '(' .. latest, 'LIMIT', 0, 100)) do
    local r = read_record(q, id)
    redis.call('ZADD', q.leased, 'LT', whole(now + (r and r.life or lease_ms)), id)
  end
end

local function clamp_retries()
  local latest = whole(now + retry.delay_ms)
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', q.delayed, '+inf', '(' .. latest, 'LIMIT', 0, 100)) do
    redis.call('ZADD', q.delayed, latest, id)
  end
end

-- End expired leases.
local function end_leases()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.leased, '-inf', whole(now), 'LIMIT', 0, 100)) do
    lease_ended(q, id, read_record(q, id), now, 'the worker died: its lease ran out', retry)
  end
end

-- Put delayed items whose time has come back in their lanes.
local function end_delays()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', q.delayed, '-inf', whole(now), 'LIMIT', 0, 100)) do
    redis.call('ZREM', q.delayed, id)
    local r = read_record(q, id)
    if not r then
      delete_record(q, id)
    elseif r.token == '' then
      put_in_lane(q, id, r)
    end
  end
end

-- Return what is served next: ids, and the rank of the lane in which each waits.
local function choose()
  -- The lanes, each in its order: id, enqueued_us, id, …; the index of the first item of each, and its two scores.
  local lanes, first, enqueued, scores = {}, {}, {}, {}

  local function look_at_first(rank)
    local enqueued_us = lanes[rank][first[rank] + 1]
    enqueued[rank] = enqueued_us and tonumber(enqueued_us)
    scores[rank] = enqueued_us and effective_score(rank, enqueued[rank])
  end

  local filled = {} -- the ranks of the lanes in which anything waits
  for rank = 0, LAST_RANK do
    lanes[rank] = redis.call('ZRANGE', q.waiting[rank], 0, want - 1, 'WITHSCORES')
    first[rank] = 1
    look_at_first(rank)
    filled[#filled + 1] = scores[rank] and rank
  end
  local ids, ranks, alone = {}, {}, 0
  while #ids < want do
    -- The lane whose first item has the lowest score; of two equal scores the item that has waited longer.
    local best
    for _, rank in ipairs(filled) do
      local score = scores[rank]
      if score and (rank < FIRST_ALONE or alone < want_alone)
        and (not best or score < scores[best] or score == scores[best] and enqueued[rank] < enqueued[best]) then
        best = rank
      end
    end
    if not best then
      break
    end
    ids[#ids + 1], ranks[#ranks + 1] = lanes[best][first[best]], best
    alone = alone + (best >= FIRST_ALONE and 1 or 0)
    first[best] = first[best] + 2
    look_at_first(best)
  end
  return ids, ranks
end

-- Return the beginnings of the records of what waits in these lanes; nil where one of them is no work.
local function heads_of(ids, ranks)
  local found = {}
  for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
    found[i] = waiting_head(text, ranks[i])
    if not found[i] then
      return nil
    end
  end
  return found
end

-- Remove from the lanes what is no work, as far as it stands at their head.
local function clear_lanes()
  for rank = 0, LAST_RANK do
    local ids = redis.call('ZRANGE', q.waiting[rank], 0, CLEARED_AT_ONCE - 1)
    if #ids > 0 then
      for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
        if not parse_record(text) then
          delete_record(q, ids[i])
        end
        if not waiting_head(text, rank) then
          redis.call('ZREM', q.waiting[rank], ids[i])
        end
      end
    end
  end
end

clamp_leases()
clamp_retries()
end_leases()
end_delays()
local ids, ranks = choose()
local heads = #ids > 0 and heads_of(ids, ranks)
for _ = 1, CLEARED_TIMES do
  if heads or #ids == 0 then
    break
  end
  clear_lanes()
  ids, ranks = choose()
  heads = #ids > 0 and heads_of(ids, ranks)
end
if #ids == 0 then
  local due = redis.call('ZRANGE', q.delayed, 0, 0, 'WITHSCORES')
  return { 'empty', due[2] and whole(tonumber(due[2])) or '0' }
end
if not heads then -- more than one script may clear
  return { 'empty', whole(now) }
end
if options.window then
  local granted, retry_at, reason = grant(window_of(KEYS, window_keys, options.window), now, token)
  if granted == 'denied' then
    return { 'denied', whole(retry_at), reason, whole(now) }
  end
  if granted == 'unknown' then
    return { 'unknown' }
  end
end

-- One command per key, not per item: a take of 250 holds up the server for a third of the time.
local lease, lease_ends = ':' .. token .. ':' .. whole(lease_ms), whole(now + lease_ms)
local of_lane, texts, leases = {}, {}, {}
for i, head in ipairs(heads) do
  local id, rank = ids[i], ranks[i]
  texts[2 * i - 1], texts[2 * i] = id, head .. lease
  leases[2 * i - 1], leases[2 * i] = lease_ends, id
  of_lane[rank] = of_lane[rank] or {}
  table.insert(of_lane[rank], id)
end
for rank, gone in pairs(of_lane) do
  redis.call('ZREM', q.waiting[rank], unpack(gone))
end
redis.call('HSET', q.items, unpack(texts))
redis.call('ZADD', q.leased, unpack(leases))
local answer = { 'taken', whole(now), cjson.encode(ids), cjson.encode(heads) }
redis.call('SET', reply_key, cmsgpack.pack(answer), 'PX', 60000)
return answer

-- The pending queue. q = { items=, critical=, high=, medium=, low=, bars=, history=, leased=, delayed=,
--                           dead=, dead_items=, errors= }
--
-- items      hash  id -> "rank:attempts:stamp:token": the record; an id has one while it is queued,
--                  delayed or being worked, so it cannot enter twice. token is empty unless leased; then
--                  ":life" follows, how long (ms) the lease may run from now at the most, and ":started" once
--                  a call went out for the item, which counted the attempt.
-- critical … history   zsets of what waits, score = stamp
-- leased     zset  score = moment (ms) at which the lease runs out
-- delayed    zset  score = moment (ms) at which it may be tried again
-- dead       zset  score = moment (ms) of death; dead_items hash id -> "rank:attempts:stamp:error"
-- errors     hash  id -> "moment (ms):error" of the last failure of something that will be tried again
--
-- stamp is the enqueue time in microseconds, made unique and ascending, hence first in first out.
-- An item's place is its stamp plus two hours per class below HIGH: waiting work rises, and LOW is
-- served before everything HIGH that came four hours later. CRITICAL is always first. The latest bars
-- and pages of the past go after all prices, and wait half a day and a day at most before they rise to
-- HIGH: where bars are work of their own, one call brings 250 prices, so prices leave them room.
--
-- A key may be lost (evicted, deleted by hand), and its like survive. A member whose record is gone, cannot be
-- read or says something else is no work: whoever meets it takes it out.
--
-- retry = { attempts = the most of an item, delay = ms before the next, keep = dead letters kept }

local CLASS_SPAN_US = 7200000000
local SPANS_BELOW_HIGH = { 0, 1, 2, 6, 12 } -- in class spans, by rank from 1
local LAST_RANK = 5
local FIRST_ALONE = 4 -- from this rank on each item takes a call of its own

local function queue_keys(keys, first)
  local names = {
    'items', 'critical', 'high', 'medium', 'low', 'bars', 'history',
    'leased', 'delayed', 'dead', 'dead_items', 'errors',
  }
  local q = {}
  for i, name in ipairs(names) do
    q[name] = keys[first + i - 1]
  end
  q.waiting = { [0] = q.critical, q.high, q.medium, q.low, q.bars, q.history }
  return q
end

local function place(rank, stamp)
  if rank == 0 then
    return stamp - 1000000000000000
  end
  return stamp + SPANS_BELOW_HIGH[rank] * CLASS_SPAN_US
end

-- Returns nil for a record that is missing or cannot be read.
local function parse_record(text)
  local rank, attempts, stamp, token, life, mark =
    string.match(text or '', '^([0-5]):(%d+):(%d+):([^:]*):?(%d*):?(%l*)$')
  if not rank then
    return nil
  end
  return {
    rank = tonumber(rank), attempts = tonumber(attempts), stamp = tonumber(stamp),
    token = token, life = tonumber(life), started = mark == 'started',
  }
end

local function read_record(q, id)
  return parse_record(redis.call('HGET', q.items, id))
end

-- Whether this token holds the lease; nobody holds what is not leased.
local function holds(r, token)
  return r ~= nil and token ~= '' and r.token == token
end

local function as_text(r)
  local text = r.rank .. ':' .. r.attempts .. ':' .. whole(r.stamp) .. ':' .. r.token
  if r.token ~= '' and r.life then
    text = text .. ':' .. whole(r.life)
  end
  return text .. (r.started and ':started' or '')
end

local function write_record(q, id, r)
  redis.call('HSET', q.items, id, as_text(r))
end

-- Whether a member of the line of this rank is work that waits there.
local function waits(r, rank)
  return r ~= nil and r.token == '' and r.rank == rank
end

local function wait_in_line(q, id, r)
  r.token, r.started = '', false
  write_record(q, id, r)
  redis.call('ZADD', q.waiting[r.rank], whole(r.stamp), id)
end

-- A new item at the end of its line; returns its stamp: this moment, or just after the last one.
local function enter(q, id, rank, now_us, last_stamp)
  local stamp = math.max(now_us, last_stamp + 1)
  wait_in_line(q, id, { rank = rank, attempts = 0, stamp = stamp })
  return stamp
end

-- Returns how many records went.
local function forget(q, id)
  redis.call('HDEL', q.errors, id)
  return redis.call('HDEL', q.items, id)
end

local function forget_letter(q, id)
  redis.call('HDEL', q.dead_items, id)
  return redis.call('ZREM', q.dead, id)
end

-- Returns rank, attempts and error of a dead letter; nothing for one that is missing or cannot be read.
local function parse_letter(text)
  return string.match(text or '', '^([0-5]):(%d+):%d+:(.*)$')
end

-- Bounded: the oldest letters leave when more than `retry.keep` lie there.
local function bury(q, id, r, now, reason, retry)
  forget(q, id)
  redis.call('ZADD', q.dead, whole(now), id)
  redis.call('HSET', q.dead_items, id, r.rank .. ':' .. r.attempts .. ':' .. whole(r.stamp) .. ':' .. reason)
  local surplus = redis.call('ZCARD', q.dead) - retry.keep
  if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', q.dead, 0, surplus - 1)) do
      forget_letter(q, old)
    end
  end
end

-- What was counted for this lease is taken back.
local function uncount(r)
  if r.started then
    r.attempts, r.started = r.attempts - 1, false
  end
end

-- Leased work goes back to its place in line, its attempt not counted.
local function hand_back(q, id, r)
  redis.call('ZREM', q.leased, id)
  uncount(r)
  wait_in_line(q, id, r)
end

-- Leased work waits for the delay, then goes back to its place in line.
local function try_later(q, id, r, now, reason, retry)
  redis.call('ZREM', q.leased, id)
  r.token, r.started = '', false
  write_record(q, id, r)
  redis.call('HSET', q.errors, id, whole(now) .. ':' .. reason)
  redis.call('ZADD', q.delayed, whole(now + retry.delay), id)
end

-- When an item failed last (ms); now, if it did not since it came in.
local function last_failed(q, id, now)
  return tonumber(string.match(redis.call('HGET', q.errors, id) or '', '^(%d+):') or now)
end

-- An attempt is over without success: again after the delay, or dead. Returns 'retry' or 'dead'.
local function attempt_failed(q, id, r, now, reason, final, retry)
  if final or r.attempts >= retry.attempts then
    redis.call('ZREM', q.leased, id)
    bury(q, id, r, now, reason, retry)
    return 'dead'
  end
  try_later(q, id, r, now, reason, retry)
  return 'retry'
end

-- No lease ends later than its own life from now, and no retry waits for longer than the delay: if one does, the
-- server's clock was set back. `usual` (ms) is the life of most leases; those that end earlier need no look.
local function clamp_leases(q, now, usual)
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', q.leased, '+inf', '(' .. whole(now + usual), 'LIMIT', 0, 100)) do
    local r = read_record(q, id)
    redis.call('ZADD', q.leased, 'LT', whole(now + (r and r.life or usual)), id)
  end
end

local function clamp_retries(q, now, retry)
  local latest = whole(now + retry.delay)
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', q.delayed, '+inf', '(' .. latest, 'LIMIT', 0, 100)) do
    redis.call('ZADD', q.delayed, latest, id)
  end
end

-- The lease of a member of `leased` is over and its holder has not ended it; r is the item's record, nil where there is
-- none. Work that no call went out for goes back to its place, uncounted.
local function lease_ended(q, id, r, now, reason, retry)
  if not r or r.token == '' then
    redis.call('ZREM', q.leased, id)
    if not r then
      forget(q, id)
    end
  elseif r.started then
    attempt_failed(q, id, r, now, reason, false, retry)
  else
    hand_back(q, id, r)
  end
end

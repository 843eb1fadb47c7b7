-- The lanes in which items wait, and the order over all of them.
--
-- The effective score of an item is its enqueued_us plus two hours for each step of its lane below HIGH. Waiting work
-- rises: LOW goes before everything HIGH that came four hours later. CRITICAL always goes first. The latest bars
-- and pages of the past go after all prices, and rise to HIGH after half a day and a day at most: where bars
-- are work of their own, one call brings 250 prices, so prices leave them room.

local STEP_US = 7200000000
local STEPS_BELOW_HIGH = { 0, 1, 2, 6, 12 } -- by rank from 1
local LAST_RANK = 5
local FIRST_ALONE = 4 -- from this rank on each item takes a call of its own

local function effective_score(rank, enqueued_us)
  if rank == 0 then
    return enqueued_us - 1000000000000000
  end
  return enqueued_us + STEPS_BELOW_HIGH[rank] * STEP_US
end

-- Return whether a member of the lane of this rank is work that waits there.
local function waits(r, rank)
  return r ~= nil and r.token == '' and r.rank == rank
end

-- Return the beginning "rank:attempts:enqueued_us" of the record of such work; nil for anything else.
local function waiting_head(text, rank)
  local head = string.match(text or '', '^([0-5]:%d+:%d+):$')
  return head and string.byte(head) - string.byte('0') == rank and head or nil
end

-- Put an item at its place in its lane.
local function put_in_lane(q, id, r)
  r.token, r.started = '', false
  write_record(q, id, r)
  redis.call('ZADD', q.waiting[r.rank], r.enqueued_us, id)
end

-- Return the enqueued_us of a new item: this moment, or just after the last one.
local function next_enqueued_us(now_us, last_enqueued_us)
  return math.max(now_us, last_enqueued_us + 1)
end

-- Insert a new item at the end of its lane. Return its enqueued_us.
local function insert(q, id, rank, now_us, last_enqueued_us)
  local enqueued_us = next_enqueued_us(now_us, last_enqueued_us)
  put_in_lane(q, id, { rank = rank, attempts = 0, enqueued_us = whole(enqueued_us) })
  return enqueued_us
end

-- Take back the attempt that was counted for this lease.
local function uncount(r)
  if r.started then
    r.attempts, r.started = r.attempts - 1, false
  end
end

-- Put leased work back at its place in its lane, without counting the attempt.
local function hand_back(q, id, r)
  redis.call('ZREM', q.leased, id)
  uncount(r)
  put_in_lane(q, id, r)
end

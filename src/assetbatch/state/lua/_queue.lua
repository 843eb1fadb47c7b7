-- The keys of the pending queue. q = { items=, waiting={critical, high, medium, low, bars, history}, leased=,
--                                      delayed=, dead=, dead_items=, errors= }
--
-- items      hash  id -> "rank:attempts:enqueued_us:token": the record. An id has one while it waits, is delayed or is
--                  being worked, so it cannot enter twice. The token is empty unless the item is leased; then
--                  ":life" follows, the longest (ms) that the lease may run from now, and ":started" once
--                  a call went out for the item, which counted the attempt.
-- critical … history   zsets of what waits, one for each lane; score = enqueued_us
-- leased     zset  score = moment (ms) at which the lease ends
-- delayed    zset  score = moment (ms) at which the item may be tried again
-- dead       zset  score = moment (ms) of death; dead_items hash id -> "rank:attempts:enqueued_us:error"
-- errors     hash  id -> "moment (ms):error" of the last failure of an item that will be tried again
--
-- enqueued_us is the time at which an item was enqueued (µs), made unique and ascending, hence first in first out.
-- A rank is the number of a lane: 0 for critical to 5 for history.
--
-- A key may be lost (evicted, deleted by hand) while the others survive. A member whose record is gone, cannot be
-- read or says something else is no work: the script that meets it removes it.
--
-- options.retry = { max_attempts, delay_ms (before the next attempt), dead_letters_kept }

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

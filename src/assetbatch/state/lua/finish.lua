-- Work is done: the holder of the lease takes it off the books, and its dead letter of old with it.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: token, ids
-- Returns: the ids that this token does not hold (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local lost = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local r = read_record(q, id)
  if holds(r, ARGV[1]) then
    forget(q, id)
    redis.call('ZREM', q.leased, id)
    forget_letter(q, id)
  else
    lost[#lost + 1] = id
  end
end
return lost

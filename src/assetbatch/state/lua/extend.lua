-- The holder goes on working: its leases run from now on anew.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: now ('' = the server's time), token, lease ms, ids
-- Returns: the ids that this token does not hold (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local expires = whole(clock_ms(ARGV[1]) + tonumber(ARGV[3]))
local lost = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local r = read_record(q, id)
  if holds(r, ARGV[2]) then
    redis.call('ZADD', q.leased, expires, id)
  else
    lost[#lost + 1] = id
  end
end
return lost

-- Leased work goes back to its place in line, its attempt not counted.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: token, ids
-- Returns: how many went back
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local released = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local r = read_record(q, id)
  if holds(r, ARGV[1]) then
    hand_back(q, id, r)
    released = released + 1
  end
end
return released

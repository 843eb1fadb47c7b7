-- Put leased work back at its place in its lane, without counting the attempt.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: token, ids
-- Returns: how many items went back
--@include _clock.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
local q = queue_keys(KEYS, 1)
local token = ARGV[1]
local released = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local r = read_record(q, id)
  if holds(r, token) then
    hand_back(q, id, r)
    released = released + 1
  end
end
return released

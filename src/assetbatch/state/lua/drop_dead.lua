-- Delete dead letters.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: ids
-- Returns: the ids that were there
--@include _queue.lua
--@include _dead_letters.lua
local q = queue_keys(KEYS, 1)
local dropped = {}
for _, id in ipairs(ARGV) do
  if delete_dead_letter(q, id) == 1 then
    dropped[#dropped + 1] = id
  end
end
return dropped

-- Return what the score of an item is more than its enqueued_us, for each lane; see _lanes.lua.
-- KEYS: items, which is not read: it says where the script runs
-- Returns: microseconds for critical to history, all as text
--@include _clock.lua
--@include _records.lua
--@include _lanes.lua
local more = {}
for rank = 0, LAST_RANK do
  more[#more + 1] = whole(effective_score(rank, 0))
end
return more

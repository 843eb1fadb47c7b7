-- Delete work that is done, and its old dead letter with it.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: token, ids (one msgpack array)
-- Returns: the ids that this token does not hold (any more)
--@include _queue.lua
--@include _records.lua
local q = queue_keys(KEYS, 1)
local token, ids = ARGV[1], cmsgpack.unpack(ARGV[2])
local done, lost, is_done = {}, {}, {}
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local id = ids[i]
  if holder_of(text) == token and not is_done[id] then -- an id that comes twice is deleted already the second time
    is_done[id] = true
    done[#done + 1] = id
  else
    lost[#lost + 1] = id
  end
end
if #done > 0 then -- one command per key, not per item
  redis.call('HDEL', q.items, unpack(done))
  redis.call('HDEL', q.errors, unpack(done))
  redis.call('ZREM', q.leased, unpack(done))
  redis.call('HDEL', q.dead_items, unpack(done))
  redis.call('ZREM', q.dead, unpack(done))
end
return lost

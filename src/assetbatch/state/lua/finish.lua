-- Work is done: the holder of the lease takes it off the books, and its dead letter of old with it.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: token, JSON array of ids
-- Returns: the ids that this token does not hold (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local ids, done, lost, off = cjson.decode(ARGV[2]), {}, {}, {}
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local id, r = ids[i], parse_record(text)
  if holds(r, ARGV[1]) and not off[id] then -- an id that comes twice is off the books the second time
    off[id] = true
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

-- Start a call for leased work: its attempt is counted, once in a lease, and the lease runs from now on anew.
-- Where the token does not hold all of the items (any more), nothing is done: the call must not go out.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: options { now_ms, lease_ms }, token, ids (one msgpack array)
-- Returns: the ids that this token does not hold
--@include _clock.lua
--@include _queue.lua
--@include _records.lua
local q = queue_keys(KEYS, 1)
local options, token, ids = cmsgpack.unpack(ARGV[1]), ARGV[2], cmsgpack.unpack(ARGV[3])
local lease_ends, life = whole(clock_ms(options) + options.lease_ms), whole(options.lease_ms)
local lost, records, renewed = {}, {}, {}
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local id, started = ids[i], started_text(text, token, life)
  if started then
    records[2 * i - 1], records[2 * i] = id, started
    renewed[2 * i - 1], renewed[2 * i] = lease_ends, id
  else
    lost[#lost + 1] = id
  end
end
if #lost == 0 then
  redis.call('HSET', q.items, unpack(records))
  redis.call('ZADD', q.leased, unpack(renewed))
end
return lost

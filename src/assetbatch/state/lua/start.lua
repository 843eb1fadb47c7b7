-- A call goes out for leased work: its attempt is counted, once in a lease, and the lease runs from now on anew.
-- Where the token does not hold all of it (any more), nothing is done: the call must not go out.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: now ('' = the server's time), token, lease ms, JSON array of ids
-- Returns: the ids that this token does not hold
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local expires = whole(clock_ms(ARGV[1]) + tonumber(ARGV[3]))
local ids, lost, records, renewed = cjson.decode(ARGV[4]), {}, {}, {}
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local r = parse_record(text)
  if not holds(r, ARGV[2]) then
    lost[#lost + 1] = ids[i]
  else
    if not r.started then
      r.attempts, r.started = r.attempts + 1, true
    end
    r.life = tonumber(ARGV[3])
    records[#records + 1], records[#records + 2] = ids[i], as_text(r)
    renewed[#renewed + 1], renewed[#renewed + 2] = expires, ids[i]
  end
end
if #lost == 0 then
  redis.call('HSET', q.items, unpack(records))
  redis.call('ZADD', q.leased, unpack(renewed))
end
return lost

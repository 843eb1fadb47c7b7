-- Frees what dead processes hold. A call of theirs counts as one that arrives at the latest `arrival` ms from now: the
-- sockets of a dead process send nothing more. What may be passed on by a proxy keeps its date.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       calls, waiters, waiters_until (see _window.lua), then the locks (zsets)
-- ARGV: now ('' = the server's time), arrival ms, max attempts, retry delay ms, dead letters to keep,
--       JSON array: dead processes
-- Returns: how many things were freed
--@include _clock.lua
--@include _queue.lua
--@include _holders.lua
local q = queue_keys(KEYS, 1)
local calls_key, waiters_key, until_key = KEYS[13], KEYS[14], KEYS[15]
local now, arrival_ms = clock_ms(ARGV[1]), tonumber(ARGV[2])
local retry = { attempts = tonumber(ARGV[3]), delay = tonumber(ARGV[4]), keep = tonumber(ARGV[5]) }
local dead, freed = {}, 0
for _, process in ipairs(cjson.decode(ARGV[6])) do
  dead[process] = true
end

local latest = whole(now + arrival_ms)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', calls_key, '(' .. latest, '+inf')) do
  local process, route = maker_of(id)
  if dead[process] and route == 'd' then
    redis.call('ZADD', calls_key, latest, id)
    freed = freed + 1
  end
end
for _, id in ipairs(redis.call('ZRANGE', waiters_key, 0, -1)) do
  if dead[maker_of(id)] then
    freed = freed + redis.call('ZREM', waiters_key, id)
    redis.call('ZREM', until_key, id)
  end
end
for id, token in pairs(leased_tokens(q)) do
  if dead[maker_of(token)] then
    lease_ended(q, id, read_record(q, id), now, 'the worker died', retry)
    freed = freed + 1
  end
end
for i = 16, #KEYS do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    if dead[maker_of(member)] then
      freed = freed + redis.call('ZREM', KEYS[i], member)
    end
  end
end
return freed

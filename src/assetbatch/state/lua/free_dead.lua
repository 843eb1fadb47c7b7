-- Free what dead processes hold. A call of theirs counts as one that arrives at the latest `arrival_ms` from now: the
-- sockets of a dead process send nothing more. A call that a proxy may pass on keeps its date.
-- Where the queue was filled on another server, this one was restarted or replaced: the process has ended for want of
-- it, and what it held has lost no attempt.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       calls, waiters, waiters_until (see _window.lua), then the locks (zsets), at last the owner of the queue
-- ARGV: options { now_ms, arrival_ms, retry (see _queue.lua), server }, dead processes
-- Returns: how many things were freed
--@include _clock.lua
--@include _server.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
--@include _dead_letters.lua
--@include _leases.lua
--@include _holders.lua
local q = queue_keys(KEYS, 1)
local calls_key, waiters_key, until_key, first_lock, owner_key = KEYS[13], KEYS[14], KEYS[15], 16, KEYS[#KEYS]
local options = cmsgpack.unpack(ARGV[1])
local now = clock_ms(options)
local owner = redis.call('GET', owner_key)
local is_new_server = owner and owner ~= server_name(options.server)
local dead, freed = {}, 0
for i = 2, #ARGV do
  dead[ARGV[i]] = true
end

local latest = whole(now + options.arrival_ms)
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
    local r = read_record(q, id)
    if r and is_new_server then
      hand_back(q, id, r)
    else
      lease_ended(q, id, r, now, 'the worker died', options.retry)
    end
    freed = freed + 1
  end
end
for i = first_lock, #KEYS - 1 do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    if dead[maker_of(member)] then
      freed = freed + redis.call('ZREM', KEYS[i], member)
    end
  end
end
return freed

-- Return the processes that hold something now: a call that is not completed, a ticket, a lease, a place in a lock.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       calls, waiters, waiters_until (see _window.lua), then the locks (zsets)
-- ARGV: options { now_ms }
-- Returns: the processes (see _holders.lua)
--@include _clock.lua
--@include _queue.lua
--@include _holders.lua
local q = queue_keys(KEYS, 1)
local calls_key, waiters_key, first_lock = KEYS[13], KEYS[14], 16
local now = clock_ms(cmsgpack.unpack(ARGV[1]))
local found, processes = {}, {}

local function note(id)
  local process = maker_of(id)
  if process and not found[process] then
    found[process] = true
    processes[#processes + 1] = process
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', calls_key, '(' .. whole(now + 1), '+inf')) do
  note(id)
end
for _, id in ipairs(redis.call('ZRANGE', waiters_key, 0, -1)) do
  note(id)
end
for _, token in pairs(leased_tokens(q)) do
  note(token)
end
for i = first_lock, #KEYS do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    note(member)
  end
end
return processes

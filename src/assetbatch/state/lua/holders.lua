-- Which processes hold something now: a call that is not settled, a place among those that run a command, a lease.
-- KEYS: calls (zset), items (hash), leased (zset), then the locks (zsets)
-- ARGV: now ('' = the server's time)
-- Returns: the processes (see _holders.lua)
--@include _clock.lua
--@include _holders.lua
local now = clock_ms(ARGV[1])
local found, processes = {}, {}

local function note(id)
  local process = maker_of(id)
  if process and not found[process] then
    found[process] = true
    processes[#processes + 1] = process
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now + 1), '+inf')) do
  note(id)
end
for _, token in pairs(leased_tokens(KEYS[3], KEYS[2])) do
  note(token)
end
for i = 4, #KEYS do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    note(member)
  end
end
return processes

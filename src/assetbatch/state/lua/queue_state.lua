-- The queue's figures; changes nothing. Sizes count what waits, is delayed or is being worked.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, owner
-- ARGV: now ('' = the server's time), the server's name where it keeps one (see _server.lua)
-- Returns: {now, size, critical, high, medium, low, bars, history, leased, delayed, dead,
--          stamp µs of what has waited longest or '0', 1 where the queue was filled on this server, else 0}
--@include _clock.lua
--@include _server.lua
local oldest
for i = 2, 7 do
  local head = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if head[1] then
    oldest = math.min(oldest or tonumber(head[2]), tonumber(head[2]))
  end
end
local answer = { whole(clock_ms(ARGV[1])), redis.call('HLEN', KEYS[1]) }
for i = 2, 10 do
  answer[#answer + 1] = redis.call('ZCARD', KEYS[i])
end
answer[#answer + 1] = oldest and whole(oldest) or '0'
answer[#answer + 1] = redis.call('GET', KEYS[11]) == server_name(ARGV[2]) and 1 or 0
return answer

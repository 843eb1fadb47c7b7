-- Return the queue's figures; changes nothing. Sizes count what waits, is delayed or is being worked.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, owner
-- ARGV: options { now_ms, server }
-- Returns: {now (ms), size, critical, high, medium, low, bars, history, leased, delayed, dead,
--          enqueued_us of what has waited longest or '0', 1 where the queue was filled on this server, else 0}
--@include _clock.lua
--@include _server.lua
local items_key, owner_key = KEYS[1], KEYS[11]
local first_lane, last_lane, last_size = 2, 7, 10
local options = cmsgpack.unpack(ARGV[1])
local oldest
for i = first_lane, last_lane do
  local head = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  if head[1] then
    oldest = math.min(oldest or tonumber(head[2]), tonumber(head[2]))
  end
end
local answer = { whole(clock_ms(options)), redis.call('HLEN', items_key) }
for i = first_lane, last_size do
  answer[#answer + 1] = redis.call('ZCARD', KEYS[i])
end
answer[#answer + 1] = oldest and whole(oldest) or '0'
answer[#answer + 1] = redis.call('GET', owner_key) == server_name(options.server) and 1 or 0
return answer

-- The figures of the queue; see queue_state.lua. Sizes count what waits, is delayed or is being worked.

-- `keys` begin with those of queue_state.lua.
local function queue_figures(keys, options)
  local items_key, owner_key = keys[1], keys[11]
  local first_lane, last_lane, last_size = 2, 7, 10
  local oldest
  for i = first_lane, last_lane do
    local lane_key = keys[i]
    local head = redis.call('ZRANGE', lane_key, 0, 0, 'WITHSCORES')
    if head[1] then
      oldest = math.min(oldest or tonumber(head[2]), tonumber(head[2]))
    end
  end
  local answer = { whole(clock_ms(options)), redis.call('HLEN', items_key) }
  for i = first_lane, last_size do
    local set_key = keys[i]
    answer[#answer + 1] = redis.call('ZCARD', set_key)
  end
  answer[#answer + 1] = oldest and whole(oldest) or '0'
  answer[#answer + 1] = redis.call('GET', owner_key) == server_name(options.server) and 1 or 0
  return answer
end

-- The youngest dead letters, newest first. One without a text that can be read is taken out.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: how many
-- Returns: id, moment of death, rank, attempts, error of each, all as text
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local pairs_found, ids = redis.call('ZREVRANGE', q.dead, 0, tonumber(ARGV[1]) - 1, 'WITHSCORES'), {}
for i = 1, #pairs_found, 2 do
  ids[#ids + 1] = pairs_found[i]
end
local answer = {}
if #ids == 0 then
  return answer
end
for i, text in ipairs(redis.call('HMGET', q.dead_items, unpack(ids))) do
  local rank, attempts, reason = parse_letter(text)
  if rank then
    for _, field in ipairs({ ids[i], whole(tonumber(pairs_found[2 * i])), rank, attempts, reason }) do
      answer[#answer + 1] = field
    end
  else
    forget_letter(q, ids[i])
  end
end
return answer

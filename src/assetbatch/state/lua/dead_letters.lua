-- Return the youngest dead letters, newest first. One whose text is missing or cannot be read is deleted.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: maximum number of dead letters
-- Returns: id, moment of death (ms), rank, attempts, error of each, all as text
--@include _clock.lua
--@include _queue.lua
--@include _dead_letters.lua
local q = queue_keys(KEYS, 1)
local count = tonumber(ARGV[1])
local scored, ids = redis.call('ZREVRANGE', q.dead, 0, count - 1, 'WITHSCORES'), {}
for i = 1, #scored, 2 do
  ids[#ids + 1] = scored[i]
end
local answer = {}
if #ids == 0 then
  return answer
end
for i, text in ipairs(redis.call('HMGET', q.dead_items, unpack(ids))) do
  local rank, attempts, reason = parse_dead_letter(text)
  if rank then
    for _, field in ipairs({ ids[i], whole(tonumber(scored[2 * i])), rank, attempts, reason }) do
      answer[#answer + 1] = field
    end
  else
    delete_dead_letter(q, ids[i])
  end
end
return answer

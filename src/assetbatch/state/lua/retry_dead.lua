-- Dead letters go back to the end of their lines, as new items; a letter whose work is queued again
-- anyway is only removed.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       stamp (string)
-- ARGV: now ('' = the server's time), max size, ids
-- Returns: a letter per id: a back in line, d queued already, x no room (the letter stays), u no such letter
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local now_us = clock_ms(ARGV[1]) * 1000
local max_size = tonumber(ARGV[2])
local stamp = tonumber(redis.call('GET', KEYS[13]) or '0')
local size = redis.call('HLEN', q.items)
local codes = {}
for i = 3, #ARGV do
  local id, code = ARGV[i], 'u'
  local rank = parse_letter(redis.call('HGET', q.dead_items, id))
  if rank then
    if redis.call('HEXISTS', q.items, id) == 1 then
      code = 'd'
    elseif size >= max_size then
      code = 'x'
    else
      stamp = enter(q, id, tonumber(rank), now_us, stamp)
      redis.call('SET', KEYS[13], whole(stamp))
      size = size + 1
      code = 'a'
    end
    if code ~= 'x' then
      forget_letter(q, id)
    end
  else
    forget_letter(q, id)
  end
  codes[#codes + 1] = code
end
return table.concat(codes)

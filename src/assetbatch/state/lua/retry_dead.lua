-- Put dead letters back at the end of their lanes, as new items. A letter whose work is in the queue again
-- anyway is only deleted.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       stamp (string: the last enqueued_us)
-- ARGV: options { now_ms, max_size }, ids
-- Returns: a letter per id: a back in its lane, d in the queue already, x no room (the letter stays), u no such letter
--@include _clock.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
--@include _dead_letters.lua
local q, stamp_key = queue_keys(KEYS, 1), KEYS[13]
local options = cmsgpack.unpack(ARGV[1])
local now_us = clock_ms(options) * 1000
local last_us = tonumber(redis.call('GET', stamp_key) or '0')
local size = redis.call('HLEN', q.items)
local codes = {}
for i = 2, #ARGV do
  local id, code = ARGV[i], 'u'
  local rank = parse_dead_letter(redis.call('HGET', q.dead_items, id))
  if rank then
    if redis.call('HEXISTS', q.items, id) == 1 then
      code = 'd'
    elseif size >= options.max_size then
      code = 'x'
    else
      last_us = insert(q, id, tonumber(rank), now_us, last_us)
      redis.call('SET', stamp_key, whole(last_us))
      size = size + 1
      code = 'a'
    end
    if code ~= 'x' then
      delete_dead_letter(q, id)
    end
  else
    delete_dead_letter(q, id)
  end
  codes[#codes + 1] = code
end
return table.concat(codes)

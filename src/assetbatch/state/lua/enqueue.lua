-- Puts items into the queue, each once; a higher class raises what already waits.
-- When the queue is full, what would be served last goes: the newcomer or the last in line. Work that is known
-- but stands nowhere gets in line again.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       stamp (string)
-- ARGV: now ('' = the server's time), max size, then id and rank of each item
-- Returns: {codes, id, id, …}: a letter per item (a added, r raised, d already there, x no room), then the
--          ids of waiting items that had to go for them
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local now_us = clock_ms(ARGV[1]) * 1000
local max_size = tonumber(ARGV[2])
local stamp = tonumber(redis.call('GET', KEYS[13]) or '0')
local size = redis.call('HLEN', q.items)
local codes, dropped = {}, {}

-- Whether a record has no place, which would keep its work out for ever.
local function is_nowhere(q, id, r)
  if r.token ~= '' then
    return not redis.call('ZSCORE', q.leased, id)
  end
  return not redis.call('ZSCORE', q.waiting[r.rank], id) and not redis.call('ZSCORE', q.delayed, id)
end

local function last_in_line()
  local last_id, last_rank, last_place
  for rank = 0, LAST_RANK do
    local tail = redis.call('ZRANGE', q.waiting[rank], -1, -1, 'WITHSCORES')
    if tail[1] then
      local at = place(rank, tonumber(tail[2]))
      if not last_place or at > last_place then
        last_id, last_rank, last_place = tail[1], rank, at
      end
    end
  end
  return last_id, last_rank, last_place
end

local function make_room(rank, at)
  while size >= max_size do -- more than once where the bound was lowered
    local id, last_rank, last_place = last_in_line()
    if not id or last_place <= place(rank, at) then
      return false
    end
    local r = read_record(q, id)
    redis.call('ZREM', q.waiting[last_rank], id)
    if waits(r, last_rank) then
      dropped[#dropped + 1] = id
    end
    if not r or waits(r, last_rank) then
      size = size - forget(q, id)
    end
  end
  return true
end

for i = 3, #ARGV, 2 do
  local id, rank = ARGV[i], tonumber(ARGV[i + 1])
  local known = read_record(q, id)
  local code = 'd'
  if known then
    if rank < known.rank and known.token == '' then
      redis.call('ZREM', q.waiting[known.rank], id)
      known.rank = rank
      if redis.call('ZSCORE', q.delayed, id) then
        write_record(q, id, known)
      else
        wait_in_line(q, id, known)
      end
      code = 'r'
    elseif is_nowhere(q, id, known) then
      wait_in_line(q, id, known)
    end
  else
    if make_room(rank, math.max(now_us, stamp + 1)) then
      stamp = enter(q, id, rank, now_us, stamp)
      size = size + 1
      code = 'a'
    else
      code = 'x'
    end
  end
  codes[#codes + 1] = code
end
redis.call('SET', KEYS[13], whole(stamp))
local answer, told = { table.concat(codes) }, {}
for _, id in ipairs(dropped) do
  if not told[id] and redis.call('HEXISTS', q.items, id) == 0 then -- else it came in again later in this batch
    told[id] = true
    answer[#answer + 1] = id
  end
end
return answer

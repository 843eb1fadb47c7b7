-- Put items into the queue, each once; a higher lane raises an item that waits already.
-- When the queue is full, the item that would be served last is dropped: the newcomer or the last of those that wait.
-- An item that is known but stands nowhere is put in its lane again.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors,
--       stamp (string: the last enqueued_us)
-- ARGV: options { now_ms, max_size }, items (one msgpack array: id, rank, id, …)
-- Returns: {codes, id, id, …}: a letter per item (a added, r raised, d already there, x no room), then the
--          ids of waiting items that were dropped for them
--@include _clock.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
local q, stamp_key = queue_keys(KEYS, 1), KEYS[13]
local options, items = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(ARGV[2])
local now_us = clock_ms(options) * 1000
local last_us = tonumber(redis.call('GET', stamp_key) or '0')
local size = redis.call('HLEN', q.items)
local codes, dropped = {}, {}

-- New items are written together: one command per key, not per item.
local new_records, new_places = {}, {}

local function write_new()
  if #new_records > 0 then
    redis.call('HSET', q.items, unpack(new_records))
  end
  for rank, places in pairs(new_places) do
    redis.call('ZADD', q.waiting[rank], unpack(places))
  end
  new_records, new_places = {}, {}
end

local function add(id, rank)
  last_us = next_enqueued_us(now_us, last_us)
  size = size + 1
  local enqueued_us = whole(last_us)
  new_records[#new_records + 1] = id
  new_records[#new_records + 1] = new_record_text(rank, enqueued_us)
  local places = new_places[rank] or {}
  places[#places + 1], places[#places + 2] = enqueued_us, id
  new_places[rank] = places
end

-- Return whether a record has no place, which would keep its work out for ever.
local function is_nowhere(q, id, r)
  if r.token ~= '' then
    return not redis.call('ZSCORE', q.leased, id)
  end
  return not redis.call('ZSCORE', q.waiting[r.rank], id) and not redis.call('ZSCORE', q.delayed, id)
end

-- Return id, rank and effective score of the item that is served last of all that wait.
local function last_waiting()
  local last_id, last_rank, last_score
  for rank = 0, LAST_RANK do
    local tail = redis.call('ZRANGE', q.waiting[rank], -1, -1, 'WITHSCORES')
    if tail[1] then
      local score = effective_score(rank, tonumber(tail[2]))
      if not last_score or score > last_score then
        last_id, last_rank, last_score = tail[1], rank, score
      end
    end
  end
  return last_id, last_rank, last_score
end

-- Drop waiting items until there is room. Return false where a newcomer of this rank would be served last.
local function make_room(rank, enqueued_us)
  write_new()
  while size >= options.max_size do -- more than once where the maximum was lowered
    local id, last_rank, last_score = last_waiting()
    if not id or last_score <= effective_score(rank, enqueued_us) then
      return false
    end
    local r = read_record(q, id)
    redis.call('ZREM', q.waiting[last_rank], id)
    if waits(r, last_rank) then
      dropped[#dropped + 1] = id
    end
    if not r or waits(r, last_rank) then
      size = size - delete_record(q, id)
    end
  end
  return true
end

local ids, is_changed, may_be_dropped = {}, {}, false
for i = 1, #items, 2 do
  ids[#ids + 1] = items[i]
end
for i, text in ipairs(redis.call('HMGET', q.items, unpack(ids))) do
  local id, rank = ids[i], items[2 * i]
  local known
  if is_changed[id] or may_be_dropped then -- by this batch, since the records were read
    write_new()
    known = read_record(q, id)
  else
    known = parse_record(text)
  end
  is_changed[id] = true
  local code = 'd'
  if known then
    if rank < known.rank and known.token == '' then
      write_new() -- before the first removal: what a full server refuses is then refused as a whole
      redis.call('ZREM', q.waiting[known.rank], id)
      known.rank = rank
      if redis.call('ZSCORE', q.delayed, id) then
        write_record(q, id, known)
      else
        put_in_lane(q, id, known)
      end
      code = 'r'
    elseif is_nowhere(q, id, known) then
      put_in_lane(q, id, known)
    end
  elseif size < options.max_size then
    add(id, rank)
    code = 'a'
  else
    may_be_dropped = true
    if make_room(rank, next_enqueued_us(now_us, last_us)) then
      add(id, rank)
      code = 'a'
    else
      code = 'x'
    end
  end
  codes[#codes + 1] = code
end
write_new()
redis.call('SET', stamp_key, whole(last_us))
local answer, told = { table.concat(codes) }, {}
for _, id in ipairs(dropped) do
  if not told[id] and redis.call('HEXISTS', q.items, id) == 0 then -- else it came in again later in this batch
    told[id] = true
    answer[#answer + 1] = id
  end
end
return answer

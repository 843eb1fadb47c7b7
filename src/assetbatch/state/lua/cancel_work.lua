-- Take work out of the queue that waits or is delayed. Work under a lease stays: its call may be on its way.
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: ids
-- Returns: a letter per id: c cancelled, l leased, u not in the queue
--@include _queue.lua
--@include _records.lua
local q = queue_keys(KEYS, 1)
local codes = {}
for i, id in ipairs(ARGV) do
  local text = redis.call('HGET', q.items, id)
  local r = parse_record(text)
  if not text then
    codes[i] = 'u'
  elseif r and r.token ~= '' and redis.call('ZSCORE', q.leased, id) then
    codes[i] = 'l'
  else
    for rank = r and r.rank or 0, r and r.rank or #q.waiting do -- without a record it may stand anywhere
      redis.call('ZREM', q.waiting[rank], id)
    end
    redis.call('ZREM', q.leased, id)
    redis.call('ZREM', q.delayed, id)
    delete_record(q, id)
    codes[i] = 'c'
  end
end
return table.concat(codes)

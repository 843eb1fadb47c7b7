-- Record failures of leased work. An item is tried again after the delay; after its last attempt it is a dead letter
-- (or at once, where another try cannot help).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: options { now_ms, retry (see _queue.lua), answered_ms: the moment of the provider's last answer to anybody
--       (0 = none) }, token, then per item: id, error, and how it failed:
--       'final' (another try cannot help), or whose fault it is: 'item' (counted), 'nobody' (not counted) or
--       'provider' (counted if the provider has answered since the item's last failure: then it is the item's)
-- Returns: a word per item: 'retry', 'dead', or 'lost' where this token does not hold the item (any more)
--@include _clock.lua
--@include _queue.lua
--@include _records.lua
--@include _lanes.lua
--@include _dead_letters.lua
--@include _leases.lua
local q = queue_keys(KEYS, 1)
local options, token = cmsgpack.unpack(ARGV[1]), ARGV[2]
local now = clock_ms(options)
local answered = options.answered_ms
if answered > now + 60000 then -- the server's clock was set back since; clients are never so far ahead of it
  answered = 0
end

-- Return when an item failed last (ms); now, if it has not failed since it came in.
local function last_failed(id)
  return tonumber(string.match(redis.call('HGET', q.errors, id) or '', '^(%d+):') or now)
end

local result = {}
for i = 3, #ARGV, 3 do
  local id, reason, how = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local r = read_record(q, id)
  if not holds(r, token) then
    result[#result + 1] = 'lost'
  elseif how == 'nobody' or how == 'provider' and answered <= last_failed(id) then
    uncount(r)
    try_later(q, id, r, now, reason, options.retry)
    result[#result + 1] = 'retry'
  else
    result[#result + 1] = attempt_failed(q, id, r, now, reason, how == 'final', options.retry)
  end
end
return result

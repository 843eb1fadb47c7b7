-- Work failed: tried again after the delay, or a dead letter after the last attempt (or at once, where
-- another try cannot help).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: now ('' = the server's time), token, max attempts, retry delay ms, dead letters to keep, the moment of the
--       provider's last answer to anybody ('0' = none), then per item: id, the error, and how:
--       'final' (another try cannot help), or whose fault it is: 'item' (counted), 'nobody' (not counted) or
--       'provider' (counted if the provider has answered since the item's last failure: then it is the item's)
-- Returns: a word per item: 'retry', 'dead', or 'lost' where this token does not hold it (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local now = clock_ms(ARGV[1])
local retry = { attempts = tonumber(ARGV[3]), delay = tonumber(ARGV[4]), keep = tonumber(ARGV[5]) }
local result = {}
local answered = tonumber(ARGV[6])
if answered > now + 60000 then -- the server's clock was set back since; clients are never so far ahead of it
  answered = 0
end
for i = 7, #ARGV, 3 do
  local id, reason, how = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local r = read_record(q, id)
  if not holds(r, ARGV[2]) then
    result[#result + 1] = 'lost'
  elseif how == 'nobody' or how == 'provider' and answered <= last_failed(q, id, now) then
    uncount(r)
    try_later(q, id, r, now, reason, retry)
    result[#result + 1] = 'retry'
  else
    result[#result + 1] = attempt_failed(q, id, r, now, reason, how == 'final', retry)
  end
end
return result

-- Work failed: tried again after the delay, or a dead letter after the last attempt (or at once, where
-- another try cannot help).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: now ('' = the server's time), token, max attempts, retry delay ms, dead letters to keep,
--       then per item: id, how ('counted', 'uncounted': no fault of the item, 'final': another try cannot help),
--       the error
-- Returns: a word per item: 'retry', 'dead', or 'lost' where this token does not hold it (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local now = clock_ms(ARGV[1])
local retry = { attempts = tonumber(ARGV[3]), delay = tonumber(ARGV[4]), keep = tonumber(ARGV[5]) }
local result = {}
for i = 6, #ARGV, 3 do
  local id, how, reason = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local r = read_record(q, id)
  if not holds(r, ARGV[2]) then
    result[#result + 1] = 'lost'
  elseif how == 'uncounted' then
    uncount(r)
    try_later(q, id, r, now, reason, retry)
    result[#result + 1] = 'retry'
  else
    result[#result + 1] = attempt_failed(q, id, r, now, reason, how == 'final', retry)
  end
end
return result

-- Work failed: tried again after the delay, or a dead letter after the last attempt (or at once, where
-- another try cannot help).
-- KEYS: items, critical, high, medium, low, bars, history, leased, delayed, dead, dead_items, errors
-- ARGV: now ('' = the server's time), token, max attempts, retry delay ms, dead letters to keep,
--       then per item: id, '1' where another try cannot help, the error
-- Returns: a word per item: 'retry', 'dead', or 'lost' where this token does not hold it (any more)
--@include _clock.lua
--@include _queue.lua
local q = queue_keys(KEYS, 1)
local now = clock_ms(ARGV[1])
local result = {}
for i = 6, #ARGV, 3 do
  local id, final, reason = ARGV[i], ARGV[i + 1] == '1', ARGV[i + 2]
  local r = read_record(q, id)
  if holds(r, ARGV[2]) then
    result[#result + 1] = attempt_failed(
      q, id, r, now, reason, final, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
  else
    result[#result + 1] = 'lost'
  end
end
return result

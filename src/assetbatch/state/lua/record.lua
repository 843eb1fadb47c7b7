-- Adds to counters and to series; a series keeps a fixed number of points, whatever comes.
-- KEYS: counters, then the series
-- ARGV: number of counters, then name and increment of each, then for each point:
--   index of its series, length of an interval in ms, intervals kept, moment, value, how (sum, last, max)
-- A point lies in the field (interval modulo intervals kept) as 'start:value'; one of another round is replaced,
-- also by an earlier moment: after a clock was set back, the present counts.
local counters = tonumber(ARGV[1])
for i = 2, 2 * counters, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = 2 + 2 * counters, #ARGV, 6 do
  local index = 1 + tonumber(ARGV[i])
  local key = KEYS[index]
  local step, kept = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local value, how = tonumber(ARGV[i + 4]), ARGV[i + 5]
  local interval = math.floor(tonumber(ARGV[i + 3]) / step)
  local start = string.format('%.0f', interval * step)
  local field = string.format('%.0f', interval % kept)
  local before = redis.call('HGET', key, field)
  if before then
    local colon = string.find(before, ':', 1, true)
    if string.sub(before, 1, colon - 1) == start then
      local old = tonumber(string.sub(before, colon + 1))
      if how == 'sum' then
        value = old + value
      elseif how == 'max' and old > value then
        value = old
      end
    end
  end
  redis.call('HSET', key, field, start .. ':' .. string.format('%.17g', value))
  redis.call('PEXPIRE', key, 2 * step * kept)
end

-- Add to counters and to series; a series keeps a fixed number of points, whatever comes.
-- KEYS: counters, then the series
-- ARGV: options { counters: array of name, increment, name, …;
--       points: array of { index of its series in KEYS, length of an interval (ms), intervals kept, moment (ms),
--       value, how (sum, last, max) } }
-- A point lies in the field (interval modulo intervals kept) as 'start:value'. A point of another round is replaced,
-- also by an earlier moment: after a clock was set back, the present counts.
local counters_key = KEYS[1]
local options = cmsgpack.unpack(ARGV[1])
for i = 1, #options.counters, 2 do
  redis.call('HINCRBY', counters_key, options.counters[i], options.counters[i + 1])
end
for _, point in ipairs(options.points) do
  local index, step_ms, kept, at_ms, value, how = unpack(point)
  local interval = math.floor(at_ms / step_ms)
  local start = string.format('%.0f', interval * step_ms)
  local field = string.format('%.0f', interval % kept)
  local before = redis.call('HGET', KEYS[index], field)
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
  redis.call('HSET', KEYS[index], field, start .. ':' .. string.format('%.17g', value))
  redis.call('PEXPIRE', KEYS[index], 2 * step_ms * kept)
end

-- Spare calls: a share of the calls that are left over while nothing is in the queue. They verify stored bars.
--
-- spare   hash   credit: calls (with a fraction) that may be made so; at: the moment (ms) of the last look; rest_until: the
--                moment (ms) before which there is nothing to verify
--
-- spare options: share (of what is left over), most (the most that is kept)

local REST_AT_MOST_MS = 86400000
local SPARE_ID_ENDS = ':spare'

-- Return how many calls count at a moment, without the spare ones: these are taken from what the others leave over.
local function calls_of_others(w, now)
  local others = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', w.calls, '(' .. whole(now - w.window_ms), '+inf')) do
    if string.sub(id, -#SPARE_ID_ENDS) ~= SPARE_ID_ENDS then
      others = others + 1
    end
  end
  return others
end

-- Return how many calls are left over at a moment: free, and wanted neither by a waiting call nor by a priority cycle that
-- runs or could need its slots before a call of now has left the window.
local function calls_left_over(w, now)
  local blocked = read_block(w.blocked, now)
  if blocked > now or not is_trusted(w) then
    return 0
  end
  local left = w.limit - calls_of_others(w, now) - redis.call('ZCARD', w.waiters)
  for _, cycle in ipairs(expected_cycles(w, now)) do
    if now + w.lead_ms > cycle.at - w.window_ms then
      left = left - cycle.needed
    end
  end
  return math.max(0, left)
end

-- Add the share of what is left over; return the whole calls that may be made. What was left over counts once in a window.
local function add_spare_calls(key, w, now, spare)
  local credit, at, rest_until = unpack(redis.call('HMGET', key, 'credit', 'at', 'rest_until'))
  rest_until = tonumber(rest_until or '0')
  if rest_until > now and rest_until <= now + REST_AT_MOST_MS then
    return 0
  end
  local windows = 1
  if at and tonumber(at) <= now then
    windows = math.min(1, (now - tonumber(at)) / w.window_ms)
  end
  credit = math.min(spare.most, tonumber(credit or '0') + spare.share * calls_left_over(w, now) * windows)
  redis.call('HSET', key, 'credit', string.format('%.6f', credit), 'at', whole(now))
  return math.floor(credit + 1e-6)
end

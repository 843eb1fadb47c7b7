-- Blocks: the key `blocked` holds "moment (ms):longest duration (ms):reason"; no call is made before the moment.

-- Return until when no call is made (ms), why ('blocked': the provider said so; 'lost': the log may be incomplete), and
-- the duration (ms) of the block. No block can end later than that from now: if one does, the server's clock was set
-- back.
local function read_block(key, now)
  local text = redis.call('GET', key) or '0:0:'
  local until_ms, longest, why = string.match(text, '^(%d+):(%d+):(.*)$')
  if not until_ms then -- written before durations were kept
    until_ms, why = string.match(text, '^(%d+):(.*)$')
    longest = '3600000'
  end
  return math.min(tonumber(until_ms), now + tonumber(longest)), why, tonumber(longest)
end

local function write_block(key, until_ms, longest, why)
  redis.call('SET', key, whole(until_ms) .. ':' .. whole(longest) .. ':' .. why)
end

-- Block all calls for `duration` ms, or until an earlier block ends if that is later. Return the end (ms).
local function block_for(key, now, duration, why)
  local before = read_block(key, now)
  local until_ms = now + duration
  if before >= until_ms then
    return before
  end
  write_block(key, until_ms, duration, why)
  return until_ms
end

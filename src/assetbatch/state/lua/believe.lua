-- The log of this server is believed from now on; where calls may be missing in it, as if it were full.
-- KEYS: calls (zset), blocked (string), origin (string)
-- ARGV: now ('' = the server's time), the server's name ('' = its run id), for how long nobody calls, ms ('0': no
--       call was made so lately), when the last one was, ms, and the hold (ms) of grants that were used only when
--       a replica had them ('0': they were not)
-- Returns: until when nobody calls, ms ('0': nothing is missing)
--@include _clock.lua
--@include _window.lua
local until_ms = read_block(KEYS[2])
local here = server_name(ARGV[2])
if redis.call('GET', KEYS[3]) == here then -- another process was faster
  return whole(until_ms)
end
local now, last_call, hold = clock_ms(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- How far the clocks of two servers may be apart, and the database's moment from the log's.
local SLACK_MS = 1000

-- A replica that has taken over has all that its master had written up to some moment. It had every grant that was
-- used if it has been up since the last entry came (else it may have read an old file), and if that is the last call
-- that the database knows of.
local function complete()
  if hold == 0 then
    return false
  end
  local newest = 0
  local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for i = 2, #entries, 2 do
    local score = tonumber(entries[i])
    newest = math.max(newest, score > now and score - hold or score)
  end
  local up = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000
  return newest >= now - up and newest + SLACK_MS >= last_call
end

if tonumber(ARGV[3]) > 0 and not complete() then
  until_ms = math.max(until_ms, now + tonumber(ARGV[3]))
  redis.call('SET', KEYS[2], whole(until_ms) .. ':lost', 'PX', 86400000)
end
-- They were dated by another server's clock, which may have been behind this one's.
if redis.call('GET', KEYS[3]) then
  local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    redis.call('ZADD', KEYS[1], whole(tonumber(entries[i + 1]) + SLACK_MS), entries[i])
  end
end
redis.call('SET', KEYS[3], here)
return whole(until_ms)

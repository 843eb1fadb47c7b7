-- Whether the replicas that follow this server are all that did lately. One that left may be about to take over: then
-- what is written here now is lost, however many of the others confirm it.
-- KEYS: followers (hash: how many followed, and since when there are fewer, ms or '')
-- ARGV: now ('' = the server's time), how long the others are waited for, ms
-- Returns: how many follow and are up to date, for how many ms what is written is not to be relied on yet
--@include _clock.lua
local now, settle_ms = clock_ms(ARGV[1]), tonumber(ARGV[2])
local _, online = string.gsub(redis.call('INFO', 'replication'), 'slave%d+:[^\r\n]*state=online', '')
local followed, since = unpack(redis.call('HMGET', KEYS[1], 'followed', 'since'))
followed, since = tonumber(followed or '0'), tonumber(since or '')
local wait_ms = 0
if online < followed then
  since = math.min(since or now, now)
  wait_ms = math.max(0, since + settle_ms - now)
end
if wait_ms == 0 then
  followed, since = online, nil
end
redis.call('HSET', KEYS[1], 'followed', whole(followed), 'since', since and whole(since) or '')
redis.call('PEXPIRE', KEYS[1], 3600000)
return { online, wait_ms }

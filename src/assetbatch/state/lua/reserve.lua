-- Keeps slots free for the next priority cycle of an installation, in the place of what it reserved before. What nobody
-- expects any more goes, and so does what an earlier version wrote.
-- KEYS: reservation (hash, see _window.lua)
-- ARGV: now ('' = the server's time), installation, moment of the cycle (ms), slots, interval (ms), grace (ms)
--@include _clock.lua
--@include _window.lua
local MOST = 100 -- installations
local now = clock_ms(ARGV[1])
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local r = parse_reservation(fields[i + 1])
  if not r or missed_cycles(r, now) > MISSED_AT_MOST or #fields > 2 * MOST then
    redis.call('HDEL', KEYS[1], fields[i])
  end
end
write_reservation(KEYS[1], ARGV[2], {
  at = tonumber(ARGV[3]), slots = tonumber(ARGV[4]), interval = tonumber(ARGV[5]), grace = tonumber(ARGV[6]), used = 0,
})

-- Keep slots free for the next priority cycle of an installation; replaces what it had reserved before. Reservations of
-- cycles that do not come any more are deleted, and those that an earlier version wrote.
-- KEYS: reservation (hash, see _reservations.lua)
-- ARGV: options { now_ms, installation, at_ms: moment of the cycle, slots, interval_ms, grace_ms }
--@include _clock.lua
--@include _reservations.lua
local MAX_INSTALLATIONS = 100
local reservation_key = KEYS[1]
local options = cmsgpack.unpack(ARGV[1])
local now = clock_ms(options)
local fields = redis.call('HGETALL', reservation_key)
for i = 1, #fields, 2 do
  local r = parse_reservation(fields[i + 1])
  if not r or missed_cycles(r, now) > MAX_MISSED or #fields > 2 * MAX_INSTALLATIONS then
    redis.call('HDEL', reservation_key, fields[i])
  end
end
write_reservation(reservation_key, options.installation, {
  at = options.at_ms, slots = options.slots, interval = options.interval_ms, grace = options.grace_ms, used = 0,
})

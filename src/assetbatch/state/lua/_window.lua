-- The call window: one sorted set per API key, member = call id, score = the latest moment (ms) at
-- which the call can have arrived at the provider. An entry counts while score > now - window_ms.
--
-- calls         zset    the window itself
-- blocked       string  "moment (ms):longest duration (ms):reason": no call is made before it; see _blocks.lua
-- reservation   hash    installation -> "at:slots:interval:grace:used": what its next priority cycle will need; see
--                       _reservations.lua
-- waiters       zset    call id -> its ticket: the call that was denied first is served first, priority before queue
-- waiters_until zset    call id -> when its ticket lapses (ms), should it not come back
-- log_owner     string  the server that has written the log; see `is_trusted`. None of calls, blocked and log_owner
--                       has an expiry: with maxmemory-policy volatile-* the log would go, and its owner stay
-- last_grant    string  moment (ms) of the last grant
-- former_calls, former_blocked   the same below the prefix of an installation, where earlier versions kept them; absent
--                       where that is the same place. See `move_former`
--
-- options (see Window.options): limit (calls), window_ms, max_in_flight_ms (the longest any call may take), lead_ms
-- (the longest this call may take), kind ('priority'|'queue'), server (its name where it keeps one, else ''),
-- spacing_ms, host and installation (in whose name a call is made), now_ms (tests only).

-- Return the options with the keys beside them.
local function window_of(keys, first, options)
  local names = {
    'calls', 'blocked', 'reservation', 'waiters', 'waiters_until', 'log_owner', 'last_grant',
    'former_calls', 'former_blocked',
  }
  for i, name in ipairs(names) do
    options[name] = keys[first + i - 1]
  end
  return options
end

-- The log is trusted only on the server that wrote it: after a restart or a failover entries may be missing.
local function is_trusted(w)
  return redis.call('GET', w.log_owner) == server_name(w.server)
end

-- Reservations: the slots that each installation keeps for its next priority cycle. Moments and durations in ms.

-- Return nil for text of another form, as earlier versions wrote.
local function parse_reservation(text)
  local at, slots, interval, grace, used = string.match(text, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if at then
    return {
      at = tonumber(at), slots = tonumber(slots), interval = tonumber(interval), grace = tonumber(grace),
      used = tonumber(used),
    }
  end
end

local function write_reservation(key, installation, r)
  local parts = { whole(r.at), whole(r.slots), whole(r.interval), whole(r.grace), whole(r.used) }
  redis.call('HSET', key, installation, table.concat(parts, ':'))
end

-- Maximum number of cycles in a row that do not come before nothing is reserved any more.
local MAX_MISSED = 3

-- Return how many cycles in a row have not come.
local function missed_cycles(r, now)
  return now < r.at + r.grace and 0 or math.floor((now - r.grace - r.at) / r.interval) + 1
end

-- Return the next priority cycle of each installation: when it starts, and how many slots it still needs.
local function expected_cycles(w, now)
  local cycles = {}
  for _, text in ipairs(redis.call('HVALS', w.reservation)) do
    local r = parse_reservation(text)
    local missed = r and missed_cycles(r, now)
    if r and missed <= MAX_MISSED then
      local used = missed == 0 and r.used or 0
      cycles[#cycles + 1] = {
        at = r.at + missed * r.interval,
        needed = math.max(0, math.min(r.slots, w.limit) - used),
      }
    end
  end
  return cycles
end

-- Return nil where a call of the queue leaves enough slots to the priority cycles, else the moment to come back at. A
-- cycle that runs may take its slots at any moment; one that is expected needs them at its start, beside those of other
-- installations that start up to one window earlier. `ahead` is how many other calls are served first.
local function reserved_until(w, now, used, ahead)
  local cycles, running = expected_cycles(w, now), 0
  for _, cycle in ipairs(cycles) do
    running = running + (now >= cycle.at and cycle.needed or 0)
  end
  if running > 0 and used + ahead + 1 + running > w.limit then
    return now + 2000
  end
  local first
  for _, cycle in ipairs(cycles) do
    local from = cycle.at - w.window_ms
    if now < cycle.at and cycle.needed > 0 and now + w.lead_ms > from then
      local needed = running
      for _, other in ipairs(cycles) do
        if now < other.at and from < other.at and other.at <= cycle.at then
          needed = needed + other.needed
        end
      end
      local live_then = redis.call('ZCOUNT', w.calls, '(' .. whole(from), '+inf')
      if live_then + ahead + 1 + needed > w.limit then
        first = math.min(first or cycle.at, cycle.at)
      end
    end
  end
  return first and first + 1000
end

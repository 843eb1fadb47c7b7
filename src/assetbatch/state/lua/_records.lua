-- The records of items: what `items` holds of each. See _queue.lua.

local RECORD = '^([0-5]):(%d+):(%d+):([^:]*):?(%d*):?(%l*)$'

-- Return nil for a record that is missing or cannot be read. enqueued_us stays text, since it is only copied: to make a
-- number of it and a text again takes as long as the rest.
local function parse_record(text)
  local rank, attempts, enqueued_us, token, life, mark = string.match(text or '', RECORD)
  if not rank then
    return nil
  end
  return {
    rank = tonumber(rank), attempts = tonumber(attempts), enqueued_us = enqueued_us,
    token = token, life = tonumber(life), started = mark == 'started',
  }
end

-- Return whether this token holds the lease. Nobody holds what is not leased.
local function holds(r, token)
  return r ~= nil and token ~= '' and r.token == token
end

-- Return the token in the text of a record, which is all that some need of it; nil where it is not leased.
local function holder_of(text)
  return string.match(text or '', '^[0-5]:%d+:%d+:([^:]+)')
end

-- Return the text of the record of a new item.
local function new_record_text(rank, enqueued_us)
  return rank .. ':0:' .. enqueued_us .. ':'
end

-- Return the text of a record that says that a call went out for its item, under a lease of this token that may run for
-- `life` from now; nil where the token does not hold the lease. The text is taken apart and put together, as are those of
-- thousands of items: a table of each would take as long again.
local function started_text(text, token, life)
  local rank, attempts, enqueued_us, holder, _, mark = string.match(text or '', RECORD)
  if holder == '' or holder ~= token then
    return nil
  end
  local count = mark == 'started' and attempts or attempts + 1
  return rank .. ':' .. count .. ':' .. enqueued_us .. ':' .. token .. ':' .. life .. ':started'
end

-- Return the text of a record. Its numbers have less than 14 digits.
local function record_text(r)
  return r.rank .. ':' .. r.attempts .. ':' .. r.enqueued_us .. ':' .. r.token
    .. (r.token ~= '' and r.life and ':' .. r.life or '') .. (r.started and ':started' or '')
end

local function read_record(q, id)
  return parse_record(redis.call('HGET', q.items, id))
end

local function write_record(q, id, r)
  redis.call('HSET', q.items, id, record_text(r))
end

-- Delete what is known of an item. Return the number of records that were deleted.
local function delete_record(q, id)
  redis.call('HDEL', q.errors, id)
  return redis.call('HDEL', q.items, id)
end

-- The records of items: what `items` holds of each. See _queue.lua.

-- Return nil for a record that is missing or cannot be read. `head` is what it says besides the lease, as text.
local function parse_record(text)
  local head, rank, attempts, enqueued_us, token, life, mark =
    string.match(text or '', '^(([0-5]):(%d+):(%d+)):([^:]*):?(%d*):?(%l*)$')
  if not rank then
    return nil
  end
  return {
    head = head, rank = tonumber(rank), attempts = tonumber(attempts), enqueued_us = tonumber(enqueued_us),
    token = token, life = tonumber(life), started = mark == 'started',
  }
end

-- Return whether this token holds the lease. Nobody holds what is not leased.
local function holds(r, token)
  return r ~= nil and token ~= '' and r.token == token
end

local function record_text(r)
  local text = r.rank .. ':' .. r.attempts .. ':' .. whole(r.enqueued_us) .. ':' .. r.token
  if r.token ~= '' and r.life then
    text = text .. ':' .. whole(r.life)
  end
  return text .. (r.started and ':started' or '')
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

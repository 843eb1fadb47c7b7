-- The dead letters: items that are not tried again by themselves.

-- Return rank, attempts and error of a dead letter; nothing for one that is missing or cannot be read.
local function parse_dead_letter(text)
  return string.match(text or '', '^([0-5]):(%d+):%d+:(.*)$')
end

-- Return the number of dead letters that were deleted.
local function delete_dead_letter(q, id)
  redis.call('HDEL', q.dead_items, id)
  return redis.call('ZREM', q.dead, id)
end

-- What becomes of leased items. Needs records, lanes and dead letters.

-- Move an item to the dead letters. The oldest are deleted when there are more than `retry.dead_letters_kept`.
local function move_to_dead(q, id, r, now, reason, retry)
  delete_record(q, id)
  redis.call('ZADD', q.dead, whole(now), id)
  redis.call('HSET', q.dead_items, id, r.rank .. ':' .. r.attempts .. ':' .. r.enqueued_us .. ':' .. reason)
  local surplus = redis.call('ZCARD', q.dead) - retry.dead_letters_kept
  if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', q.dead, 0, surplus - 1)) do
      delete_dead_letter(q, old)
    end
  end
end

-- Delay leased work. After the delay it goes back to its place in its lane.
local function try_later(q, id, r, now, reason, retry)
  redis.call('ZREM', q.leased, id)
  r.token, r.started = '', false
  write_record(q, id, r)
  redis.call('HSET', q.errors, id, whole(now) .. ':' .. reason)
  redis.call('ZADD', q.delayed, whole(now + retry.delay_ms), id)
end

-- End an attempt without success: the item is delayed, or dead. Return 'retry' or 'dead'.
local function attempt_failed(q, id, r, now, reason, final, retry)
  if final or r.attempts >= retry.max_attempts then
    redis.call('ZREM', q.leased, id)
    move_to_dead(q, id, r, now, reason, retry)
    return 'dead'
  end
  try_later(q, id, r, now, reason, retry)
  return 'retry'
end

-- End the lease of a member of `leased` whose holder has not ended it. r is the item's record, nil where there is
-- none. Work for which no call went out goes back to its place, uncounted.
local function lease_ended(q, id, r, now, reason, retry)
  if not r or r.token == '' then
    redis.call('ZREM', q.leased, id)
    if not r then
      delete_record(q, id)
    end
  elseif r.started then
    attempt_failed(q, id, r, now, reason, false, retry)
  else
    hand_back(q, id, r)
  end
end

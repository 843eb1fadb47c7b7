-- Ids name the process that made them: HOST.MACHINE.PID.START.ROUTE.RANDOM (see process_id.py). Return the process
-- and the route; nil for an id of another form. The member of a lock has its life behind it: see acquire_lock.lua.
local function maker_of(id)
  return string.match(id, '^([^.]*%.[^.]*%.[^.]*%.[^.]*)%.(%l)%.')
end

-- Return the tokens of leased items: id -> token.
local function leased_tokens(q)
  local tokens = {}
  local ids = redis.call('ZRANGE', q.leased, 0, -1)
  for first = 1, #ids, 1000 do
    local some = { unpack(ids, first, math.min(first + 999, #ids)) }
    for i, text in ipairs(redis.call('HMGET', q.items, unpack(some))) do
      tokens[some[i]] = string.match(text or '', '^%d+:%d+:%d+:([^:]+)')
    end
  end
  return tokens
end

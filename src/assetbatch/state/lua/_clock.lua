-- The time of a decision, in Unix milliseconds: the server's, or the one a test hands in.
local function clock_ms(given)
  if given ~= '' then
    return tonumber(given)
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Lua's tostring keeps 14 digits; scores and stamps need all of theirs.
local function whole(n)
  return string.format('%.0f', n)
end

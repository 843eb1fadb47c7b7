-- Return the time of a decision in Unix milliseconds: `options.now_ms`, which tests hand in, else the server's time.
local function clock_ms(options)
  if options.now_ms then
    return options.now_ms
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Return a whole number as text. Lua's tostring keeps 14 digits; scores and moments need all of theirs.
local function whole(n)
  return string.format('%.0f', n)
end

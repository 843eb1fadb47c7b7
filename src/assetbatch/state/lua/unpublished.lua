-- Which prices were stored but never told: by a cycle that died between the two.
-- KEYS: published (hash: symbol -> moment ms)
-- ARGV: JSON array: symbol, moment ms, symbol, …
-- Returns: the places, from 1 on, of those whose moment is newer than what was told last
local stored = cjson.decode(ARGV[1])
local symbols, missed = {}, {}
for i = 1, #stored, 2 do
  symbols[#symbols + 1] = stored[i]
end
for place, told in ipairs(redis.call('HMGET', KEYS[1], unpack(symbols))) do
  if not told or tonumber(told) < stored[2 * place] then
    missed[#missed + 1] = place
  end
end
return missed

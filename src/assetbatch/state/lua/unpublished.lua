-- Find prices that were stored and never published: by a cycle that died between the two.
-- KEYS: published (hash: symbol -> moment ms)
-- ARGV: stored prices (one msgpack array: symbol, moment ms, symbol, …)
-- Returns: the places, from 1 on, of those whose moment is newer than what was published last
local published_key = KEYS[1]
local stored = cmsgpack.unpack(ARGV[1])
local symbols, missed = {}, {}
for i = 1, #stored, 2 do
  symbols[#symbols + 1] = stored[i]
end
for place, published in ipairs(redis.call('HMGET', published_key, unpack(symbols))) do
  if not published or tonumber(published) < stored[2 * place] then
    missed[#missed + 1] = place
  end
end
return missed

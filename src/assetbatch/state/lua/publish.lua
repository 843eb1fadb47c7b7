-- Tells listeners of prices, and keeps which moment of each symbol was told last: one command to send and one
-- text to send, whatever the number.
-- KEYS: published (hash: symbol -> moment ms), stream
-- ARGV: length at which the stream is capped ('' = no stream), beginning of the channels' names,
--       JSON array: symbol, message, moment as text, symbol, …
local news = cjson.decode(ARGV[3])
local told = {}
for i = 1, #news, 3 do
  local symbol, message = news[i], news[i + 1]
  redis.call('PUBLISH', ARGV[2] .. symbol, message)
  if ARGV[1] ~= '' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'json', message)
  end
  told[#told + 1] = symbol
  told[#told + 1] = news[i + 2]
end
redis.call('HSET', KEYS[1], unpack(told))

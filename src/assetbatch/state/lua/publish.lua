-- Tells listeners of prices, and keeps which moment of each symbol was told last: one command to send and one
-- reply to read, whatever the number.
-- KEYS: published (hash: symbol -> moment ms), stream
-- ARGV: length at which the stream is capped ('' = no stream), channel, message, symbol, moment, channel, …
local told = {}
for i = 2, #ARGV, 4 do
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
  if ARGV[1] ~= '' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'json', ARGV[i + 1])
  end
  told[#told + 1] = ARGV[i + 2]
  told[#told + 1] = ARGV[i + 3]
end
redis.call('HSET', KEYS[1], unpack(told))

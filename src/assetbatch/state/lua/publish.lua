-- Publish prices, and record the moment of each symbol's last published price: one command and one text to send,
-- whatever their number.
-- KEYS: published (hash: symbol -> moment ms), stream
-- ARGV: options { channels: the beginning of the channels' names, stream_maxlen: length at which the stream is capped
--       (absent: no stream), events: array of symbol, message, moment (ms) as text, symbol, … }
local published_key, stream_key = KEYS[1], KEYS[2]
local options = cmsgpack.unpack(ARGV[1])
local events, moments = options.events, {}
for i = 1, #events, 3 do
  local symbol, message, moment = events[i], events[i + 1], events[i + 2]
  redis.call('PUBLISH', options.channels .. symbol, message)
  if options.stream_maxlen then
    redis.call('XADD', stream_key, 'MAXLEN', '~', options.stream_maxlen, '*', 'json', message)
  end
  moments[#moments + 1], moments[#moments + 2] = symbol, moment
end
redis.call('HSET', published_key, unpack(moments))

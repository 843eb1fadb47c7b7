-- Mark that work which this server may have lost of the queue is being put in again.
-- KEYS: mark (string)
-- ARGV: options { server }
--@include _server.lua
local mark_key = KEYS[1]
local options = cmsgpack.unpack(ARGV[1])
redis.call('SET', mark_key, server_name(options.server), 'PX', 86400000)

-- Record that this server's queue is whole: what may have been lost of it was put in again. Nothing is recorded where
-- the mark (see begin_queue.lua) is gone or another server's: then the server has lost its memory since.
-- KEYS: owner (string), mark (string)
-- ARGV: options { server }
-- Returns: 1 where the queue is whole now, else 0
--@include _server.lua
local owner_key, mark_key = KEYS[1], KEYS[2]
local options = cmsgpack.unpack(ARGV[1])
local name = server_name(options.server)
local mark = redis.call('GET', mark_key)
redis.call('DEL', mark_key)
if mark ~= name then
  return 0
end
redis.call('SET', owner_key, name)
return 1

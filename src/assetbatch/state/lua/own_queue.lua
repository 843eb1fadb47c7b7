-- What this server may have lost of the queue has been derived again: from now on it is whole here. Not where the
-- mark of the beginning (see begin_queue.lua) is gone or another server's: then the server has lost its memory since.
-- KEYS: owner (string), mark (string)
-- ARGV: the server's name where it keeps one (see _server.lua)
-- Returns: 1 where the queue is whole now, else 0
--@include _server.lua
local name = server_name(ARGV[1])
local mark = redis.call('GET', KEYS[2])
redis.call('DEL', KEYS[2])
if mark ~= name then
  return 0
end
redis.call('SET', KEYS[1], name)
return 1

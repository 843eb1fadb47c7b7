-- What this server may have lost of the queue is derived again from now on.
-- KEYS: mark (string)
-- ARGV: the server's name where it keeps one (see _server.lua)
--@include _server.lua
redis.call('SET', KEYS[1], server_name(ARGV[1]), 'PX', 86400000)

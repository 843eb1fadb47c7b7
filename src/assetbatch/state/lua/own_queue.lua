-- What this server may have lost of the queue has been derived again: from now on it is whole here.
-- KEYS: owner (string)
-- ARGV: the server's name where it keeps one (see _server.lua)
--@include _server.lua
redis.call('SET', KEYS[1], server_name(ARGV[1]))

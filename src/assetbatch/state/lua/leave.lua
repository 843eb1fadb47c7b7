-- A waiter gives up its turn.
-- KEYS: waiters (zset), waiters_until (zset)
-- ARGV: call id
-- Returns: 1 if it was waiting
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])

-- A waiter gives up its turn.
-- KEYS: waiters (zset), waiters_until (zset)
-- ARGV: call id
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])

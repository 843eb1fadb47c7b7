-- Abandon the wait of a call: its ticket is deleted.
-- KEYS: waiters (zset), waiters_until (zset)
-- ARGV: call id
local waiters_key, until_key = KEYS[1], KEYS[2]
local call_id = ARGV[1]
redis.call('ZREM', until_key, call_id)
redis.call('ZREM', waiters_key, call_id)

-- Forget that a thread has work, unless a newer message says that it has.
-- KEYS: pending. ARGV: thread, message id
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0

-- Store a checkpoint and its new values. Safe to repeat: everything is set, nothing is added.
-- KEYS: control, n, i, c, b. ARGV: epoch, ttl, namespace, id, record, then blob name, blob …
if not check_fence(KEYS[1], ARGV[1]) then return redis.error_reply('FENCED') end
for n = 6, #ARGV, 2 do redis.call('HSET', KEYS[5], ARGV[n], ARGV[n + 1]) end
redis.call('HSET', KEYS[4], ARGV[4], ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[4])
redis.call('SADD', KEYS[2], ARGV[3])
expire_thread(KEYS[2], ARGV[2])
return 1

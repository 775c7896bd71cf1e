-- Keep the lease while the epoch is ours, which also heals a lease lost in a Redis restart.
-- KEYS: lease, control, cancel flag, keys that expire with the thread …. ARGV: owner, epoch, lease ms, ttl
-- Returns: {still ours, asked to stop}
if redis.call('HGET', KEYS[2], 'ep') ~= ARGV[2] then return {0, 0} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
-- A turn may last longer than its conversation is kept.
expire(ARGV[4], {unpack(KEYS, 4)})
return {1, redis.call('EXISTS', KEYS[3])}

-- Keep the lease while the epoch is ours, which also heals a lease lost in a Redis restart.
-- lasting: keys that expire with the thread
-- Returns: {still ours, asked to stop}
if redis.call('HGET', control, 'ep') ~= epoch then return {0, 0} end
redis.call('SET', lease, owner, 'PX', lease_ms)
-- A turn may last longer than its conversation is kept.
expire(ttl, lasting)
return {1, redis.call('EXISTS', cancel_flag)}

-- Forget that a thread has work, unless a newer message says that it has.
if redis.call('HGET', pending, thread) == message then return redis.call('HDEL', pending, thread) end
return 0

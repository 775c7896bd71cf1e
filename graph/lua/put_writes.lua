-- Append a batch of writes to a checkpoint, which may not have arrived yet.
-- Safe to repeat: batches are merged when read, and a repeated one changes nothing.
-- KEYS: control, n, w. ARGV: epoch, ttl, namespace, id, batch
if not check_fence(KEYS[1], ARGV[1]) then return redis.error_reply('FENCED') end
local number = redis.call('HINCRBY', KEYS[3], ARGV[4], 1)
redis.call('HSET', KEYS[3], ARGV[4] .. '\0' .. number, ARGV[5])
if number == 1 then redis.call('SADD', KEYS[2], ARGV[3]) end
expire_thread(KEYS[2], ARGV[2])
return number

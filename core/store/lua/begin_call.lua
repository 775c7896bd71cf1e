-- Note that a tool call is about to run, or say what is known of it. Safe to repeat with the same token.
-- KEYS: control, calls. ARGV: epoch, call, token, ttl
-- Returns false (it may run) or the record of an earlier attempt
if redis.call('HGET', KEYS[1], 'ep') ~= ARGV[1] then return redis.error_reply('FENCED') end
local known = redis.call('HGET', KEYS[2], ARGV[2])
if known and known ~= ARGV[3] then return known end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
expire(ARGV[4], {KEYS[2]})
return false

-- Note that a tool call is about to run, or say what is known of it. Safe to repeat with the same token.
-- Returns false (it may run) or the record of an earlier attempt
if redis.call('HGET', control, 'ep') ~= epoch then return redis.error_reply('FENCED') end
local known = redis.call('HGET', calls, call)
if known and known ~= token then return known end
redis.call('HSET', calls, call, token)
expire(ttl, {calls})
return false

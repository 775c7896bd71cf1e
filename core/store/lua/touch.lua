-- Note the use of a session or an API key, without bringing back one that was revoked meanwhile.
-- Returns: 1 | 0 when it is gone. Safe to repeat.
if redis.call('EXISTS', credential) == 0 then return 0 end
redis.call('HSET', credential, field, value)
expire(ttl, {credential})
return 1

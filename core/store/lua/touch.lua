-- Note the use of a session or an API key, without bringing back one that was revoked meanwhile.
-- KEYS: the credential's hash
-- ARGV: field, value, life time in seconds ('' leaves it as it is)
-- Returns: 1 | 0 when it is gone. Safe to repeat.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
expire(ARGV[3], {KEYS[1]})
return 1

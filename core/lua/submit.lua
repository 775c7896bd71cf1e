-- Accept a message once. Safe to repeat: the message id dedupes.
-- KEYS: meta, inbox, seen
-- ARGV: user, message id, run id, payload, max inbox, now ms, keep ids ms, title
-- Returns: 1 accepted, 0 seen before, -1 no such thread of this user, -2 inbox full
local user = redis.call('HGET', KEYS[1], 'user')
if user ~= ARGV[1] then return -1 end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', tonumber(ARGV[6]) - tonumber(ARGV[7]))
if redis.call('ZSCORE', KEYS[3], ARGV[2]) then return 0 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[5]) then return -2 end
redis.call('XADD', KEYS[2], '*', 'i', ARGV[2], 'r', ARGV[3], 'p', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[6], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[7])
redis.call('HSETNX', KEYS[1], 'title', ARGV[8])
redis.call('HSET', KEYS[1], 'updated_at', ARGV[6])
expire(redis.call('HGET', KEYS[1], 'ttl') or '', {KEYS[1], KEYS[2], KEYS[3]})
return 1
